"""Bringing a picture and its depth map to a wanted size together."""

import numpy as np

from synth.scene import Scene
from synth.sources.patterns import Size, resize


def fit_scene(scene: Scene, size: Size | None, rng: np.random.Generator | None = None) -> Scene:
    """A scene of size (H, W): shrunk and cropped, never enlarged by more than the size demands.

    Without rng the whole is shrunk until it just covers the size and its middle is taken, the same
    on every call. With rng a part at a random scale between that and full size is taken, at a
    random place. The picture is averaged when it shrinks, depth is taken at the nearest pixel, as
    a mean over an edge would be a depth where nothing is.
    """
    if size is None:
        return scene
    height, width = scene.depth_m.shape
    cover = max(size[0] / height, size[1] / width)
    if rng is None or cover >= 1.0:
        scale, place = cover, np.array([0.5, 0.5])
    else:
        scale, place = float(np.exp(rng.uniform(np.log(cover), 0.0))), rng.random(2)
    part = (min(height, round(size[0] / scale)), min(width, round(size[1] / scale)))
    top, left = (
        round(float(p) * (have - want))
        for p, have, want in zip(place, (height, width), part, strict=True)
    )
    rows = _nearest(part[0], size[0]) + top
    columns = _nearest(part[1], size[1]) + left
    image = resize(scene.image[top : top + part[0], left : left + part[1]], size)
    return Scene(
        scene.scene_id,
        np.clip(image, 0.0, 1.0),
        np.ascontiguousarray(scene.depth_m[np.ix_(rows, columns)]),
    )


def _nearest(have: int, want: int) -> np.ndarray:
    return np.minimum(((np.arange(want) + 0.5) * have / want).astype(np.int64), have - 1)
