"""The order of training samples: ours, and the same on any number of workers.

Everything here is a pure function of (seed, dataset versions, batch size): position ``i`` of the
global sequence is the same sample whoever reads it, so a position is all that resuming takes.
"""

import bisect
import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SORTED_AT_MOST = 1 << 20
"""Samples of an epoch whose order is drawn as a whole; of a longer one each place is computed."""
ORDER = 2
"""Version of the order, in a run's record. In 1, which was recorded by nothing, long epochs were
drawn as a whole, too; short ones are the same in both."""


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
        shares = (source.rows * source.repeat for source in self._sources)
        self._starts = list(itertools.accumulate(shares, initial=0))
        self._content = "\n".join(f"{s.reference} {s.digest} *{s.repeat}" for s in sources)
        self._epoch = -1
        self._place: Callable[[int], int] = int

    def sample(self, index: int) -> Sample:
        """Return the sample at a position of the sequence."""
        epoch, place = divmod(index, self.epoch_length)
        if epoch != self._epoch:
            name = f"{self._seed}\n{epoch}\n{self._content}"
            self._place = permuted(name, self.epoch_length)
            self._epoch = epoch
        taken = self._place(place)
        source = bisect.bisect_right(self._starts, taken) - 1
        row = (taken - self._starts[source]) // self._sources[source].repeat
        return Sample(index, source, row)


def permuted(name: str, length: int) -> Callable[[int], int]:
    """Return a permutation of ``range(length)`` that depends on nothing but the name."""
    if length > SORTED_AT_MOST:
        return KeyedBijection(name, length)
    drawn = permutation(name, length)
    return lambda place: int(drawn[place])


class KeyedBijection:
    """A permutation of ``range(length)`` of which each place is computed by itself.

    A Feistel network of eight rounds (Luby and Rackoff 1988) permutes the next power of four; what
    falls outside ``range(length)`` is permuted again until it lies inside (Black and Rogaway 2002,
    cycle walking: less than four times on average). The round function is the finalizer of
    SplitMix64 under keys from the name's sha256. For long ranges: of a short one it cannot make
    every permutation.
    """

    def __init__(self, name: str, length: int) -> None:
        self._length = length
        self._half_bits = max(1, -(-(length - 1).bit_length() // 2))
        stream = b"".join(
            hashlib.sha256(f"{name}\n{number}".encode()).digest() for number in range(2)
        )
        self._keys = [int.from_bytes(stream[n : n + 8], "little") for n in range(0, 64, 8)]

    def __call__(self, place: int) -> int:
        """Return what stands at a place. Raises IndexError outside of the range."""
        if not 0 <= place < self._length:
            raise IndexError(place)
        bits = self._half_bits
        mask = (1 << bits) - 1
        while True:
            left, right = place >> bits, place & mask
            for key in self._keys:
                left, right = right, left ^ (_mixed(right ^ key) & mask)
            place = left << bits | right
            if place < self._length:
                return place


def _mixed(value: int) -> int:
    """The finalizer of SplitMix64, of 64 bits."""
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31


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
