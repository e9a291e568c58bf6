"""A scene from a picture and measured depth, with everything that can be wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from synth.scene import Scene
from synth.sources.fit import fit_scene
from synth.sources.holes import fill_depth
from synth.sources.patterns import Size
from synth.sources.textures import as_unit_float

_MAX_UNKNOWN = 0.05


class BadDepth(ValueError):
    """What makes a scene unusable is its depth, not its picture."""


@contextmanager
def faults_of_depth() -> Iterator[None]:
    """Make the ValueErrors of a block BadDepth."""
    try:
        yield
    except ValueError as error:
        raise BadDepth(str(error)) from error


@dataclass(frozen=True, slots=True)
class LonelyFile:
    """A picture without its depth, or depth without its picture."""

    scene_id: str
    name: str
    """Of the file that is there."""
    missing: str
    """What is not: image or depth."""


def rgbd_scene(
    scene_id: str,
    image: np.ndarray,
    depth_m: np.ndarray,
    *,
    where: str,
    size: Size | None = None,
    rng: np.random.Generator | None = None,
) -> Scene:
    """Check a picture and its depth, fill a few holes and fit both to a size.

    image: (H, W) or (H, W, 3 or 4), uint8, uint16 or floats in [0, 1], sRGB. depth_m: (H, W) in
    metres, 0 and NaN are unknown: up to 5% is filled with the surface behind. where: what the
    messages call it. size, rng: as for `synth.sources.fit.fit_scene`.
    Raises ValueError, beginning with where, on anything that is not a scene; BadDepth where that is
    the depth's fault.
    """
    try:
        picture = as_unit_float(image)
        with faults_of_depth():
            if depth_m.shape != image.shape[:2]:
                raise ValueError(f"depth is {_extent(depth_m)}, the image {_extent(image)}")
            if np.isinf(depth_m).any() or (depth_m < 0.0).any():
                raise ValueError("depth holds infinite or negative values")
            known = np.isfinite(depth_m) & (depth_m > 0.0)
            filled = fill_depth(depth_m, known, max_unknown=_MAX_UNKNOWN)
    except ValueError as error:
        raise type(error)(f"{where}: {error}") from None
    return fit_scene(Scene(scene_id, picture, filled), size, rng)


def _extent(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
