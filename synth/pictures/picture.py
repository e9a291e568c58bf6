"""A decoded picture, and what every format checks of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 1 << 28
"""Larger pictures are refused before memory is taken for them: 268 megapixels."""

MIRRORED = (2, 4, 5, 7)
"""Values of Orientation that no camera writes."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture."""

    stored: NDArray[Any]
    """(H, W, C) as the file stores it, RGB; C is 1 for grey, 2 and 4 with alpha."""
    said: object = 1
    """Exif's Orientation as the file states it: some software writes 0, which means nothing."""

    @property
    def orientation(self) -> int:
        """Exif's Orientation, 1 to 8: how a viewer turns what is stored. Of nonsense 1, as viewers
        have it."""
        return int(str(self.said)) if self.said in range(1, 9) else 1

    @property
    def upright(self) -> NDArray[Any]:
        """The picture (H, W, C) as a viewer shows it."""
        return upright(self.stored, self.orientation)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror what is stored, (H, W, ...), as Exif's Orientation says."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def check_size(width: int, height: int) -> None:
    """Raise ValueError for a picture without pixels or with more than MAX_PIXELS."""
    if width <= 0 or height <= 0:
        raise ValueError(f"damaged: its header says {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels is more than is accepted")


def with_channels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W) or (H, W, C) as (H, W, C)."""
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
