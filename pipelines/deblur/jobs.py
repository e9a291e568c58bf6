"""Which pictures are to be sharpened, and where each goes: a pair, a folder, a pattern."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.dataset.names import DATASET_NAME
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.metadata import FORMATS
from pipelines.deblur.names import name_of, partners, side_of
from pipelines.deblur.pairs import Found, by_pattern, in_folder, shown
from pipelines.errors import UserError
from pipelines.picture_keys import ANY_BOX
from pipelines.storage import Location, locate

_WILD = ("*", "?", "[")


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


def find_work(config: DeblurConfig) -> Work:
    """Look at what ``left``, ``right`` and ``output`` mean. Raises UserError where nothing fits."""
    left = locate(config.left)
    if left.local_path() is not None and _is_pattern(config.left):
        return _many(config, by_pattern(config))
    path = left.local_path()
    if path is not None and not path.exists():
        raise UserError(f"there is no picture at {path}, nor a folder; check the path")
    if path.is_dir() if path is not None else _is_remote_folder(left):
        return _many(config, in_folder(config, left))
    right = _partner(config, left) if config.right is None else locate(config.right)
    if config.right is not None:
        _refuse_two_of_a_side(left, locate(config.right))
    output = _output_of_one(config.output, left, right)
    return Work(jobs=(Job(name=left.name, left=left, right=right, output=output),))


def may_be_dataset(config: DeblurConfig) -> bool:
    """Tell whether ``left`` may name a dataset of ``root``: no file of that name is there."""
    if config.right is not None or PurePosixPath(config.left).suffix.lower() in FORMATS:
        return False
    parts = config.left.split("@", 1)
    return all(map(DATASET_NAME.fullmatch, parts)) and not Path(config.left).exists()


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


def _many(config: DeblurConfig, found: Found) -> Work:
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
            (shown(place, source), why) for place, why in found.alone.items() if place not in jobs
        ),
        others=tuple(shown(place, source) for place in found.others if place not in jobs),
    )


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
