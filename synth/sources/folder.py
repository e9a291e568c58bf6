"""Folders of RGB-D scenes: `NAME_image.EXT` beside `NAME_depth.EXT`.

Only names and open file objects come in here: where they are stored is the caller's matter.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from synth.scene import Scene
from synth.sources.fit import fit_scene
from synth.sources.holes import fill_depth
from synth.sources.patterns import Size
from synth.sources.textures import as_unit_float

METRES_PER_UNIT: dict[str, float] = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001}
"""Depth units by name; `depth_unit` may be a number of metres per step, too."""

_IMAGE_ENDINGS = ("_image", "_rgb", "_color")
_DEPTH_ENDINGS = ("_depth",)
_FORMATS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_MAX_UNKNOWN = 0.05
# A marker, as against a stuffed byte (00), a restart (D0 to D7) and padding (FF) in a scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class RGBDFile:
    """One scene of a folder, by the names of its two files."""

    scene_id: str
    image: str
    depth: str


def pair_files(names: Iterable[str]) -> list[RGBDFile]:
    """Pair image and depth files by their common stem, sorted by it.

    names: file names or paths with slashes. Files that are neither are left out; so are images
    without depth and depth without image. ValueError where two files claim one place.
    """
    found: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.suffix.lower() not in _FORMATS:
            continue
        for kind, endings in (("image", _IMAGE_ENDINGS), ("depth", _DEPTH_ENDINGS)):
            ending = next((e for e in endings if path.stem.lower().endswith(e)), None)
            if ending is None:
                continue
            scene_id = str(path.with_name(path.stem[: -len(ending)])) if path.stem != ending else ""
            files = found.setdefault(scene_id, {})
            if kind in files:
                raise ValueError(f"{files[kind]} and {name} are both the {kind} of one scene")
            files[kind] = name
    return [
        RGBDFile(scene_id, files["image"], files["depth"])
        for scene_id, files in sorted(found.items())
        if len(files) == 2
    ]


def read_rgbd(
    image_file: BinaryIO,
    depth_file: BinaryIO,
    *,
    scene_id: str,
    depth_unit: str | float = "mm",
    size: Size | None = None,
    rng: np.random.Generator | None = None,
) -> Scene:
    """Read one scene from two open files.

    depth_unit: "m", "dm", "cm", "mm", or metres per step. 0 and NaN are unknown depth: up to 5% is
    filled with the surface behind. size, rng: as for `synth.sources.fit.fit_scene`.
    Raises ValueError, with the scene's name and the reason, on anything that is not a scene.
    """
    scale = METRES_PER_UNIT.get(depth_unit) if isinstance(depth_unit, str) else float(depth_unit)
    if scale is None or not scale > 0.0:
        raise ValueError(
            f"depth_unit must be one of {', '.join(METRES_PER_UNIT)} or a positive number of "
            f"metres, got {depth_unit!r}"
        )
    image = _decode(image_file, f"scene {scene_id}: image")
    if image.ndim == 3:
        image = image[..., :3]
    depth = _decode(depth_file, f"scene {scene_id}: depth")
    if depth.ndim == 3:
        if not (depth[..., :1] == depth[..., :3]).all():
            raise ValueError(f"scene {scene_id}: depth must have one channel, got a colour picture")
        depth = depth[..., 0]
    if depth.shape != image.shape[:2]:
        raise ValueError(f"scene {scene_id}: depth is {_extent(depth)}, the image {_extent(image)}")
    depth_m = depth.astype(np.float64) * scale
    if np.isinf(depth_m).any() or (depth_m < 0.0).any():
        raise ValueError(f"scene {scene_id}: depth holds infinite or negative values")
    known = np.isfinite(depth_m) & (depth_m > 0.0)
    try:
        filled = fill_depth(depth_m, known, max_unknown=_MAX_UNKNOWN)
    except ValueError as error:
        raise ValueError(f"scene {scene_id}: {error}") from None
    try:
        picture = as_unit_float(image)
    except ValueError as error:
        raise ValueError(f"scene {scene_id}: {error}") from None
    return fit_scene(Scene(scene_id, picture, filled), size, rng)


def _decode(file: BinaryIO, where: str) -> np.ndarray:
    """A picture as it is stored: (H, W) or (H, W, 3 or 4) RGB; .npy arrays, too."""
    data = file.read()
    if not data:
        raise ValueError(f"{where} is an empty file")
    if data.startswith(b"\x93NUMPY"):
        import io

        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            raise ValueError(f"{where} is no readable array") from None
        if array.dtype.kind not in "uif" or array.ndim not in (2, 3):
            raise ValueError(f"{where} is an array {array.shape} of {array.dtype}, no picture")
        return array
    if _is_cut_off(data):
        raise ValueError(f"{where} is cut off")
    import cv2

    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:  # more pixels than it takes, or a damaged header
        raise ValueError(f"{where} is no readable picture ({_first_line(error)})") from None
    if picture is None:
        raise ValueError(f"{where} is no readable picture")
    if picture.ndim == 3:
        picture = picture[..., [2, 1, 0, *range(3, picture.shape[2])]]
    return np.ascontiguousarray(picture)


def _is_cut_off(data: bytes) -> bool:
    # OpenCV hands out half a picture, without a word, where a PNG or JPEG ends early.
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"\xff\xd8"):
        return not _has_jpeg_end(data)
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Whether a JPEG comes to its end marker; what follows (a phone's film) is no matter.

    `pipelines.dataset.images` has the same rule: neither package needs the other.
    """
    position = 2
    while (head := _MARKER.search(data, position)) is not None:
        kind, position = data[head.start() + 1], head.end()
        if kind == 0xD9:
            return True
        if kind == 0x01:  # TEM stands alone
            continue
        # A segment states its length; pictures inside it (thumbnails) are stepped over with it.
        position += int.from_bytes(data[position : position + 2], "big")
    return False


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _extent(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
