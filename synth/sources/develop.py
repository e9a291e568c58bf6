"""From the samples of a ray-cast scene to its picture and depth."""

import numpy as np

from synth.color import linear_to_srgb
from synth.scene import Scene
from synth.sources.raycast import SAMPLES, Hits


def develop(scene_id: str, light: np.ndarray, hits: Hits, *, exposure: float = 1.0) -> Scene:
    """Average the light of a pixel's samples, and take the depth of what covers half of it.

    light: linear (H S, W S, 3). The depth of a pixel is that of the nearest surface that, with what
    is before it, covers at least half of its samples: the mean inverse depth of its samples, which
    on a plane is that of the pixel's centre. Every sample must have hit something.
    """
    dioptres, solid = _by_pixel(hits.dioptres), _by_pixel(hits.solid)
    order = np.argsort(-dioptres, axis=-1, kind="stable")
    half = order[..., (dioptres.shape[-1] + 1) // 2 - 1, None]
    owner = np.take_along_axis(solid, half, axis=-1) == solid
    mean = (dioptres * owner).sum(axis=-1) / owner.sum(axis=-1)
    pixels = _by_pixel(light).mean(axis=-1) * np.float32(exposure)
    image = linear_to_srgb(pixels)
    return Scene(scene_id, image, (1.0 / mean).astype(np.float32))


def _by_pixel(samples: np.ndarray) -> np.ndarray:
    """(H S, W S, ...) to (H, W, ..., S S)."""
    height, width = (n // SAMPLES for n in samples.shape[:2])
    apart = samples.reshape(height, SAMPLES, width, SAMPLES, *samples.shape[2:])
    return np.moveaxis(apart, (1, 3), (-2, -1)).reshape(
        height, width, *samples.shape[2:], SAMPLES * SAMPLES
    )
