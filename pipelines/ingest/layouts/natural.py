"""The natural order of names: their numbers as numbers, gt2 before gt10, 9999 before 10000."""

import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_DIGITS = re.compile(r"\d+")
_LONGEST = sys.maxunicode - 1
_AT_ONCE = 1 << 16


def in_natural_order(names: Collection[str]) -> list[str]:
    """Sort names with their numbers as numbers."""
    return sorted(names, key=natural_key)


def natural_order(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the places of names in natural order, of however many."""
    if _is_in_natural_order(names):  # as most are: no key is kept of them
        return np.arange(len(names))
    keys = pa.chunked_array(list(_keys(names)))
    return np.asarray(pc.sort_indices(keys)).astype(np.int64)


def natural_key(name: str) -> str:
    """Return what sorts names with their numbers as numbers.

    One text, for there may be millions: each text of the name in small letters and ended by NUL,
    which is below all that a name holds; each number with its length before it; the name itself.
    """
    if name.isascii():
        text = _DIGITS.sub(_sized, name.lower())
    else:  # each part by itself: what small letters are may depend on the letters around
        parts = re.split(r"(\d+)", name)
        text = "".join(_size_of(p) if n % 2 else p.lower() for n, p in enumerate(parts))
    return f"{text}\0\0{name}"


def _is_in_natural_order(names: Iterable[str]) -> bool:
    before = ""
    for name in names:
        key = natural_key(name)
        if key < before:
            return False
        before = key
    return True


def _keys(names: Iterable[str]) -> Iterator[pa.Array]:
    """Yield keys as bytes, which are in the order of the texts."""
    keys: list[bytes] = []
    for name in names:
        keys.append(natural_key(name).encode("utf-8", "surrogatepass"))
        if len(keys) == _AT_ONCE:
            yield pa.array(keys, pa.binary())
            keys = []
    yield pa.array(keys, pa.binary())


def _sized(digits: re.Match[str]) -> str:
    return _size_of(digits[0])


def _size_of(digits: str) -> str:
    """Return what orders numbers as their values do. Of thousands of digits Python makes no
    integer."""
    if not digits.isascii():
        digits = "".join(str(unicodedata.digit(digit)) for digit in digits)
    digits = digits.lstrip("0")
    return f"\0{chr(min(len(digits), _LONGEST) + 1)}{digits}"
