"""Pictures as linear light, in which blur and noise are what they are."""

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import Pixels

Floats = NDArray[np.float32]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear sRGB, IEC 61966-2-1


def to_srgb(picture: Pixels) -> Floats:
    """Return stored values (H, W, 3), uint8 or uint16, as sRGB-encoded float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def to_light(picture: Pixels) -> Floats:
    """Return stored values (H, W, 3), uint8 or uint16 sRGB, as linear light in [0, 1]."""
    levels = np.arange(np.iinfo(picture.dtype).max + 1) / np.iinfo(picture.dtype).max
    table = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return np.asarray(table.astype(np.float32)[picture])


def luminance(light: Floats) -> Floats:
    """Return the luminance (H, W) of linear light (H, W, 3), white is 1."""
    return np.asarray(light @ _LUMINANCE)
