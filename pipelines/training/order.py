"""The order of training samples: ours, and the same on any number of workers.

Everything here is a pure function of (seed, dataset versions, batch size): position ``i`` of the
global sequence is the same sample whoever reads it, so a position is all that resuming takes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A split of one dataset version as training takes it."""

    name: str
    version: str
    digest: str
    """sha256 of the version's content."""
    rows: int
    """Pairs in the split."""
    repeat: int = 1
    """How often an epoch takes each pair."""

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One position of the global sequence."""

    index: int
    """The position, from 0."""
    source: int
    """Which of the sources."""
    row: int
    """Which pair of its split."""


class SampleOrder:
    """The global sequence of samples: a permutation of all pairs an epoch, without end."""

    def __init__(self, sources: Sequence[Source], seed: int) -> None:
        self._sources = tuple(sources)
        self._seed = seed
        self.epoch_length = sum(source.rows * source.repeat for source in self._sources)
        if self.epoch_length == 0:
            raise ValueError("there are no samples to order")
        owner = [(s, r) for s, source in enumerate(sources) for r in range(source.rows)]
        repeats = [source.repeat for source in sources for _ in range(source.rows)]
        self._units = np.repeat(np.array(owner, np.int64), repeats, axis=0)
        self._content = "\n".join(f"{s.reference} {s.digest} *{s.repeat}" for s in sources)
        self._epoch = -1
        self._permutation = np.empty(0, np.int64)

    def sample(self, index: int) -> Sample:
        """Return the sample at a position of the sequence."""
        epoch, place = divmod(index, self.epoch_length)
        if epoch != self._epoch:
            name = f"{self._seed}\n{epoch}\n{self._content}"
            self._permutation = permutation(name, self.epoch_length)
            self._epoch = epoch
        source, row = self._units[self._permutation[place]]
        return Sample(index, int(source), int(row))


def permutation(name: str, length: int) -> NDArray[np.int64]:
    """Return a permutation of ``range(length)`` that depends on nothing but the name.

    Sorted random keys from the raw stream of Philox, which NumPy keeps the same for ever; that
    of ``Generator.permutation`` may change with a version.
    """
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")
    keys = np.random.Philox(key=key).random_raw(length)
    return np.argsort(keys, kind="stable").astype(np.int64)


def rank_slice(batch_size: int, rank: int, world_size: int) -> range:
    """Return which places of each global batch a worker takes.

    Slices follow each other by rank, cover the batch, and differ in length by one at most.
    """
    if not 0 <= rank < world_size <= batch_size:
        raise ValueError(f"rank {rank} of {world_size} workers cannot share {batch_size} pairs")
    return range(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)


def step_samples(step: int, batch_size: int, rank: int, world_size: int) -> range:
    """Return the positions in the global sequence that a worker takes at a step (from 0)."""
    part = rank_slice(batch_size, rank, world_size)
    return range(step * batch_size + part.start, step * batch_size + part.stop)


def seed_of(seed: int, *names: object) -> int:
    """Derive a seed of 31 bits from the run's seed and a name, the same everywhere."""
    text = "\n".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1
