"""The record that a run keeps of itself in its storage: losses, validations, samples.

Rank 0 writes it, anybody may follow it: the driver shows progress from it and sends it to MLflow.
A part holds the rows since one checkpoint, and is written by a thread, so that no step waits for
the storage. What a killed attempt wrote behind its last checkpoint does not count any more when
the next group of workers has begun there.
"""

import json
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from pipelines.storage import Location
from pipelines.training.groups import read_beginnings

log = logging.getLogger(__name__)

METRICS = "metrics"
SAMPLES = "samples"
FLUSH_EVERY_S = 2.0

Row = dict[str, Any]
"""``step`` (steps done), ``time_ms`` (UTC epoch), and values by name; or an ``event``."""


class RecordWriter:
    """Append rows to the record of a run. Only one process of a run writes."""

    def __init__(self, run: Location, start_step: int, group: int = 0) -> None:
        """group: the number of the group of workers that writes."""
        self._run, self._group = run, group
        self._lock = threading.Lock()  # of the rows
        self._writing = threading.Lock()  # so that no older part replaces a newer one
        self._parts: dict[int, list[Row]] = {start_step: []}
        """The part that is open, last, and those that are not wholly written yet."""
        self._written: dict[int, int] = {}
        """How many rows of a part are written."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="k3dn-record", daemon=True)
        self._thread.start()

    def add(self, step: int, **values: Any) -> None:
        """Add a row; it reaches the storage within seconds."""
        row = {"step": step, "time_ms": int(time.time() * 1000), **values}
        with self._lock:
            self._parts[max(self._parts)].append(row)

    def begin_part(self, step: int) -> None:
        """Put what follows into a part of its own: what is before it will not be made again."""
        with self._lock:
            self._parts.setdefault(step, [])

    def flush(self) -> bool:
        """Write what is not written, and return whether that worked. A failure is logged: the next
        flush tries again."""
        with self._writing:
            with self._lock:
                parts = {start: list(rows) for start, rows in self._parts.items()}
            for start, rows in parts.items():
                lines = "".join(json.dumps(row) + "\n" for row in rows)
                try:
                    if len(rows) > self._written.get(start, 0):
                        part = self._run.child(METRICS, _part(start, self._group))
                        part.write_bytes(lines.encode())
                except Exception as error:  # OSError, or what a storage's client raises
                    log.warning("the record of %s is behind: %s", self._run, error)
                    return False
                self._written[start] = len(rows)
                if start < max(parts):  # complete before the next one was begun
                    with self._lock:
                        del self._parts[start]
        return True

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._end.set()
        self._thread.join()
        self.flush()

    def _write_on(self) -> None:
        while not self._end.wait(FLUSH_EVERY_S):
            self.flush()


def read_rows(run: Location, since_step: int = 0) -> list[Row]:
    """Return the rows of the record from the part on that holds ``since_step``, in order."""
    folder = run.child(METRICS)
    beginnings = read_beginnings(run)
    parts: dict[int, int] = {}
    for start, group in sorted(filter(None, map(_numbers_in, folder.list()))):
        if start < beginnings.limit(group):
            parts[start] = group
    before = [start for start in parts if start < since_step]
    wanted = [start for start in parts if start >= since_step]
    rows: list[Row] = []
    for start in [*before[-1:], *wanted]:
        data = folder.child(_part(start, parts[start])).read_bytes()
        rows += [json.loads(line) for line in data.splitlines()]
    return rows


def write_samples(run: Location, start: int, stop: int, samples: Iterable[tuple[int, str]]) -> None:
    """Keep which samples the steps ``start`` to ``stop`` were made from.

    samples: (position in the global sequence, name@version/pair_id), in any order.
    """
    lines = "".join(f"{index}\t{pair_id}\n" for index, pair_id in sorted(samples))
    run.child(SAMPLES, f"step-{start:08d}-{stop:08d}.tsv").write_bytes(lines.encode())


def read_samples(run: Location) -> list[tuple[int, str]]:
    """Return all samples that made the run's weights, by position in the global sequence."""
    folder = run.child(SAMPLES)
    found: dict[int, str] = {}
    for name in folder.list():
        for line in folder.child(name).read_bytes().decode().splitlines():
            index, _, pair_id = line.partition("\t")
            found[int(index)] = pair_id
    return sorted(found.items())


def _part(step: int, group: int) -> str:
    return f"step-{step:08d}.jsonl" if group == 0 else f"step-{step:08d}-{group}.jsonl"


def _numbers_in(name: str) -> tuple[int, int] | None:
    """Return the first step and the group of a part, by its name."""
    if not (name.startswith("step-") and name.endswith(".jsonl")):
        return None
    step, _, group = name.removeprefix("step-").removesuffix(".jsonl").partition("-")
    return (int(step), int(group or 0)) if step.isdigit() and (group or "0").isdigit() else None
