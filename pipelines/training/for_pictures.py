"""Settings that weights for pictures are trained with, in whatever way: docs/quality.md."""

from collections.abc import Mapping
from types import MappingProxyType

GRAD_CLIP = 0.5
EMA = 0.999
RECOLOUR = 0.2
SAME_VIEWS = 0.08
NOISE = 0.03
EXCHANGE_VIEWS = 0.3
LENS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "disparity": (0.15, 0.55),
        "rim": (-0.2, 0.65),
        "softness": (0.03, 0.25),
        "slope": (0.0, 0.9),
    }
)
"""Ranges of preset camera's lens that differ from its defaults: as wide as any lens seen."""
