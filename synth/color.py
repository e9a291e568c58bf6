"""sRGB and linear light (IEC 61966-2-1). Blur happens in linear light, pictures are stored in sRGB.

Names say which is which: `srgb_` is gamma-encoded, `linear_` is proportional to light.
"""

import numpy as np


def srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    """Decode sRGB values in [0, 1] to linear light in [0, 1]; keeps float32 and float64."""
    srgb = np.clip(srgb, 0.0, 1.0)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(
        srgb.dtype
    )


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Encode linear light as sRGB in [0, 1]; what is brighter than white is clipped."""
    linear = np.clip(linear, 0.0, 1.0)
    curve = 1.055 * np.maximum(linear, 1e-8) ** (1.0 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, curve).astype(linear.dtype)


def quantize(srgb: np.ndarray, bit_depth: int) -> np.ndarray:
    """Round values in [0, 1] to uint8 or uint16; bit_depth is 8 or 16."""
    if bit_depth not in (8, 16):
        raise ValueError(f"bit_depth must be 8 or 16, got {bit_depth}")
    white = float(2**bit_depth - 1)
    levels = np.rint(np.clip(srgb.astype(np.float64), 0.0, 1.0) * white)
    return levels.astype(np.uint8 if bit_depth == 8 else np.uint16)
