"""The record that a run keeps of itself in its storage: losses, validations, samples.

Rank 0 writes it, anybody may follow it: the driver shows progress from it and sends it to MLflow.
A part holds the rows since one checkpoint; what a killed attempt wrote behind its last checkpoint
is replaced when the steps are made again.
"""

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from pipelines.storage import Location

log = logging.getLogger(__name__)

METRICS = "metrics"
SAMPLES = "samples"
FLUSH_EVERY_S = 2.0

Row = dict[str, Any]
"""``step`` (steps done), ``time_ms`` (UTC epoch), and values by name; or an ``event``."""


class RecordWriter:
    """Append rows to the record of a run. Only one process of a run writes."""

    def __init__(self, run: Location, start_step: int) -> None:
        self._run = run
        self._flushed_s = 0.0
        self._begin(start_step)

    def add(self, step: int, **values: Any) -> None:
        """Add a row; it reaches the storage within seconds."""
        self._rows.append({"step": step, "time_ms": int(time.time() * 1000), **values})
        if time.monotonic() - self._flushed_s >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what is not written. A failure is logged: the next flush tries again."""
        self._flushed_s = time.monotonic()
        lines = "".join(json.dumps(row) + "\n" for row in self._rows)
        try:
            self._run.child(METRICS, _part(self._start)).write_bytes(lines.encode())
        except OSError as error:
            log.warning("the record of %s is behind: %s", self._run, error)

    def checkpointed(self, step: int) -> None:
        """Close the part: the steps so far will not be made again."""
        self.flush()
        self._begin(step)

    def _begin(self, step: int) -> None:
        self._start = step
        self._rows: list[Row] = []


def read_rows(run: Location, since_step: int = 0) -> list[Row]:
    """Return the rows of the record from the part on that holds ``since_step``, in order."""
    folder = run.child(METRICS)
    parts = sorted(name for name in folder.list() if name.endswith(".jsonl"))
    wanted = [name for name in parts if name >= _part(since_step)]
    before = [name for name in parts if name < _part(since_step)]
    rows: list[Row] = []
    for name in [*before[-1:], *wanted]:
        rows += [json.loads(line) for line in folder.child(name).read_bytes().splitlines()]
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


def _part(step: int) -> str:
    return f"step-{step:08d}.jsonl"
