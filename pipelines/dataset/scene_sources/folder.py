"""A folder of NAME_image with NAME_depth files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.dataset.plan import Reject
from pipelines.dataset.record import Source
from pipelines.dataset.scene_sources.source import (
    Picture,
    Scenes,
    SceneUnit,
    decoding,
    files_of,
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
        found = pair_files(list(sizes))
    except ValueError as error:
        raise UserError(f"{folder}: {error}; remove one of them") from error
    paired = {path for files in found for path in (files.image, files.depth)}
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
        rejects=[r for path in sizes if (r := _lonely(path, paired)) is not None],
        locations=[folder],
    )


def _lonely(path: str, paired: set[str]) -> Reject | None:
    """Return the reject for an image without depth or depth without image."""
    scene_id, _, ending = path.rpartition(".")[0].rpartition("_")
    partner = {"image": "depth", "depth": "image"}.get(ending.lower())
    if path in paired or partner is None:
        return None
    reason = f"there is no {partner} for it"
    return Reject(pair_id=scene_id, split="", path=path, reason=reason, stage="discover")
