"""What a file's name says of its side: ``IMG_1_L.tif``, ``left/0001.png``, ``dpLeft-3.jpg``."""

import re
from collections.abc import Iterator
from typing import Literal

Side = Literal["left", "right"]

_WORD = re.compile(r"(?<![A-Za-z])(left|right|l|r)(?![A-Za-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def side_of(name: str) -> Side | None:
    """Return the side that a name says, by its last word for one; None where it says none."""
    words = _WORD.findall(name)
    if not words:
        return None
    return "left" if words[-1].lower().startswith("l") else "right"


def right_names(left: str) -> Iterator[str]:
    """Yield what the right view of a path may be called: its last word for a side exchanged, then
    all of them. Nothing where the path does not say that it is a left view."""
    words = list(_WORD.finditer(left))
    if not words or not words[-1][0].lower().startswith("l"):
        return
    last = words[-1]
    yield left[: last.start()] + _exchanged(last[0]) + left[last.end() :]
    if len(words) > 1:
        yield _WORD.sub(lambda word: _exchanged(word[0]), left)


def without_side(path: str) -> str:
    """Return a path, less its suffix, without the words for a side: what a pair's output is called.

    ``shots/IMG_1_L`` is ``shots/IMG_1``, ``left/0001`` is ``0001``.
    """
    parts = [_WORD.sub("", part) for part in path.split("/")]
    tidy = [re.sub(r"^[-_. ]+|[-_. ]+$", "", re.sub(r"([-_. ])[-_. ]+", r"\1", p)) for p in parts]
    return "/".join(part for part in tidy if part) or "deblurred"


def _exchanged(word: str) -> str:
    other = _OTHER[word.lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
