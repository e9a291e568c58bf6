"""Which layout the files of a source are in, and where each file stands in it.

There may be tens of millions of files: a layout is asked once a folder which of its files it can
place, and nothing is kept of a file until one layout is chosen.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.ingest.layouts.files import Layout, Place, Stems
from pipelines.making.plan import LEFT_OUT, Reject

READ = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
OTHER_PICTURES = tuple(
    f".{name}"
    for name in (
        *("arw", "avif", "bmp", "cr2", "cr3", "dng", "exr", "gif", "heic", "heif"),
        *("jp2", "jxl", "nef", "pfm", "pgm", "ppm"),
    )
)
_NO_PICTURES_IN = frozenset(
    (
        *("__MACOSX", "@eaDir", "#recycle", "@Recycle", "@Recently-Snapshot"),
        *("$RECYCLE.BIN", "System Volume Information", "lost+found"),
    )
)
"""Folders of macOS, Windows, Linux and network disks: thumbnails, and what was thrown away."""
_PICTURES = frozenset((*READ, *OTHER_PICTURES))
_FOLDERS_AT_ONCE = 4096


@dataclass(slots=True)
class Survey:
    """How many pictures each of some layouts has a place for."""

    layouts: Sequence[Layout]
    roles: list[set[str]]
    """Of each layout: the roles that there are pictures of."""
    together: Counter[int] = field(default_factory=Counter)
    """Pictures by the set of layouts that place them: bit n is layout n."""

    def count(self, layout: int) -> int:
        """Return how many pictures a layout places."""
        return sum(count for places, count in self.together.items() if places >> layout & 1)

    def all_in(self, layout: int, other: int) -> bool:
        """Tell whether each picture that a layout places is placed by the other, too."""
        return all(places >> other & 1 for places in self.together if places >> layout & 1)


def survey(files: Iterable[str], layouts: Sequence[Layout]) -> Survey:
    """Look at all files with all layouts. files: in order, so that a folder is not asked often."""
    found = Survey(layouts, [set() for _ in layouts])

    @functools.lru_cache(_FOLDERS_AT_ONCE)
    def asked(above: str) -> list[tuple[int, set[str], Stems]]:
        folders, hidden = _folders(above)
        answers = [] if hidden else [layout.folder(folders) for layout in layouts]
        return [
            (1 << number, found.roles[number], stems)
            for number, stems in enumerate(answers)
            if stems is not None
        ]

    together = found.together
    for path in files:
        above, _, name = path.rpartition("/")
        stem, suffix = _stem_and_suffix(name)
        if suffix not in _PICTURES or _hides(name):
            continue
        places = 0
        for bit, roles, stems in asked(above):
            place = stems(stem)
            if place is not None:
                places |= bit
                roles.add(place.role)
        together[places] += 1
    return found


def placed(
    files: Iterable[str], layout: Layout
) -> Iterator[tuple[int, str, Place | Reject | None]]:
    """Yield the files of a source by number and path with their places.

    With a reject for what is hidden or no picture where one belongs; with None for a picture that
    has no place. Other files are no inputs.
    """

    @functools.lru_cache(_FOLDERS_AT_ONCE)
    def asked(above: str) -> tuple[Stems | None, bool]:
        folders, hidden = _folders(above)
        return layout.folder(folders), hidden

    for number, path in enumerate(files):
        above, _, name = path.rpartition("/")
        stem, suffix = _stem_and_suffix(name)
        stems, hidden = asked(above)
        if hidden or _hides(name):
            if suffix in READ:
                yield (
                    number,
                    path,
                    left_out(path, "hidden, or a system's own file"),
                )
            continue
        place = None if stems is None else stems(stem)
        if place is None:
            if suffix in _PICTURES:
                yield number, path, None
        elif suffix in _PICTURES:
            yield number, path, place
        else:
            yield number, path, left_out(path, f"no picture ({suffix or 'no suffix'})")


def suffix_of(path: str) -> str:
    """Return the suffix of a file as pathlib has it, in small letters."""
    return _stem_and_suffix(path.rpartition("/")[2])[1]


def is_hidden(path: str) -> bool:
    """Tell whether a file or a folder above it is hidden, or one that a system makes for itself."""
    return any(map(_hides, path.split("/")))


def left_out(path: str, reason: str) -> Reject:
    """Return the row of a file that is no input."""
    return Reject(pair_id="", split="", path=path, reason=reason, stage=LEFT_OUT)


def _hides(part: str) -> bool:
    return part.startswith(".") or part in _NO_PICTURES_IN


def _folders(above: str) -> tuple[tuple[str, ...], bool]:
    """Return the folders of a path, and whether one is hidden or a system's own."""
    folders = tuple(part for part in above.split("/") if part not in ("", "."))
    return folders, any(map(_hides, folders))


def _stem_and_suffix(name: str) -> tuple[str, str]:
    """As pathlib has them, the suffix in small letters."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:].lower()) if 0 < dot < len(name) - 1 else (name, "")
