"""Which pictures are to be sharpened, and where each goes: a pair, a folder, a pattern."""

import glob
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
_PICTURES = {*FORMATS, ".pgm", ".ppm", *_NOT_READ}


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
    """Files without a partner, each with what is missing."""


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


def find_work(config: DeblurConfig) -> Work:
    """Look at what ``left``, ``right`` and ``output`` mean. Raises UserError where nothing fits."""
    left = locate(config.left)
    if left.local_path() is not None and _is_pattern(config.left):
        return _many(config, *_by_pattern(config))
    path = left.local_path()
    if path is not None and not path.exists():
        raise UserError(f"there is no picture at {path}, nor a folder; check the path")
    for view in (config.left, config.right):
        _refuse_pipe(view)
    if path.is_dir() if path is not None else _is_remote_folder(left):
        return _many(config, *_in_folder(config, left))
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
    if not config.model.startswith(ANY_BOX):
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


def _many(config: DeblurConfig, pairs: Sequence[_Pair], alone: Mapping[str, str]) -> Work:
    """Work of pairs. One whose name another has, too, is called as its left view lies."""
    folder = folder_for_many(config)
    times = Counter(_file_name(pair.name, pair.left) for pair in pairs)
    jobs: dict[str, Job] = {}
    for pair in pairs:
        name = pair.name
        if times[_file_name(name, pair.left)] > 1:
            name = pair.stem
        output = folder.child(_file_name(name, pair.left))
        job = Job(name=name, left=pair.left, right=pair.right, output=output)
        if output.url in jobs:
            raise UserError(
                f"{jobs[output.url].left} and {pair.left} would both be written to {output}; "
                "rename one"
            )
        jobs[output.url] = job
    return Work(jobs=tuple(jobs.values()), folder=folder, alone=tuple(alone.items()))


def _file_name(name: str, left: Location) -> str:
    return name + _suffix(left)


def folder_for_many(config: DeblurConfig) -> Location:
    """Return the folder that many pictures go to. Raises UserError for the name of a file."""
    folder = locate(config.output)
    path = folder.local_path()
    if path is not None and (path.is_file() or PurePosixPath(folder.name).suffix in FORMATS):
        raise UserError(f"output={config.output}: many pictures need a folder; name one")
    return folder


def _suffix(left: Location) -> str:
    suffix = PurePosixPath(left.name).suffix
    return suffix if suffix.lower() in FORMATS else ".png"


_Found = tuple[list[_Pair], dict[str, str]]


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
    pictures = [path for path in files if _is_picture(path)]
    if config.right is not None:
        return _two_folders(config, folder, pictures)
    pairs, alone = _by_names(pictures)
    alone |= {
        path: f"{kind} is not read: save it as PNG or TIFF"
        for path in files
        if (kind := _NOT_READ.get(PurePosixPath(path).suffix.lower()))
        and side_of(path) == "left"
        and not _is_hidden(path)
    }
    from pipelines.ingest.layouts import LAYOUTS, find_views  # brings pyarrow: for folders alone

    with_targets = [
        layout
        for layout in LAYOUTS.values()
        for path in pictures
        if (place := layout.place(PurePosixPath(path).parts[:-1], PurePosixPath(path).stem))
        and place.role == "target"
    ]
    raw = any(layout.refusal for layout in with_targets)
    if pairs and not with_targets and 2 * len(pairs) == len(pictures):
        return _located(folder, pairs), alone
    try:
        known, missing = find_views(files, source=folder.url)
    except UserError as error:
        if raw or not files:
            raise
        if not pairs:
            raise UserError(_nothing_found(folder, files, alone)) from error
        return _located(folder, pairs), alone
    views = [_Views(name, name, left, right) for name, (left, right) in known.items()]
    return _located(folder, views), missing


def _nothing_found(folder: Location, files: Iterable[str], alone: Mapping[str, str]) -> str:
    """What a folder without a pair holds, and how pairs are told."""
    if alone:
        path, reason = next(iter(alone.items()))
        seen = f"no picture has its other view ({path}: {reason})"
    else:
        kinds = sorted({PurePosixPath(path).suffix.lower() or "no suffix" for path in files})
        seen = f"there are files of {', '.join(kinds[:8])}, and {', '.join(FORMATS)} are read"
    return (
        f"no pairs at {folder}: {seen}. Names tell which belong together, such as a_L.png and "
        "a_R.png, or left/a.png and right/a.png; or say so: left='l/*.png' right='r/*.png'"
    )


def _located(folder: Location, pairs: Iterable[_Views]) -> list[_Pair]:
    return [_Pair(v.name, v.stem, folder.child(v.left), folder.child(v.right)) for v in pairs]


