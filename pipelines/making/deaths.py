"""Tasks whose process died: run again, and where an input may be to blame, pair by pair.

Ray runs such a task again, as a whole, without end. After a few deaths each pair is made in a
process of its own, and one that ends that process, too, is a reject like any other bad input.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.dataset.record import Pair, Source
from pipelines.making.plan import PlanItem
from pipelines.making.shards import BadInput, Claim, Producer, ShardResult, write_shard
from pipelines.storage import Location

CAREFUL_AFTER = 2
"""Deaths on one machine before pairs are made apart."""
_TRIES = 2
"""Of a pair in a process of its own: one may be killed for what others take."""
_CHILD = "import pickle, sys; sys.stdout.buffer.write(pickle.loads(sys.stdin.buffer.read())())"


def write_shard_surviving(
    version: Location, item: PlanItem, producer: Producer, *, claim: Claim, run: str
) -> ShardResult:
    """As ``write_shard``, for a process that may not be the first to try.

    run: names the driver's run; deaths of others do not count.
    """
    with counted(f"{run} {version.url} {item.digest}") as deaths:
        chosen = producer if deaths < CAREFUL_AFTER else Apart(producer)
        return write_shard(version, item, chosen, claim=claim)


@contextmanager
def counted(name: str) -> Iterator[int]:
    """Yield how many processes of this machine died in this block, under this name."""
    folder = Path(tempfile.gettempdir()) / f"k3dn-deaths-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / hashlib.sha256(name.encode()).hexdigest()[:32]
    try:
        deaths = len(file.read_bytes())
    except FileNotFoundError:
        deaths = 0
    with file.open("ab") as marks:
        marks.write(b".")
    try:
        yield deaths
    finally:  # ended, well or badly, but alive
        file.unlink(missing_ok=True)


def in_own_process(work: Callable[[], bytes]) -> tuple[bytes | None, str]:
    """Return what it returns in a process of its own; or None, and how that process ended.

    work: is pickled, by value where it cannot be imported.
    """
    import ray.cloudpickle

    asked = ray.cloudpickle.dumps(work)
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    code = 0
    for _ in range(_TRIES):
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=asked,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            check=False,
        )
        code = done.returncode
        if code == 0:
            return done.stdout, ""
    return None, f"signal {-code}" if code < 0 else f"exit {code}"


@dataclass(frozen=True, slots=True)
class Apart:
    """A producer that makes each pair in a process of its own."""

    producer: Producer
    _notes: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def __call__(self, unit: Any) -> Pair:
        """Make one pair. Raises BadInput, for one that ends its process too."""
        found, how = in_own_process(partial(answer, self.producer, unit))
        if found is not None:
            return self._taken(pickle.loads(found))
        sources = self.producer.sources(unit)
        raise BadInput(
            f"making a pair of it ends the process ({how})",
            path=sources[0].file if sources else unit.pair_id,
            stage="crash",
            sources=sources,
        )

    def _taken(self, found: Mapping[str, Any]) -> Pair:
        if "bad" in found:
            reason, path, stage, sources = found["bad"]
            raise BadInput(reason, path=path, stage=stage, sources=sources)
        if "error" in found:
            raise found["error"]
        pair: Pair = found["pair"]
        self._notes[pair.pair_id] = found["note"]
        return pair

    def note(self, pair: Pair) -> Mapping[str, Any] | None:
        """Return what the process that made the pair noted of it."""
        return self._notes.pop(pair.pair_id)

    def processor(self) -> str:
        """As the producer says."""
        return self.producer.processor()

    def sources(self, unit: Any) -> tuple[Source, ...]:
        """As the producer says."""
        return self.producer.sources(unit)


def answer(producer: Producer, unit: Any) -> bytes:
    """Make the pair that a parent asks for, and say what came of it; the parent raises errors."""
    try:
        pair = producer(unit)
        return pickle.dumps({"pair": pair, "note": producer.note(pair)})
    except BadInput as error:
        return pickle.dumps({"bad": (error.reason, error.path, error.stage, error.sources)})
    except OSError as error:
        return pickle.dumps({"error": error})
