"""The least and the greatest of what preset `camera` draws. Imports nothing: help needs it."""

from collections.abc import Mapping
from types import MappingProxyType

LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "blur": (1e-5, 0.1),
        "near_share": (0.0, 1.0),
        "disparity": (0.05, 0.7),
        "rim": (-1.0, 1.0),
        "softness": (0.0, 0.4),
        "softness_px": (0.0, 8.0),
        "spherical": (-0.1, 0.1),
        "cat_eye": (0.0, 1.0),
        "swap": (-8.0, 8.0),
        "lateral": (0.0, 0.05),
        "axial": (0.0, 0.05),
        "highlights": (1.0, 1000.0),
        "shading": (0.0, 1.0),
        "gain": (0.0, 0.9),
        "mosaic_share": (0.0, 1.0),
        "balance": (1.0, 8.0),
        "contrast": (-1.0, 1.0),
        "shot_noise": (0.0, 1.0),
        "read_noise": (0.0, 1.0),
        "jpeg_share": (0.0, 1.0),
        "jpeg_quality": (1.0, 100.0),
        "target_blur": (0.0, 0.9),
        "target_exposure": (0.0, 0.9),
        "target_noise": (0.0, 100.0),
        "target_shift_px": (0.0, 16.0),
    }
)
"""By the name of the field of `synth.shot.ShotRanges`."""
