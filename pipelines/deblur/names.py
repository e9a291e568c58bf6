"""What a file's name says of its side: ``IMG_1_L.tif``, ``left/0001.png``, ``Right 3.jpg``."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

Side = Literal["left", "right"]

_LETTER = r"[^\W\d_]"
_WORD = re.compile(rf"(?<!{_LETTER})(left|right|l|r)(?!{_LETTER})", re.IGNORECASE)
_OTHER = {"left": "right", "l": "r"}
_SEPARATORS = "-_. "
_NAMELESS = "deblurred"


class Partner(NamedTuple):
    """What the right view of a left one may be called."""

    right: str
    """Its path."""
    name: str
    """What their pair is called: the left path less its suffix and the words that tell the two
    apart. ``shots/IMG_1_L.tif`` is ``shots/IMG_1``, ``left/0001.png`` is ``0001``."""


def side_of(name: str) -> Side | None:
    """Return the side that a name says, by its last word for one; None where it says none.

    A letter with a number behind it, as in ``EOS_R5_0001``, says none by itself.
    """
    words = [word[0].lower() for word in _WORD.finditer(name) if not _is_numbered(word)]
    if not words:
        return None
    return "left" if words[-1].startswith("l") else "right"


def _is_numbered(word: re.Match[str]) -> bool:
    return len(word[0]) == 1 and word.string[word.end() : word.end() + 1].isdigit()


def partners(left: str, base: str = "") -> Iterator[Partner]:
    """Yield what the right view of a path may be called: one of its words for left exchanged, the
    last one first, then all of them; written like the left one, then in small and in capital
    letters. Nothing where no word says left.

    Words for right stay what they are: ``R5`` in ``EOS_R5_0001_L.tif`` is a camera's name.
    base: how all paths of a search begin, which is no part of what a pair is called.
    """
    words = [word for word in _WORD.finditer(left) if word[0].lower() in _OTHER]
    chosen = [[word] for word in reversed(words)] + ([words] if len(words) > 1 else [])
    yielded = set()
    for style in (None, str.lower, str.capitalize, str.upper):
        for some in chosen:
            right = left
            for word in reversed(some):
                other = _like(word[0]) if style is None else style(_OTHER[word[0].lower()])
                right = right[: word.start()] + other + right[word.end() :]
            if right not in yielded:
                yielded.add(right)
                yield Partner(right, _without(some, left, base))


def name_of(left: str, right: str | None = None) -> str:
    """Return what a pair of two file names is called, in whichever order, as ``Partner.name``."""
    for one, other in ((left, right), (right, left)):
        for partner in partners(one) if one is not None else ():
            if partner.right == other:
                return partner.name
    first = next(partners(left), None)
    return PurePosixPath(left).stem if first is None else first.name


def _without(words: Sequence[re.Match[str]], path: str, base: str) -> str:
    """A path behind its base, less its suffix, some words, and the separators before each."""
    stem = path.removesuffix(PurePosixPath(path).suffix)
    for word in reversed(words):
        if word.start() < len(base):
            continue
        before = stem[: word.start()].rstrip(_SEPARATORS)
        behind = stem[word.end() :]
        if before.endswith("/") or len(before) == len(base):  # it stood first
            before, behind = stem[: word.start()], behind.lstrip(_SEPARATORS)
        stem = before + behind
    return "/".join(filter(None, stem[len(base) :].split("/"))) or _NAMELESS


def _like(word: str) -> str:
    """The other word, in letters like these."""
    other = _OTHER[word.lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
