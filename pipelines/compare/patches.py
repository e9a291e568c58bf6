"""The places of a picture that can be measured: with texture, and neither black nor clipped."""

import numpy as np
from numpy.typing import NDArray

from pipelines.compare.blur import INNER_PX, MARGIN_PX, SIDE_PX
from pipelines.compare.light import Floats

WIDEST_PX = 1200
"""Wider pictures are averaged down for the fit, whose patches have one size in pixels."""
_CLIPPED, _MOST_CLIPPED = 0.98, 0.02
_LEAST_TEXTURE = 0.004


def bin_factor(width: int) -> int:
    """Return by how much pictures of a width are averaged down."""
    return -(-width // WIDEST_PX)


def binned(picture: Floats, factor: int) -> Floats:
    """Return means over factor x factor pixels of (H, W); an incomplete rest is cut off."""
    height, width = (side // factor * factor for side in picture.shape)
    blocks = picture[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean((1, 3)))


def textured(target: Floats, left: Floats, right: Floats) -> NDArray[np.int64]:
    """Return corners (N, 2), y and x, of patches whose middles hold texture and do not overlap.

    target, left, right: (H, W) luminance. Texture is the root mean square step from pixel to pixel
    of the target, along rows and along columns, over the patch's mean light.
    """
    height, width = target.shape
    corners = [
        (y, x)
        for y in _starts(height)
        for x in _starts(width)
        if _usable(
            *(picture[y : y + SIDE_PX, x : x + SIDE_PX] for picture in (target, left, right))
        )
    ]
    return np.array(corners, np.int64).reshape(-1, 2)


def _starts(length: int) -> list[int]:
    """Starts of patches along a side, their middles next to each other and centred."""
    spare = length - SIDE_PX
    return [] if spare < 0 else list(range(spare % INNER_PX // 2, spare + 1, INNER_PX))


def _usable(target: Floats, left: Floats, right: Floats) -> bool:
    if max(float((picture > _CLIPPED).mean()) for picture in (target, left, right)) > _MOST_CLIPPED:
        return False
    middle = target[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    steps = [float(np.sqrt(np.square(np.diff(middle, axis=axis)).mean())) for axis in (0, 1)]
    return min(steps) > _LEAST_TEXTURE + 0.05 * float(middle.mean())
