"""SYNTHIA-SF: sequences SEQ1 to SEQ6 of a drive, their frames RGBLeft and DepthLeft."""

from collections.abc import Mapping
from typing import BinaryIO

from pipelines.errors import UserError
from pipelines.storage import Location
from pipelines.synthesis.scene_sources.source import Picture, Scenes, SceneUnit
from pipelines.synthesis.scene_sources.two_files import (
    TwoFileReader,
    image_and_depth,
    lonely_rejects,
)
from synth.scene import Scene
from synth.sources.synthia import SynthiaFrame, pair_frames, read_frame

SYNTHIA = "synthia-sf"


def synthia_scenes(folder: Location, sizes: Mapping[str, int]) -> Scenes | None:
    """Find the frames in a folder; None where there are none. sizes: path to bytes.

    A picture without depth and depth without a picture are rejects. Raises UserError where the
    folder holds two copies.
    """
    try:
        frames, lonely = pair_frames(sizes)
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from error
    if not frames and not lonely:
        return None
    return Scenes(
        kind=SYNTHIA,
        reader=TwoFileReader(folder=folder, decode=_decode),
        pictures=[
            Picture(
                picture_id=f"{frame.scene_id}-{frame.frame.rpartition('.')[0]}",
                scene_id=frame.scene_id,
                files=image_and_depth(frame.image, frame.depth, sizes),
                number=frame.sequence,
                frame=frame.frame,
            )
            for frame in frames
        ],
        rejects=lonely_rejects(lonely),
        locations=[folder],
    )


def _decode(unit: SceneUnit, image: BinaryIO, depth: BinaryIO) -> Scene:
    names = [path for _, path, _ in unit.picture.files]
    return read_frame(image, depth, SynthiaFrame(unit.picture.number, unit.picture.frame, *names))
