"""Which pictures are to be sharpened, and where each goes: a pair, a folder, a pattern."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.metadata import FORMATS
from pipelines.deblur.names import Partner, name_of, partners, side_of
from pipelines.deblur.patterns import files_of, folders_before
from pipelines.errors import UserError
from pipelines.picture_keys import ANY_BOX
from pipelines.storage import Location, locate

_WILD = ("*", "?", "[")
_DATASET = re.compile(r"[a-z0-9][a-z0-9.-]*(@[a-z0-9][a-z0-9.-]*)?")
_NOT_READ = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **{".avif": "AVIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000"},
}
"""Pictures all the same (docs/deblur.md says why not)."""
_GREY_MAPS = (".pgm", ".ppm")
_PICTURES = {*FORMATS, *_GREY_MAPS, *_NOT_READ}
_NO_SIDE = "its name says no side, such as _L and _R or left and right"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One picture to make."""

    name: str
    """What it is called in messages and on the page."""
    left: Location
    right: Location | None
    output: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """All pictures to make."""

    jobs: tuple[Job, ...]
    folder: Location | None = None
    """Where they go; None for a single pair, whose output is a file."""
    alone: tuple[tuple[str, str], ...] = ()
    """Views without a partner, each with what is missing, and pictures that are not read."""
    others: tuple[str, ...] = ()
    """Pictures beside the pairs whose names say no side."""


class _Views(NamedTuple):
    """Paths of two views that belong together, of many."""

    name: str
    stem: str
    """Path of the left one, without its suffix and what all paths have in common."""
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same, where they lie."""

    name: str
    stem: str
    left: Location
    right: Location


class _Found(NamedTuple):
    """What a folder or a pattern holds."""

    pairs: list[_Pair]
    alone: dict[Location, str]
    """Of each view without its other, and each picture that is not read, why."""
    others: list[Location]
    """Pictures whose names say no side."""


def find_work(config: DeblurConfig) -> Work:
    """Look at what ``left``, ``right`` and ``output`` mean. Raises UserError where nothing fits."""
    left = locate(config.left)
    if left.local_path() is not None and _is_pattern(config.left):
        return _many(config, _by_pattern(config))
    path = left.local_path()
    if path is not None and not path.exists():
        raise UserError(f"there is no picture at {path}, nor a folder; check the path")
    for view in (config.left, config.right):
        _refuse_pipe(view)
    if path.is_dir() if path is not None else _is_remote_folder(left):
        return _many(config, _in_folder(config, left))
    right = _partner(config, left) if config.right is None else locate(config.right)
    if config.right is not None:
        _refuse_two_of_a_side(left, locate(config.right))
    output = _output_of_one(config.output, left, right)
    return Work(jobs=(Job(name=left.name, left=left, right=right, output=output),))


def may_be_dataset(config: DeblurConfig) -> bool:
    """Tell whether ``left`` may name a dataset of ``root``: no file of that name is there."""
    if config.right is not None or PurePosixPath(config.left).suffix.lower() in FORMATS:
        return False
    return bool(_DATASET.fullmatch(config.left)) and not Path(config.left).exists()


def _partner(config: DeblurConfig, left: Location) -> Location | None:
    """The right view beside a left one, by its name; None where a model may want one picture alone.

    Raises UserError where there is none and the weights in the box want it.
    """
    if config.model != ANY_BOX and not config.model.startswith(f"{ANY_BOX}:"):
        return None
    found = list(partners(left.name))
    for partner in found:
        if (place := _beside(left, partner.right)).exists():
            return place
    beside = f", and there is no {found[0].right} beside it" if found else ""
    raise UserError(
        f"{left.name} is given alone{beside}; the weights in the box are for a pair: give both "
        "views, LEFT RIGHT, or a model for single pictures, model=FILE"
    )


def _beside(view: Location, name: str) -> Location:
    return Location(view.url.removesuffix(view.name) + name)


def _refuse_pipe(view: str | None) -> None:
    """Raise UserError for what is there and is neither a file nor a folder: reading would wait."""
    path = None if view is None else locate(view).local_path()
    if path is not None and path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is not a file, nor a folder; save the view to a file first")


def _refuse_two_of_a_side(left: Location, right: Location) -> None:
    """Raise UserError for two left views, each with a right one beside it: the shell's answer to a
    pattern without quotes."""
    if left.name == right.name or side_of(right.name) != "left":
        return
    own = [
        any(_beside(view, partner.right).exists() for partner in partners(view.name))
        for view in (left, right)
    ]
    if all(own):
        raise UserError(
            f"{left.name} and {right.name} are left views, each with its right one beside it; put "
            "a pattern in quotes, 'shots/*_L.png', or give one pair"
        )


def _output_of_one(output: str, left: Location, right: Location | None) -> Location:
    """Where a single picture goes: the file that is named, or into a folder under its own name."""
    place = locate(output)
    path, suffix = place.local_path(), PurePosixPath(place.name).suffix
    is_folder = output.endswith(("/", os.sep))
    if path is not None and suffix.lower() not in FORMATS:
        is_folder = is_folder or path.is_dir()
    if is_folder:
        name = name_of(left.name, None if right is None else right.name)
        return place.child(name + _suffix(left))
    if path is not None and path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is not a file that a picture can be written to; give another name")
    return place if suffix else Location(place.url + _suffix(left))


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in _WILD) and not Path(text).exists()


def _is_remote_folder(location: Location) -> bool:
    return not PurePosixPath(location.name).suffix and bool(location.list())


def _many(config: DeblurConfig, found: _Found) -> Work:
    """Work of pairs. One whose name another has, too, is called as its left view lies."""
    folder, source = folder_for_many(config), locate(config.left)
    times = Counter(_file_name(pair.name, pair.left) for pair in found.pairs)
    jobs: dict[Location, Job] = {}
    for pair in found.pairs:
        name = pair.name
        if times[_file_name(name, pair.left)] > 1:
            name = pair.stem
        output = folder.child(_file_name(name, pair.left))
        if output in jobs:
            raise UserError(
                f"{jobs[output].left} and {pair.left} would both be written to {output}; rename one"
            )
        jobs[output] = Job(name=name, left=pair.left, right=pair.right, output=output)
    # What a run before has made beside the views is not told of.
    return Work(
        jobs=tuple(jobs.values()),
        folder=folder,
        alone=tuple(
            (_shown(place, source), why) for place, why in found.alone.items() if place not in jobs
        ),
        others=tuple(_shown(place, source) for place in found.others if place not in jobs),
    )


def _shown(place: Location, source: Location) -> str:
    """A file's path below what was given, or as it is."""
    below = place.url.removeprefix(source.url.rstrip("/") + "/")
    return str(place) if below == place.url else below


