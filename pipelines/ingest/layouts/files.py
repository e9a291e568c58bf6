"""What a layout is, and what it answers with: the files of each pair."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.ingest.config import Role
from pipelines.making.plan import Reject

__all__ = ["SPLIT_FOLDERS", "Discovery", "Layout", "PairFiles", "Place", "Role", "Stems"]

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What folders of the splits are called, in small letters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFiles:
    """The files of one pair, by path below the source folder, with their sizes in bytes."""

    pair_id: str
    scene_id: str
    split: str
    left: tuple[str, int]
    right: tuple[str, int]
    target: tuple[str, int] | None = None
    combined: tuple[str, int] | None = None
    target_right: tuple[str, int] | None = None
    """Where the target has two views: its right one; the target is their mean."""
    fault: str = ""
    """Why its pictures make no pair, where a look at them has shown it."""
    turned: bool | None = None
    """Whether its parallax is vertical; None: as it is with all pictures of its shape."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """What a layout found."""

    pairs: Sequence[PairFiles]
    rejects: tuple[Reject, ...]
    offsets: dict[str, Counter[int]] = field(default_factory=dict)
    """Of each split whose targets were found by number: target number minus source number."""


class Place(NamedTuple):
    """Where a file stands in a set."""

    role: Role
    key: str
    """What the files of one pair have in common; the pair's id."""
    split: str | None = None
    """train, val or test; None where the set has no splits."""
    tree: str = ""
    """The folder of the set: two of them are two sets."""
    scene: str | None = None
    """What must not straddle splits; None: the key."""


Stems = Callable[[str], Place | None]
"""From a file's name less the suffix to its place; None: no part of the layout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a published set lies in its folders."""

    name: str
    form: str
    """Its files in one line, for messages."""
    folder: Callable[[tuple[str, ...]], Stems | None]
    """The folders above a file to what places the files there; None: none has a place. Asked once
    a folder, for there may be millions of files in it."""
    by_number: bool = False
    """Targets may have other numbers than their sources."""
    has_targets: bool = True
    """False for a set that never has any."""
    refusal: str | None = None
    """Why such a set is recognised and not taken in."""

    def place(self, folders: tuple[str, ...], stem: str) -> Place | None:
        """Return the place of one file, by the folders above it and its name less the suffix."""
        stems = self.folder(folders)
        return None if stems is None else stems(stem)