def _two_folders(config: DeblurConfig, folder: Location, pictures: Iterable[str]) -> _Found:
    """Left views in one folder, right ones in another, under equal names or names of their side."""
    other = locate(str(config.right))
    if (there := other.local_path()) is not None and not there.is_dir():
        what = "a file" if there.exists() else "nothing that is there"
        raise UserError(
            f"left={config.left} is a folder and right={config.right} is {what}; give two folders, "
            "or two files"
        )
    theirs = set(other.walk(follow_links=True))
    pairs: list[_Pair] = []
    alone: dict[str, str] = {}
    for path in pictures:
        stem = _stem(path)
        names = (Partner(path, stem), *partners(path))
        partner = next((one for one in names if one.right in theirs), None)
        if partner is None:
            alone[path] = f"there is no right view of that name at {other}"
        else:
            right = other.child(partner.right)
            pairs.append(_Pair(partner.name, stem, folder.child(path), right))
    if not pairs:
        raise UserError(f"no picture at {other} has the name of one at {folder}; check both")
    return pairs, alone


def _by_pattern(config: DeblurConfig) -> _Found:
    """Left views by a pattern; right ones by another, or by the names of the left ones."""
    paths = glob.glob(_escaped(config.left), recursive=True)  # noqa: PTH207 (absolute ones, too)
    there = sorted(path for path in paths if Path(path).is_file())
    # What a pattern such as 'shots/*' matches beside pictures is none that could not be made.
    found = [path for path in there if PurePosixPath(path).suffix.lower() in _PICTURES] or there
    if not found:
        raise UserError(
            f"nothing matches '{config.left}'; check the folder and the pattern ([] stands for one "
            "of several characters)"
        )
    if config.right is not None:
        pairs, alone = _by_two_patterns(config.left, config.right, found), dict[str, str]()
    else:
        base = _folders_before(config.left)
        pairs, alone = _by_names(found, base, exists=lambda path: Path(path).is_file())
    if not pairs:
        path, reason = next(iter(alone.items()))
        raise UserError(f"{path}: {reason}")
    return [_Pair(v.name, v.stem, locate(v.left), locate(v.right)) for v in pairs], alone


def _folders_before(pattern: str) -> str:
    """The folders that a pattern begins with, by their names, up to the last slash."""
    parts = pattern.split("/")
    known = 0
    while known < len(parts) - 1 and Path("/".join(parts[: known + 1]) or "/").is_dir():
        known += 1
    return "".join(f"{part}/" for part in parts[:known])


def _escaped(pattern: str) -> str:
    """A pattern whose first folders are their names, brackets and all."""
    before = _folders_before(pattern)
    return glob.escape(before) + pattern.removeprefix(before)


def _by_two_patterns(left: str, right: str, found: Iterable[str]) -> list[_Views]:
    wild = [pattern.removeprefix(_folders_before(pattern)) for pattern in (left, right)]
    if any(text.count("*") != 1 or "?" in text or "[" in text for text in wild):
        raise UserError(
            f"left='{left}' right='{right}': each needs one * for what the views of a pair have "
            "in common, and no other sign of a pattern"
        )
    before, _, behind = wild[0].partition("*")
    before = _folders_before(left) + before
    there = _folders_before(right)
    pairs = []
    for path in found:
        key = path[len(before) : len(path) - len(behind)]
        name = key.strip("-_. ") or "deblurred"
        pairs.append(_Views(name, key or name, path, there + wild[1].replace("*", key)))
    return pairs


def _by_names(
    paths: Iterable[str], base: str = "", exists: Callable[[str], bool] | None = None
) -> tuple[list[_Views], dict[str, str]]:
    """Pairs whose names say their side, and those alone.

    base: how all paths begin, which is no part of what a pair is called.
    """
    there = set(paths)
    is_there = exists or there.__contains__
    pairs: list[_Views] = []
    alone: dict[str, str] = {}
    for path in sorted(there):
        found = list(partners(path, base))
        partner = next((one for one in found if is_there(one.right)), None)
        if partner is not None:
            stem = _stem(path.removeprefix(base))
            pairs.append(_Views(partner.name, stem, path, partner.right))
        elif found:
            alone[path] = f"its right view is missing: there is no {found[0].right}"
        elif side_of(path) is None:
            alone[path] = "its name says no side, such as _L and _R or left and right"
        else:
            alone[path] = "its left view is missing"
    for views in pairs:
        alone.pop(views.right, None)
    return pairs, alone


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in FORMATS and not _is_hidden(path)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
