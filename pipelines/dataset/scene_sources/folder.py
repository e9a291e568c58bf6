"""A folder of NAME_image with NAME_depth files."""

from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from pipelines.dataset.scene_sources.source import Picture, Scenes, SceneUnit
from pipelines.dataset.scene_sources.two_files import (
    TwoFileReader,
    image_and_depth,
    lonely_rejects,
)
from pipelines.errors import UserError
from pipelines.storage import Location

if TYPE_CHECKING:
    from synth import Scene

FOLDER = "folder"


def folder_scenes(
    folder: Location, sizes: Mapping[str, int], depth_unit: str, *, scene_of: str
) -> Scenes:
    """Pair the files of a folder. sizes: path to bytes. Raises UserError where two claim a place.

    An image without depth and depth without image are rejects. scene_of: `folder` takes the
    pictures of one sub-folder, where there are several, as of one scene; `picture` none.
    """
    from synth.sources.folder import pair_files

    try:
        found, lonely = pair_files(sizes)
    except ValueError as error:
        raise UserError(f"{folder}: {error}; remove one of them") from error
    folders = {PurePosixPath(files.scene_id).parent for files in found}
    by_folder = scene_of == "folder" and len(folders) > 1
    return Scenes(
        kind=FOLDER,
        reader=TwoFileReader(folder=folder, decode=partial(_decode, depth_unit=depth_unit)),
        pictures=[
            Picture(
                picture_id=files.scene_id,
                scene_id=_folder_of(files.scene_id) if by_folder else files.scene_id,
                files=image_and_depth(files.image, files.depth, sizes),
            )
            for files in found
        ],
        rejects=lonely_rejects(lonely),
        locations=[folder],
    )


def _folder_of(picture_id: str) -> str:
    """Return a picture's sub-folder, or itself where it lies in none."""
    parent = PurePosixPath(picture_id).parent
    return picture_id if parent == PurePosixPath() else str(parent)


def _decode(unit: SceneUnit, image: BinaryIO, depth: BinaryIO, *, depth_unit: str) -> "Scene":
    from synth.sources.folder import METRES_PER_UNIT, read_rgbd

    step = depth_unit if depth_unit in METRES_PER_UNIT else float(depth_unit)
    return read_rgbd(image, depth, scene_id=unit.picture.picture_id, depth_unit=step)
