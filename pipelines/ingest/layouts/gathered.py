"""The files of one split by the names of pairs: a row for each, a column for each role."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
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
    """Of each row; in the order of first files."""
    scenes: Texts
    scene_at: NDArray[np.int32] | None
    """Of each row the index of its scene; None: the key is the scene."""
    files: dict[str, NDArray[np.int32]]
    """By role, of each row its first file or -1."""
    odd: dict[str, NDArray[np.bool_]]
    """By role, of which rows there is more than one file, or one that is not read."""
    more: dict[tuple[str, int], list[int]]
    """The files of a role and row beyond the first, which are a question."""

    def scene(self, row: int) -> str:
        """Return what must not straddle splits."""
        return self.keys[row] if self.scene_at is None else self.scenes[self.scene_at[row]]

    def all_files(self, role: str, row: int) -> list[int]:
        """Return the files of a role, of which there should be one at most."""
        first = int(self.files[role][row])
        return [] if first < 0 else [first, *self.more.get((role, row), ())]

    def names(self, rows: NDArray[np.int64]) -> Texts:
        """Return the keys of some rows."""
        if np.array_equal(rows, np.arange(len(self.keys))):
            return self.keys
        return Texts(self.keys[row] for row in rows.tolist())

    def holding(self, roles: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the rows that have a file of one of the roles, in the order of these files."""
        last = np.iinfo(np.int32).max
        first = np.full(len(self.keys), last, np.int32)
        for role in roles:
            there = self.files[role]
            np.minimum(first, np.where(there < 0, last, there), out=first)
        rows = np.flatnonzero(first < last)
        return rows[np.argsort(first[rows], kind="stable")]


class _Coded:
    """Texts as they come, of which many are equal."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._chunks: list[pa.Array] = []

    def add(self, text: str) -> None:
        self._texts.append(text.encode("utf-8", "surrogatepass"))
        if len(self._texts) == _AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        self._chunks.append(pa.array(self._texts, pa.large_binary()))
        self._texts = []

    def coded(self) -> tuple[NDArray[np.int32], Texts]:
        """Return of each text its number, and the texts by number."""
        self._pack()
        if not any(map(len, self._chunks)):
            return np.zeros(0, np.int32), Texts()
        encoded = pa.chunked_array(self._chunks).dictionary_encode()
        self._chunks = []
        numbers = [np.asarray(chunk.indices) for chunk in encoded.chunks]
        return np.concatenate(numbers), Texts(_texts(encoded.chunk(0).dictionary))


def _texts(found: pa.Array) -> Iterator[str]:
    for start in range(0, len(found), _AT_ONCE):
        for text in found.slice(start, _AT_ONCE).to_pylist():
            yield text.decode("utf-8", "surrogatepass")


@dataclass(slots=True)
class Gathering:
    """The files of one split as they come, in the order of the listing."""

    _keys: _Coded = field(default_factory=_Coded)
    _scenes: _Coded = field(default_factory=_Coded)
    _roles: bytearray = field(default_factory=bytearray)
    _files: "array[int]" = field(default_factory=lambda: array("i"))
    _unread: "array[int]" = field(default_factory=lambda: array("i"))

    @property
    def has_targets(self) -> bool:
        """Whether there is a target among them."""
        return any(ROLES.index(role) in self._roles for role in TARGETS)

    def add(self, file: int, path: str, place: Place) -> None:
        """Take in a file by its place in the listing."""
        self._keys.add(place.key)
        if place.scene is not None:
            self._scenes.add(place.scene)
        self._roles.append(ROLES.index(place.role))
        self._files.append(file)
        if suffix_of(path) not in READ:
            self._unread.append(file)

    def rows(self) -> Rows:
        """Put together what has come; nothing can be added any more."""
        row_of, keys = self._keys.coded()
        scene_of, scenes = self._scenes.coded()
        assert len(scenes) == 0 or len(scene_of) == len(row_of)  # a layout names all or none
        roles, files = np.frombuffer(self._roles, np.uint8), np.array(self._files)
        found = Rows(keys, scenes, None, {}, {}, {})
        unread = np.isin(files, np.array(self._unread))
        for number, role in enumerate(ROLES):
            mine = roles == number
            at, there, bad = row_of[mine], files[mine], unread[mine]
            column = found.files[role] = np.full(len(keys), -1, np.int32)
            column[at[::-1]] = there[::-1]  # of several the first stays
            odd = found.odd[role] = np.zeros(len(keys), np.bool_)
            odd[at[bad]] = True
            for index in np.flatnonzero(column[at] != there):
                odd[at[index]] = True
                found.more.setdefault((role, int(at[index])), []).append(int(there[index]))
        if not len(scenes):
            return found
        scene_at = np.zeros(len(keys), np.int32)
        scene_at[row_of] = scene_of
        return Rows(keys, scenes, scene_at, found.files, found.odd, found.more)
