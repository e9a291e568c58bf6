"""Folders of RGB-D scenes: `NAME_image.EXT` beside `NAME_depth.EXT`.

Only names and open file objects come in here: where they are stored is the caller's matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from synth.choices import METRES_PER_UNIT
from synth.scene import Scene
from synth.sources.decode import decode_picture
from synth.sources.patterns import Size
from synth.sources.rgbd import LonelyFile, faults_of_depth, rgbd_scene

_NEAREST_M = (1e-2, 200.0)  # where scenes begin; elsewhere depth has another unit than said
_IMAGE_ENDINGS = ("_image", "_rgb", "_color")
_DEPTH_ENDINGS = ("_depth",)
_FORMATS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")


@dataclass(frozen=True, slots=True)
class RGBDFile:
    """One scene of a folder, by the names of its two files."""

    scene_id: str
    image: str
    depth: str


def pair_files(names: Iterable[str]) -> tuple[list[RGBDFile], list[LonelyFile]]:
    """Pair image and depth files by their common stem; what has no partner comes second.

    names: file names or paths with slashes. Files that are neither are left out. Both lists are
    sorted by the stem. ValueError where two files claim one place.
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
    pairs, lonely = [], []
    for scene_id, files in sorted(found.items()):
        if len(files) == 2:
            pairs.append(RGBDFile(scene_id, files["image"], files["depth"]))
            continue
        ((kind, name),) = files.items()
        lonely.append(LonelyFile(scene_id, name, "depth" if kind == "image" else "image"))
    return pairs, lonely


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
    Raises ValueError, with the scene's name and the reason, on anything that is not a scene;
    `synth.sources.rgbd.BadDepth` where that is the depth's fault.
    """
    scale = METRES_PER_UNIT.get(depth_unit) if isinstance(depth_unit, str) else float(depth_unit)
    if scale is None or not scale > 0.0:
        raise ValueError(
            f"depth_unit must be one of {', '.join(METRES_PER_UNIT)} or a positive number of "
            f"metres, got {depth_unit!r}"
        )
    image = decode_picture(image_file, f"scene {scene_id}: image")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] == 2 else image[..., :3]
    where = f"scene {scene_id}"
    with faults_of_depth():
        depth = decode_picture(depth_file, f"{where}: depth", colour=False)
        if depth.ndim == 3:
            if not (depth[..., :1] == depth[..., :3]).all():
                raise ValueError(f"{where}: depth must have one channel, got a colour picture")
            depth = depth[..., 0]
        depth_m = depth.astype(np.float64) * scale
        _check_unit(depth_m, where)
    return rgbd_scene(scene_id, image, depth_m, where=where, size=size, rng=rng)


def _check_unit(depth_m: np.ndarray, where: str) -> None:
    """Raise ValueError where the nearest hundredth of a scene is at no distance that is one."""
    known = depth_m[np.isfinite(depth_m) & (depth_m > 0.0)]
    nearest_m = float(np.quantile(known, 0.01)) if known.size else _NEAREST_M[0]
    if not _NEAREST_M[0] <= nearest_m <= _NEAREST_M[1]:
        raise ValueError(
            f"{where}: depth begins at {nearest_m:.3g} m and goes to {known.max():.3g} m: has it "
            "another unit (depth_unit)?"
        )