def _file_name(name: str, left: Location) -> str:
    return name + _suffix(left)


def folder_for_many(config: DeblurConfig) -> Location:
    """Return the folder that many pictures go to. Raises UserError for the name of a file."""
    folder = locate(config.output)
    path = folder.local_path()
    if path is not None and (
        path.is_file() or PurePosixPath(folder.name).suffix.lower() in FORMATS
    ):
        raise UserError(f"output={config.output}: many pictures need a folder; name one")
    return folder


def _suffix(left: Location) -> str:
    suffix = PurePosixPath(left.name).suffix
    return suffix if suffix.lower() in FORMATS else ".png"


def _in_folder(config: DeblurConfig, folder: Location) -> _Found:
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
    pairs, alone, others = _by_names(pictures)
    if not pairs or with_targets:  # names alone would take two targets for views
        try:
            known, missing, placed = find_views(files, source=folder.url)
        except UserError as error:
            if not files or any(layout.refusal for layout in with_targets):
                raise
            if not pairs:
                raise UserError(_nothing_found(folder, files, alone, others)) from error
        else:
            pairs, alone, others = _by_names(path for path in pictures if path not in placed)
            pairs += [_Views(name, name, left, right) for name, (left, right) in known.items()]
            alone |= missing
    return _Found(
        [_Pair(v.name, v.stem, folder.child(v.left), folder.child(v.right)) for v in pairs],
        not_read | {folder.child(path): why for path, why in alone.items()},
        [folder.child(path) for path in others],
    )


def _pictures_in(
    folder: Location, files: Iterable[str], *, sides: tuple[str | None, ...]
) -> tuple[list[str], dict[Location, str]]:
    """Files that are read, and why those that are pictures all the same are not, as far as their
    names say one of some sides."""
    kinds = {path: PurePosixPath(path).suffix.lower() for path in files if not _is_hidden(path)}
    return [path for path, kind in kinds.items() if kind in (*FORMATS, *_GREY_MAPS)], {
        folder.child(path): f"{_NOT_READ[kind]} is not read: save it as PNG or TIFF"
        for path, kind in kinds.items()
        if kind in _NOT_READ and side_of(path) in sides
    }


