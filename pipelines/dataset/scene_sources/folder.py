"""A folder of NAME_image with NAME_depth files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.dataset.record import Source
from pipelines.dataset.scene_sources.source import (
    Picture,
    Scenes,
    SceneUnit,
    decoding,
    files_of,
    lonely_rejects,
    read_files,
)
from pipelines.errors import UserError
from pipelines.storage import Location

if TYPE_CHECKING:
    from synth import Scene

FOLDER = "folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderReader:
    """Reads the two files of a picture."""

    folder: Location
    depth_unit: str

    def read(self, unit: SceneUnit) -> tuple["Scene", tuple[Source, ...]]:
        """See SceneReader."""
        from synth.sources.folder import METRES_PER_UNIT, read_rgbd

        unit_name = self.depth_unit
        depth_unit = unit_name if unit_name in METRES_PER_UNIT else float(unit_name)
        (image, depth), sources = read_files(self.folder, unit)
        with decoding(unit, sources):
            scene = read_rgbd(image, depth, scene_id=unit.scene_id, depth_unit=depth_unit)
        return scene, sources

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """See SceneReader."""
        return files_of(self.folder, unit)


def folder_scenes(folder: Location, sizes: Mapping[str, int], depth_unit: str) -> Scenes:
    """Pair the files of a folder. sizes: path to bytes. Raises UserError where two claim a place.

    An image without depth and depth without image are rejects.
    """
    from synth.sources.folder import pair_files

    try:
        found, lonely = pair_files(sizes)
    except ValueError as error:
        raise UserError(f"{folder}: {error}; remove one of them") from error
    return Scenes(
        kind=FOLDER,
        reader=FolderReader(folder=folder, depth_unit=depth_unit),
        pictures=[
            Picture(
                picture_id=files.scene_id,
                scene_id=files.scene_id,
                files=(
                    ("image", files.image, sizes[files.image]),
                    ("depth", files.depth, sizes[files.depth]),
                ),
            )
            for files in found
        ],
        rejects=lonely_rejects(lonely),
        locations=[folder],
    )
