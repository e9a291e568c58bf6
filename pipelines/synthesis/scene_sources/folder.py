"""A folder of NAME_image with NAME_depth files."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from pipelines.errors import UserError
from pipelines.storage import Location
from pipelines.synthesis.scene_sources.source import Picture, Scenes, SceneUnit
from pipelines.synthesis.scene_sources.two_files import (
    TwoFileReader,
    image_and_depth,
    lonely_rejects,
)
from synth.choices import METRES_PER_UNIT
from synth.scene import Scene
from synth.sources.folder import pair_files, read_rgbd

FOLDER = "folder"


def folder_scenes(
    folder: Location, sizes: Mapping[str, int], depth_unit: str, *, scene_of: str
) -> Scenes:
    """Pair the files of a folder. sizes: path to bytes. Raises UserError where two claim a place
    and where scene_of would change nothing.

    An image without depth and depth without image are rejects. scene_of: `folder` takes the
    pictures below one sub-folder, where there are several, as of one scene; `picture` none.
    """
    try:
        found, lonely = pair_files(sizes)
    except ValueError as error:
        raise UserError(f"{folder}: {error}; remove one of them") from error
    ids = [files.scene_id for files in found]
    scenes, each = _scenes_by_folder(ids), dict(zip(ids, ids, strict=True))
    if scene_of == "picture":
        if ids and scenes == each:
            raise UserError(
                f"scene_of=picture would change nothing: {folder} does not have several "
                "sub-folders with pictures; leave it out"
            )
        scenes = each
    return Scenes(
        kind=FOLDER,
        reader=TwoFileReader(folder=folder, decode=partial(_decode, depth_unit=depth_unit)),
        pictures=[
            Picture(
                picture_id=files.scene_id,
                scene_id=scenes[files.scene_id],
                files=image_and_depth(files.image, files.depth, sizes),
            )
            for files in found
        ],
        rejects=lonely_rejects(lonely),
        locations=[folder],
    )


def _scenes_by_folder(ids: list[str]) -> dict[str, str]:
    """Return the scene of each picture: its folder below the one that all have in common.

    A picture that lies in that one is a scene of its own. Folders end in a slash, pictures do not.
    """
    common = os.path.commonpath([PurePosixPath("/", name).parent for name in ids]) if ids else "/"
    scenes = {}
    for name in ids:
        below = PurePosixPath("/", name).relative_to(common).parts
        folder = str(PurePosixPath(common, below[0]))[1:] + "/"
        scenes[name] = folder if len(below) > 1 else name
    return scenes


def _decode(unit: SceneUnit, image: BinaryIO, depth: BinaryIO, *, depth_unit: str) -> Scene:
    step = depth_unit if depth_unit in METRES_PER_UNIT else float(depth_unit)
    return read_rgbd(image, depth, scene_id=unit.picture.picture_id, depth_unit=step)
