"""The last numbers in names: which names one counter may have numbered, in a few bytes a name."""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Group = tuple[str, str]
"""What stands before and behind the last number of a name."""
_NAME = re.compile(r"(.*?)(\d{1,18})(\D*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Names of one group by their numbers, each of one name."""

    names: Sequence[str]
    """Of all groups."""
    values: NDArray[np.int64]
    """The numbers, in order."""
    places: NDArray[np.int32]
    """Of each number the index of its name."""
    digits: NDArray[np.int32]
    """How many digits it is written with."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.values)

    def find(self, values: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """Return where numbers are among these, -1 where they are not."""
        if not len(self):
            return np.full(np.shape(values), -1, np.int64)
        found = np.minimum(np.searchsorted(self.values, values), len(self) - 1)
        return np.where(self.values[found] == values, found, -1)

    def has(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which numbers are among these."""
        return np.asarray(self.find(values) >= 0)

    def name(self, value: int) -> str | None:
        """Return the name with a number, if there is one."""
        index = int(self.find(value))
        return None if index < 0 else self.name_at(index)

    def name_at(self, index: int) -> str:
        """Return the name of a number by its place in the order."""
        return self.names[self.places[index]]

    @property
    def padded(self) -> set[int]:
        """With how many digits those are written that begin with 0."""
        least = 10 ** (self.digits.astype(np.int64) - 1)
        return set(map(int, np.unique(self.digits[(self.digits > 1) & (self.values < least)])))


def no_numbers() -> Numbers:
    """Return those of a group without names."""
    none = np.zeros(0, np.int32)
    return Numbers((), none.astype(np.int64), none, none)


def by_number(names: Sequence[str]) -> tuple[dict[Group, Numbers], list[int], list[list[int]]]:
    """Return the numbers of each group, the names without one, and those that share one.

    A number that two names of a group have is nobody's. Names as indices.
    """
    ids: dict[Group, int] = {}
    without: list[int] = []
    columns = groups, values, places, digits = array("i"), array("q"), array("i"), array("i")
    for place, name in enumerate(names):
        match = _NAME.fullmatch(name)
        if match is None:
            without.append(place)
            continue
        groups.append(ids.setdefault((match[1], match[3]), len(ids)))
        values.append(int(match[2]))
        places.append(place)
        digits.append(len(match[2]))
    of_group, value, at, length = (np.array(column) for column in columns)
    order = np.lexsort((at, value, of_group))
    of_group, value, at, length = (column[order] for column in (of_group, value, at, length))
    again = (of_group[1:] == of_group[:-1]) & (value[1:] == value[:-1])
    shared = np.zeros(len(at), np.bool_)
    shared[1:] |= again
    shared[:-1] |= again
    together: dict[tuple[int, int], list[int]] = {}
    for index in np.flatnonzero(shared):
        together.setdefault((of_group[index], value[index]), []).append(int(at[index]))
    of_group, value, at, length = (c[~shared] for c in (of_group, value, at, length))
    ends = np.searchsorted(of_group, np.arange(len(ids)), side="right")
    numbers: dict[Group, Numbers] = {}
    start = 0
    for group, end in zip(ids, ends, strict=True):
        if end > start:
            part = slice(start, end)
            numbers[group] = Numbers(names, value[part], at[part], length[part])
        start = end
    return numbers, without, list(together.values())
