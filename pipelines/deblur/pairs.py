"""Which files belong together: in a folder, in two folders, or by a pattern."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.metadata import FORMATS
from pipelines.deblur.names import Partner, partners, side_of
from pipelines.deblur.patterns import files_of, folders_before
from pipelines.errors import UserError
from pipelines.storage import Location, locate

_NOT_READ = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **{".avif": "AVIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000"},
}
"""Pictures all the same (docs/deblur.md says why not)."""
_GREY_MAPS = (".pgm", ".ppm")
_PICTURES = {*FORMATS, *_GREY_MAPS, *_NOT_READ}
_NO_SIDE = "its name says no side, such as _L and _R or left and right"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two views that belong together."""

    name: str
    stem: str
    """Path of the left one, without its suffix and what all paths have in common."""
    left: Location
    right: Location


class Found(NamedTuple):
    """What a folder or a pattern holds."""

    pairs: list[Pair]
    alone: dict[Location, str]
    """Of each view without its other, and each picture that is not read, why."""
    others: list[Location]
    """Pictures whose names say no side."""


def in_folder(config: DeblurConfig, folder: Location) -> Found:
    """Look for pairs in ``left``, a folder, or in ``left`` and ``right``, two of them.

    Raises UserError where there is none.
    """
    files = all_files = folder.walk(follow_links=True)
    output = locate(config.output).url.rstrip("/") + "/"
    if output.startswith(folder.url.rstrip("/") + "/"):  # what was made is not an input
        below = output.removeprefix(folder.url.rstrip("/") + "/")
        if below:
            files = {path: size for path, size in files.items() if not path.startswith(below)}
    if all_files and not files:
        raise UserError(
            f"all files at {folder} lie in the output folder, and what was made is not an input; "
            "name another folder by -o"
        )
    if config.right is not None:
        return _two_folders(config, folder, files)
    pictures, not_read = _pictures_in(folder, files, sides=("left",))
    from pipelines.ingest.layouts import LAYOUTS, find_views  # brings pyarrow: for folders alone

    with_targets = [
        layout
        for layout in LAYOUTS.values()
        for path in pictures
        if (place := layout.place(PurePosixPath(path).parts[:-1], PurePosixPath(path).stem))
        and place.role == "target"
    ]
    found = _by_names(pictures, folder.child)
    if not found.pairs or with_targets:  # names alone would take two targets for views
        try:
            known, missing, placed = find_views(files, source=folder.url)
        except UserError as error:
            if not files or any(layout.refusal for layout in with_targets):
                raise
            if not found.pairs:
                raise UserError(_nothing_found(folder, files, found)) from error
        else:
            found = _by_names((path for path in pictures if path not in placed), folder.child)
            found.pairs.extend(
                Pair(name, name, folder.child(left), folder.child(right))
                for name, (left, right) in known.items()
            )
            found.alone.update((folder.child(path), why) for path, why in missing.items())
    return found._replace(alone=not_read | found.alone)


def _two_folders(config: DeblurConfig, folder: Location, files: Mapping[str, int]) -> Found:
    """Left views in one folder, right ones in another, under equal names or names of their side."""
    other = locate(str(config.right))
    if (there := other.local_path()) is not None and not there.is_dir():
        what = "a file" if there.exists() else "nothing that is there"
        raise UserError(
            f"left={config.left} is a folder and right={config.right} is {what}; give two folders, "
            "or two files"
        )
    pictures, alone = _pictures_in(folder, files, sides=("left", None))
    listed = other.walk(follow_links=True)
    theirs, not_read = _pictures_in(other, listed, sides=("right", None))
    alone |= {place: why for place, why in not_read.items() if shown(place, other) not in files}
    unused = dict.fromkeys(theirs)
    pairs: list[Pair] = []
    for path in pictures:
        stem = _stem(path)
        names = (Partner(path, stem), *partners(path))
        partner = next((one for one in names if one.right in unused), None)
        if partner is None:
            alone[folder.child(path)] = f"there is no right view of that name at {other}"
        else:
            del unused[partner.right]
            right = other.child(partner.right)
            pairs.append(Pair(partner.name, stem, folder.child(path), right))
    for path in unused:
        alone[other.child(path)] = f"there is no left view of that name at {folder}"
    if not pairs:
        raise UserError(f"no picture at {other} has the name of one at {folder}; check both")
    return Found(pairs, alone, [])


