"""Tens of millions of texts, and of files with their sizes, in a few bytes each."""

import zlib
from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, overload

T = TypeVar("T")

_OF_A_BLOCK = 1024
_UNPACKED = 16
"""Blocks that are kept as texts; who reads in order, here and there, finds most in them."""


class Computed(Sequence[T]):
    """A sequence whose members are made when they are asked for; equal to one with the same."""

    @abstractmethod
    def some(self, start: int, stop: int) -> Iterator[T]:
        """Yield the members at these places, which are there."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return one member, or some as a list."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return list(self.some(start, max(start, stop)))
            return [self[place] for place in range(start, stop, step)]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        return next(self.some(place, place + 1))

    def __iter__(self) -> Iterator[T]:
        """Yield all, in order."""
        return self.some(0, len(self))

    def __eq__(self, other: object) -> bool:
        """Tell whether the members are the same, in the same order."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class Texts(Computed[str]):
    """Texts in packed blocks: what is alike in neighbours costs next to nothing.

    They may be names of files that are not UTF-8. Raises ValueError for one that holds NUL.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Take in some; ``append`` takes more."""
        self._blocks: list[bytes] = []
        self._last: list[str] = []
        self._unpacked: dict[int, list[str]] = {}
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Take in one more."""
        self._last.append(text)
        if len(self._last) == _OF_A_BLOCK:
            data = "\0".join(self._last).encode("utf-8", "surrogatepass")
            if data.count(b"\0") != _OF_A_BLOCK - 1:
                raise ValueError("a text holds NUL, which stands between them")
            self._blocks.append(zlib.compress(data, 1))
            self._last = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._blocks) * _OF_A_BLOCK + len(self._last)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one text, without ado, or some as a list."""
        if isinstance(index, slice) or not 0 <= index < len(self):
            return super().__getitem__(index)
        block, place = divmod(index, _OF_A_BLOCK)
        return self._texts(block)[place]

    def some(self, start: int, stop: int) -> Iterator[str]:
        """Yield the texts at these places."""
        place = start
        while place < stop:
            block, first = divmod(place, _OF_A_BLOCK)
            texts = self._texts(block)[first : first + stop - place]
            yield from texts
            place += len(texts)

    def _texts(self, block: int) -> list[str]:
        if block == len(self._blocks):
            return self._last
        texts = self._unpacked.get(block)
        if texts is None:
            if len(self._unpacked) == _UNPACKED:
                del self._unpacked[next(iter(self._unpacked))]
            data = zlib.decompress(self._blocks[block])
            texts = data.decode("utf-8", "surrogatepass").split("\0")
            self._unpacked[block] = texts
        return texts


class Listing(Mapping[str, int]):
    """Files by path, with their sizes in bytes, in the order of their paths."""

    def __init__(self, files: Iterable[tuple[str, int]]) -> None:
        """files: in order."""
        self.paths = Texts()
        self.sizes = array("q")
        for path, size in files:
            self.paths.append(path)
            self.sizes.append(size)

    @classmethod
    def of(cls, files: Mapping[str, int]) -> "Listing":
        """Return the listing of files in any order."""
        return files if isinstance(files, Listing) else cls(sorted(files.items()))

    def file(self, place: int) -> tuple[str, int]:
        """Return path and size of the file at a place in the order."""
        return self.paths[place], self.sizes[place]

    def files(self, places: Iterable[int]) -> Iterator[tuple[str, int]]:
        """Yield path and size of the files at many places; fastest where they ascend."""
        sizes, at_once, first, texts = self.sizes, _OF_A_BLOCK, 0, [""] * 0
        for place in places:
            if not first <= place < first + len(texts):
                first = place // at_once * at_once
                texts = self.paths[first : first + at_once]
            yield texts[place - first], sizes[place]

    def __getitem__(self, path: str) -> int:
        """Return the size of a file. Raises KeyError."""
        place = bisect_left(self.paths, path)
        if place == len(self.paths) or self.paths[place] != path:
            raise KeyError(path)
        return self.sizes[place]

    def __iter__(self) -> Iterator[str]:
        """Yield the paths in order."""
        return iter(self.paths)

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self.paths)
