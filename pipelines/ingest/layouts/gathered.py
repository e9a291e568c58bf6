"""The files of one split by the names of pairs: a row for each, a column for each role."""

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.ingest.layouts.files import Place
from pipelines.ingest.layouts.placing import READ, suffix_of
from pipelines.listing import Texts

VIEWS = ("left", "right", "combined")
TARGETS = ("target", "target_right")
ROLES = (*VIEWS, *TARGETS)
_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Rows:
    """What the names of files put together. Files by their places in the listing."""

    keys: Texts
    """Of each row."""
    scenes: Texts | None
    """Of each row its scene; None: the key is the scene."""
    files: dict[str, NDArray[np.int32]]
    """By role, of each row its first file or -1."""
    odd: dict[str, NDArray[np.bool_]]
    """By role, of which rows there is more than one file, or one that is not read."""
    more: dict[tuple[str, int], list[int]]
    """The files of a role and row beyond the first, which are a question."""

    def scene(self, row: int) -> str:
        """Return what must not straddle splits."""
        return (self.keys if self.scenes is None else self.scenes)[row]

    def all_files(self, role: str, row: int) -> list[int]:
        """Return the files of a role, of which there should be one at most."""
        first = int(self.files[role][row])
        return [] if first < 0 else [first, *self.more.get((role, row), ())]

    def names(self, rows: NDArray[np.int32]) -> Texts:
        """Return the keys of some rows."""
        if np.array_equal(rows, np.arange(len(self.keys))):
            return self.keys
        return Texts(self.keys[row] for row in rows.tolist())

    def holding(self, roles: tuple[str, ...]) -> NDArray[np.int32]:
        """Return the rows that have a file of one of the roles, in the order of these files."""
        last = np.iinfo(np.int32).max
        first = np.full(len(self.keys), last, np.int32)
        for role in roles:
            there = self.files[role]
            np.minimum(first, there, out=first, where=there >= 0)
        rows = np.flatnonzero(first < last).astype(np.int32)
        first = first[rows]
        return rows if np.all(first[1:] > first[:-1]) else rows[np.argsort(first)]


@dataclass(slots=True)
class _Column:
    """The files of one role as they come."""

    keys: Texts = field(default_factory=Texts)
    scenes: Texts = field(default_factory=Texts)
    files: "array[int]" = field(default_factory=lambda: array("i"))
    last: str = ""
    in_order: bool = True
    """Whether the keys come in order; the files do."""

    def add(self, file: int, place: Place) -> None:
        self.keys.append(place.key)
        if place.scene is not None:
            self.scenes.append(place.scene)
        self.files.append(file)
        self.in_order = self.in_order and self.last <= place.key
        self.last = place.key

    def in_order_of_keys(self, number: int) -> Iterator[tuple[str, int, int, str]]:
        """Yield key, number, file and scene of each."""
        assert len(self.scenes) in (0, len(self.keys))  # a layout names all or none
        if self.in_order:
            keys, files, scenes = iter(self.keys), iter(self.files), iter(self.scenes)
        else:
            order = pc.sort_indices(_as_bytes(self.keys))
            keys, scenes = _in(self.keys, order), _in(self.scenes, order)
            files = iter(np.array(self.files)[np.asarray(order)].tolist())
        for key, file in zip(keys, files, strict=True):
            yield key, number, file, next(scenes, "")


@dataclass(slots=True)
class Gathering:
    """The files of one split as they come, in the order of the listing."""

    columns: dict[str, _Column] = field(default_factory=lambda: {role: _Column() for role in ROLES})
    unread: set[int] = field(default_factory=set)

    @property
    def has_targets(self) -> bool:
        """Whether there is a target among them."""
        return any(len(self.columns[role].keys) for role in TARGETS)

    def add(self, file: int, path: str, place: Place) -> None:
        """Take in a file by its place in the listing."""
        self.columns[place.role].add(file, place)
        if suffix_of(path) not in READ:
            self.unread.add(file)

    def rows(self) -> Rows:
        """Put together what has come."""
        keys, scenes = Texts(), Texts()
        firsts, odd = [array("i") for _ in ROLES], [array("i") for _ in ROLES]
        more: dict[tuple[str, int], list[int]] = {}
        columns = (self.columns[role].in_order_of_keys(n) for n, role in enumerate(ROLES))
        row, before = -1, None
        for key, role, file, scene in heapq.merge(*columns):
            if key != before:
                before, row = key, row + 1
                keys.append(key)
                if scene:
                    scenes.append(scene)
                for first in firsts:
                    first.append(-1)
            if firsts[role][row] < 0:
                firsts[role][row] = file
            else:
                more.setdefault((ROLES[role], row), []).append(file)
                odd[role].append(row)
            if file in self.unread:
                odd[role].append(row)
        assert len(scenes) in (0, len(keys))
        return Rows(
            keys,
            scenes if len(scenes) else None,
            {role: np.array(first) for role, first in zip(ROLES, firsts, strict=True)},
            {role: _marked(rows, len(keys)) for role, rows in zip(ROLES, odd, strict=True)},
            more,
        )


def _marked(rows: "array[int]", total: int) -> NDArray[np.bool_]:
    marks = np.zeros(total, np.bool_)
    marks[np.array(rows)] = True
    return marks


def _as_bytes(texts: Texts) -> pa.ChunkedArray:
    """Return the texts as bytes, whose order is that of the texts."""
    chunks = (
        [text.encode("utf-8", "surrogatepass") for text in texts[start : start + _AT_ONCE]]
        for start in range(0, len(texts), _AT_ONCE)
    )
    return pa.chunked_array([pa.array(chunk, pa.binary()) for chunk in chunks], pa.binary())


def _in(texts: Texts, order: pa.Array) -> Iterator[str]:
    """Yield the texts in another order: as bytes, for they are unpacked by the thousand."""
    if not len(texts):
        return
    for chunk in _as_bytes(texts).take(order).chunks:
        for start in range(0, len(chunk), _AT_ONCE):
            for text in chunk.slice(start, _AT_ONCE).to_pylist():
                yield text.decode("utf-8", "surrogatepass")