def by_pattern(config: DeblurConfig) -> Found:
    """Look for left views by a pattern, and right ones by another or by the left ones' names.

    Raises UserError where there is no pair.
    """
    left = os.path.expanduser(config.left)  # noqa: PTH111 (keeps './' and '//')
    there = files_of(left)
    # What a pattern such as 'shots/*' matches beside pictures is none that could not be made.
    found = [path for path in there if PurePosixPath(path).suffix.lower() in _PICTURES] or there
    if not found:
        raise UserError(
            f"nothing matches '{config.left}'; check the folder and the pattern ([] stands for one "
            "of several characters)"
        )
    if config.right is not None:
        right = os.path.expanduser(config.right)  # noqa: PTH111 (keeps './' and '//')
        pairs = _by_two_patterns(left, right, found)
    else:
        base = folders_before(left)
        pairs = _by_names(found, locate, base, exists=lambda path: Path(path).is_file())
    if not pairs.pairs:
        view, reason = _first_unpaired(pairs)
        raise UserError(f"{view}: {reason}")
    return pairs


def shown(place: Location, source: Location) -> str:
    """Return a file's path below what was given, or as it is."""
    below = place.url.removeprefix(source.url.rstrip("/") + "/")
    return str(place) if below == place.url else below


def _pictures_in(
    folder: Location, files: Iterable[str], *, sides: tuple[str | None, ...]
) -> tuple[list[str], dict[Location, str]]:
    """Files that are read, and why those that are pictures all the same are not, as far as their
    names say one of some sides."""
    from pipelines.ingest.layouts.placing import is_hidden  # brings pyarrow: for folders alone

    kinds = {path: PurePosixPath(path).suffix.lower() for path in files if not is_hidden(path)}
    return [path for path, kind in kinds.items() if kind in (*FORMATS, *_GREY_MAPS)], {
        folder.child(path): f"{_NOT_READ[kind]} is not read: save it as PNG or TIFF"
        for path, kind in kinds.items()
        if kind in _NOT_READ and side_of(path) in sides
    }


def _by_two_patterns(left: str, right: str, found: Iterable[str]) -> Found:
    wild = [pattern.removeprefix(folders_before(pattern)) for pattern in (left, right)]
    if any(text.count("*") != 1 or "?" in text or "[" in text for text in wild):
        raise UserError(
            f"left='{left}' right='{right}': each needs one * for what the views of a pair have "
            "in common, and no other sign of a pattern"
        )
    before, _, behind = wild[0].partition("*")
    before = folders_before(left) + before
    there = folders_before(right)
    unused = set(files_of(right))
    pairs: list[Pair] = []
    alone: dict[Location, str] = {}
    for path in found:
        key = path[len(before) : len(path) - len(behind)]
        name, partner = key.strip("-_. ") or "deblurred", there + wild[1].replace("*", key)
        if partner in unused:
            unused.remove(partner)
            pairs.append(Pair(name, key or name, locate(path), locate(partner)))
        else:
            alone[locate(path)] = f"its right view is missing: there is no {partner}"
    missing = f"no left view matches '{left}'"
    return Found(pairs, alone | dict.fromkeys(map(locate, sorted(unused)), missing), [])


def _by_names(
    paths: Iterable[str],
    place: Callable[[str], Location],
    base: str = "",
    exists: Callable[[str], bool] | None = None,
) -> Found:
    """Pairs whose names say their side, why others that say it are none, and those that say none.

    place: where a path lies. base: how all paths begin, which is no part of what a pair is called.
    """
    there = set(paths)
    is_there = exists or there.__contains__
    pairs: list[Pair] = []
    rights: set[str] = set()
    alone: dict[str, str] = {}
    others: list[str] = []
    for path in sorted(there):
        found = list(partners(path, base))
        partner = next((one for one in found if is_there(one.right)), None)
        if partner is not None:
            stem = _stem(path.removeprefix(base))
            pairs.append(Pair(partner.name, stem, place(path), place(partner.right)))
            rights.add(partner.right)
        elif side_of(path) is None:
            others.append(path)
        elif found:
            alone[path] = f"its right view is missing: there is no {found[0].right}"
        else:
            alone[path] = "its left view is missing"
    return Found(
        pairs,
        {place(path): why for path, why in alone.items() if path not in rights},
        [place(path) for path in others if path not in rights],
    )


def _nothing_found(folder: Location, files: Iterable[str], found: Found) -> str:
    """What a folder without a pair holds, and how pairs are told."""
    if found.alone or found.others:
        view, reason = _first_unpaired(found)
        seen = f"no picture has its other view ({shown(view, folder)}: {reason})"
    else:
        kinds = sorted({PurePosixPath(path).suffix.lower() or "no suffix" for path in files})
        seen = f"there are files of {', '.join(kinds[:8])}, and {', '.join(FORMATS)} are read"
    return (
        f"no pairs at {folder}: {seen}. Names tell which belong together, such as a_L.png and "
        "a_R.png, or left/a.png and right/a.png; or say so: left='l/*.png' right='r/*.png'"
    )


def _first_unpaired(found: Found) -> tuple[Location, str]:
    """A view without its other, or a picture whose name says no side, and why."""
    for view, reason in found.alone.items():
        return view, reason
    return found.others[0], _NO_SIDE


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)
