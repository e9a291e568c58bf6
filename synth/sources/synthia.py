"""SYNTHIA-SF: `SEQ1` to `SEQ6`, each with `RGBLeft/NAME.png` and `DepthLeft/NAME.png`.

Hernandez-Juarez et al., "Slanted Stixels", BMVC 2017. Driving through a rendered city, 1080 x 1920.
Depth stands in the three bytes of a PNG's pixel, up to 1000 m, which is the sky's. Only the left
camera is read, as the published generator of RDPD does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from synth.scene import Scene
from synth.sources.decode import decode_picture
from synth.sources.patterns import Size
from synth.sources.rgbd import LonelyFile, faults_of_depth, rgbd_scene

MAX_DEPTH_M = 1000.0
"""What three full bytes stand for."""
_MAX_CODE = 2**24 - 1
_FRAME = re.compile(r"(?:.*/)?SEQ(\d+)/(RGBLeft|DepthLeft)/([^/]+\.png)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class SynthiaFrame:
    """One frame of a sequence, by the names of its two files."""

    sequence: int
    """The number in the folder's name, from 1."""
    frame: str
    """Name of both files, without folders: 0000012.png."""
    image: str
    depth: str

    @property
    def scene_id(self) -> str:
        """The same for all frames of a sequence: they show the same street."""
        return scene_id_of(self.sequence)


def scene_id_of(sequence: int) -> str:
    """Name of a sequence's scene."""
    return f"synthia-sf-{sequence:04d}"


def pair_frames(names: Iterable[str]) -> tuple[list[SynthiaFrame], list[LonelyFile]]:
    """Pair pictures of the left camera with their depth; what has no partner comes second.

    names: paths with slashes, at any depth above the SEQ folders. Other files are left out (right
    camera, labels). Both lists are sorted by sequence, then by name. ValueError where two files
    claim one place.
    """
    found: dict[tuple[int, str], dict[str, str]] = {}
    for name in sorted(names):
        match = _FRAME.fullmatch(name)
        if match is None:
            continue
        kind = match[2].lower()
        files = found.setdefault((int(match[1]), match[3]), {})
        if kind in files:
            raise ValueError(
                f"{files[kind]} and {name} are both {match[2]} of frame {match[3]} of sequence "
                f"{int(match[1])}; give one copy of SYNTHIA-SF"
            )
        files[kind] = name
    frames, lonely = [], []
    for (sequence, frame), files in sorted(found.items()):
        if len(files) == 2:
            frames.append(SynthiaFrame(sequence, frame, files["rgbleft"], files["depthleft"]))
            continue
        ((kind, name),) = files.items()
        missing = "depth" if kind == "rgbleft" else "image"
        lonely.append(LonelyFile(scene_id_of(sequence), name, missing))
    return frames, lonely


def decode_depth(encoded: np.ndarray) -> np.ndarray:
    """z = 1000 (R + 256 G + 65536 B) / (2^24 - 1) metres, float32 (H, W).

    encoded: uint8 (H, W, 3 or 4), RGB; a fourth channel says nothing. ValueError for others.
    """
    if encoded.dtype != np.uint8 or encoded.ndim != 3 or encoded.shape[2] not in (3, 4):
        raise ValueError(
            "depth must be a picture of 8 bits in three channels (R + 256 G + 65536 B), "
            f"got {encoded.shape} {encoded.dtype}"
        )
    code = encoded[..., :3].astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    return (code * (MAX_DEPTH_M / _MAX_CODE)).astype(np.float32)


def read_frame(
    image_file: BinaryIO,
    depth_file: BinaryIO,
    frame: SynthiaFrame,
    *,
    size: Size | None = None,
    rng: np.random.Generator | None = None,
) -> Scene:
    """Read one frame from two open files. size, rng: as for `synth.sources.fit.fit_scene`.

    Depth 0 is unknown: up to 5% is filled with the surface behind. Raises ValueError, with the
    frame's name and the reason, on what is not a scene; `synth.sources.rgbd.BadDepth` where
    that is the depth's fault.
    """
    where = f"SYNTHIA-SF SEQ{frame.sequence} {frame.frame}"
    image = decode_picture(image_file, f"{where}: image")
    if image.ndim == 3:
        image = image[..., :3]
    with faults_of_depth():
        encoded = decode_picture(depth_file, f"{where}: depth", colour=False)
        try:
            depth_m = decode_depth(encoded)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return rgbd_scene(frame.scene_id, image, depth_m, where=where, size=size, rng=rng)
