"""Which pictures are to be sharpened, and where each goes: a pair, a folder, a pattern."""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.metadata import FORMATS
from pipelines.deblur.names import right_names, side_of, without_side
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


def find_work(config: DeblurConfig) -> Work:
    """Look at what ``left``, ``right`` and ``output`` mean. Raises UserError where nothing fits."""
    left = locate(config.left)
    if left.local_path() is not None and _is_pattern(config.left):
        return _many(config, *_by_pattern(config))
    path = left.local_path()
    if path is not None and not path.exists():
        raise UserError(f"there is no picture at {path}, nor a folder; check the path")
    if path.is_dir() if path is not None else _is_remote_folder(left):
        return _many(config, *_in_folder(config, left))
    right = _partner(config, left) if config.right is None else locate(config.right)
    output = _output_of_one(config.output, left)
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
    folder = left.url.removesuffix(left.name)
    names = list(right_names(left.name))
    for name in names:
        if (place := Location(folder + name)).exists():
            return place
    beside = f", and there is no {names[0]} beside it" if names else ""
    raise UserError(
        f"{left.name} is given alone{beside}; the weights in the box are for a pair: give both "
        "views, LEFT RIGHT, or a model for single pictures, model=FILE"
    )


def _output_of_one(output: str, left: Location) -> Location:
    """Where a single picture goes: the file that is named, or into a folder under its own name."""
    place = locate(output)
    path, suffix = place.local_path(), PurePosixPath(place.name).suffix
    is_folder = output.endswith(("/", os.sep))
    if path is not None and suffix.lower() not in FORMATS:
        is_folder = is_folder or path.is_dir()
    if is_folder:
        return place.child(without_side(PurePosixPath(left.name).stem) + _suffix(left))
    if path is not None and path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is not a file that a picture can be written to; give another name")
    return place if suffix else Location(place.url + _suffix(left))


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in _WILD) and not Path(text).exists()


def _is_remote_folder(location: Location) -> bool:
    return not PurePosixPath(location.name).suffix and bool(location.list())


def _many(
    config: DeblurConfig, pairs: Mapping[str, tuple[Location, Location]], alone: dict[str, str]
) -> Work:
    """Work of pairs by what their outputs are called."""
    folder = folder_for_many(config)
    jobs = tuple(
        Job(name=name, left=left, right=right, output=folder.child(name + _suffix(left)))
        for name, (left, right) in pairs.items()
    )
    twice = [url for url, n in Counter(job.output.url for job in jobs).items() if n > 1]
    if twice:
        raise UserError(f"more than one pair would be written to {twice[0]}; give them apart")
    return Work(jobs=jobs, folder=folder, alone=tuple(alone.items()))


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


_Found = tuple[dict[str, tuple[Location, Location]], dict[str, str]]


def _in_folder(config: DeblurConfig, folder: Location) -> _Found:
    files = folder.walk(follow_links=True)
    output = locate(config.output).url.rstrip("/") + "/"
    if output.startswith(folder.url.rstrip("/") + "/"):  # what was made is not an input
        below = output.removeprefix(folder.url.rstrip("/") + "/")
        if below:
            files = {path: size for path, size in files.items() if not path.startswith(below)}
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
    return _located(folder, known), missing


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


def _located(
    folder: Location, pairs: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[Location, Location]]:
    return {name: (folder.child(a), folder.child(b)) for name, (a, b) in pairs.items()}


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
    pairs: dict[str, tuple[Location, Location]] = {}
    alone: dict[str, str] = {}
    for path in pictures:
        right = next((name for name in (path, *right_names(path)) if name in theirs), None)
        if right is None:
            alone[path] = f"there is no right view of that name at {other}"
        else:
            name = without_side(str(PurePosixPath(path).with_suffix("")))
            pairs[name] = (folder.child(path), other.child(right))
    if not pairs:
        raise UserError(f"no picture at {other} has the name of one at {folder}; check both")
    return pairs, alone


def _by_pattern(config: DeblurConfig) -> _Found:
    """Left views by a pattern; right ones by another, or by the names of the left ones."""
    paths = glob.glob(config.left, recursive=True)  # noqa: PTH207 (absolute ones, too)
    there = sorted(path for path in paths if Path(path).is_file())
    # What a pattern such as 'shots/*' matches beside pictures is none that could not be made.
    found = [path for path in there if PurePosixPath(path).suffix.lower() in _PICTURES] or there
    if not found:
        raise UserError(f"nothing matches '{config.left}'; check the folder and the pattern")
    base = config.left[: min(config.left.find(s) for s in _WILD if s in config.left)]
    base = base[: base.rfind("/") + 1]
    if config.right is not None:
        paired = _by_two_patterns(config.left, config.right, found)
        alone: dict[str, str] = {}
    else:
        paired, alone = _by_names(found, base, exists=lambda path: Path(path).is_file())
    if not paired:
        path, reason = next(iter(alone.items()))
        raise UserError(f"{path}: {reason}")
    return {name: (locate(a), locate(b)) for name, (a, b) in paired.items()}, alone


def _by_two_patterns(left: str, right: str, found: Iterable[str]) -> dict[str, tuple[str, str]]:
    if left.count("*") != 1 or right.count("*") != 1:
        raise UserError(
            f"left='{left}' right='{right}': each needs one * for what the views of a pair have "
            "in common"
        )
    before, _, behind = left.partition("*")
    pairs = {}
    for path in found:
        key = path[len(before) : len(path) - len(behind)]
        pairs[key.strip("-_. ") or "deblurred"] = (path, right.replace("*", key))
    return pairs


def _by_names(
    paths: Iterable[str], base: str = "", exists: Callable[[str], bool] | None = None
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Pairs whose names say their side, by what they are called without it; and those alone.

    base: how all paths begin, which is no part of what a pair is called.
    """
    there = set(paths)
    is_there = exists or there.__contains__
    pairs: dict[str, tuple[str, str]] = {}
    alone: dict[str, str] = {}
    rights: set[str] = set()
    for path in sorted(there):
        names = list(right_names(path))
        right = next((name for name in names if is_there(name)), None)
        if right is not None:
            stem = str(PurePosixPath(path.removeprefix(base)).with_suffix(""))
            name = without_side(stem)
            if name in pairs:  # of another folder or kind: called as it lies
                name = stem
            pairs[name] = (path, right)
            rights.add(right)
        elif names:
            alone[path] = f"its right view is missing: there is no {names[0]}"
        elif side_of(path) is None:
            alone[path] = "its name says no side, such as _L and _R or left and right"
    for path in there - rights:
        if side_of(path) == "right" and not list(right_names(path)):
            alone[path] = "its left view is missing"
    return pairs, alone


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in FORMATS and not _is_hidden(path)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
