"""SYNTHIA-SF: sequences SEQ1 to SEQ6 of a drive, their frames RGBLeft and DepthLeft."""

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

SYNTHIA = "synthia-sf"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthiaReader:
    """Reads the two files of a frame."""

    folder: Location

    def read(self, unit: SceneUnit) -> tuple["Scene", tuple[Source, ...]]:
        """See SceneReader."""
        from synth.sources.synthia import SynthiaFrame, read_frame

        (image, depth), sources = read_files(self.folder, unit)
        names = [path for _, path, _ in unit.picture.files]
        frame = SynthiaFrame(unit.picture.number, unit.picture.frame, *names)
        with decoding(unit, sources):
            scene = read_frame(image, depth, frame)
        return scene, sources

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """See SceneReader."""
        return files_of(self.folder, unit)


def synthia_scenes(folder: Location, sizes: Mapping[str, int]) -> Scenes | None:
    """Find the frames in a folder; None where there are none. sizes: path to bytes.

    A picture without depth and depth without a picture are rejects. Raises UserError where the
    folder holds two copies.
    """
    from synth.sources.synthia import pair_frames

    try:
        frames, lonely = pair_frames(sizes)
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from error
    if not frames and not lonely:
        return None
    return Scenes(
        kind=SYNTHIA,
        reader=SynthiaReader(folder=folder),
        pictures=[
            Picture(
                picture_id=f"{frame.scene_id}-{frame.frame.rpartition('.')[0]}",
                scene_id=frame.scene_id,
                files=(
                    ("image", frame.image, sizes[frame.image]),
                    ("depth", frame.depth, sizes[frame.depth]),
                ),
                number=frame.sequence,
                frame=frame.frame,
            )
            for frame in frames
        ],
        rejects=lonely_rejects(lonely),
        locations=[folder],
    )