def _nothing_found(
    folder: Location, files: Iterable[str], alone: Mapping[str, str], others: Sequence[str]
) -> str:
    """What a folder without a pair holds, and how pairs are told."""
    if alone or others:
        path, reason = next(iter(alone.items()), (*others[:1], _NO_SIDE))
        seen = f"no picture has its other view ({path}: {reason})"
    else:
        kinds = sorted({PurePosixPath(path).suffix.lower() or "no suffix" for path in files})
        seen = f"there are files of {', '.join(kinds[:8])}, and {', '.join(FORMATS)} are read"
    return (
        f"no pairs at {folder}: {seen}. Names tell which belong together, such as a_L.png and "
        "a_R.png, or left/a.png and right/a.png; or say so: left='l/*.png' right='r/*.png'"
    )


def _two_folders(config: DeblurConfig, folder: Location, files: Mapping[str, int]) -> _Found:
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
    alone |= {place: why for place, why in not_read.items() if _shown(place, other) not in files}
    unused = dict.fromkeys(theirs)
    pairs: list[_Pair] = []
    for path in pictures:
        stem = _stem(path)
        names = (Partner(path, stem), *partners(path))
        partner = next((one for one in names if one.right in unused), None)
        if partner is None:
            alone[folder.child(path)] = f"there is no right view of that name at {other}"
        else:
            del unused[partner.right]
            right = other.child(partner.right)
            pairs.append(_Pair(partner.name, stem, folder.child(path), right))
    for path in unused:
        alone[other.child(path)] = f"there is no left view of that name at {folder}"
    if not pairs:
        raise UserError(f"no picture at {other} has the name of one at {folder}; check both")
    return _Found(pairs, alone, [])


def _by_pattern(config: DeblurConfig) -> _Found:
    """Left views by a pattern; right ones by another, or by the names of the left ones."""
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
        pairs, alone = _by_two_patterns(left, right, found)
        others: list[str] = []
    else:
        base = folders_before(left)
        pairs, alone, others = _by_names(found, base, exists=lambda path: Path(path).is_file())
    if not pairs:
        path, reason = next(iter(alone.items()), (*others[:1], _NO_SIDE))
        raise UserError(f"{path}: {reason}")
    return _Found(
        [_Pair(v.name, v.stem, locate(v.left), locate(v.right)) for v in pairs],
        {locate(path): why for path, why in alone.items()},
        [locate(path) for path in others],
    )


def _by_two_patterns(
    left: str, right: str, found: Iterable[str]
) -> tuple[list[_Views], dict[str, str]]:
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
    pairs: list[_Views] = []
    alone: dict[str, str] = {}
    for path in found:
        key = path[len(before) : len(path) - len(behind)]
        name, partner = key.strip("-_. ") or "deblurred", there + wild[1].replace("*", key)
        if partner in unused:
            unused.remove(partner)
            pairs.append(_Views(name, key or name, path, partner))
        else:
            alone[path] = f"its right view is missing: there is no {partner}"
    return pairs, alone | dict.fromkeys(sorted(unused), f"no left view matches '{left}'")


def _by_names(
    paths: Iterable[str], base: str = "", exists: Callable[[str], bool] | None = None
) -> tuple[list[_Views], dict[str, str], list[str]]:
    """Pairs whose names say their side, why others that say it are none, and those that say none.

    base: how all paths begin, which is no part of what a pair is called.
    """
    there = set(paths)
    is_there = exists or there.__contains__
    pairs: list[_Views] = []
    alone: dict[str, str] = {}
    others: list[str] = []
    for path in sorted(there):
        found = list(partners(path, base))
        partner = next((one for one in found if is_there(one.right)), None)
        if partner is not None:
            stem = _stem(path.removeprefix(base))
            pairs.append(_Views(partner.name, stem, path, partner.right))
        elif side_of(path) is None:
            others.append(path)
        elif found:
            alone[path] = f"its right view is missing: there is no {found[0].right}"
        else:
            alone[path] = "its left view is missing"
    rights = {views.right for views in pairs}
    return (
        pairs,
        {path: why for path, why in alone.items() if path not in rights},
        [path for path in others if path not in rights],
    )


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
