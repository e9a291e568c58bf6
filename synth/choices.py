"""What may be chosen by name: families, renderers, presets, units; and what holds where nobody
chooses. Imports nothing heavy, so that help can be printed from it."""

import math
from typing import Literal

KernelFamily = Literal["butterworth", "integral", "translating_disk"]
"""The families of `synth.psf`."""
MEASURED = "measured"
"""The kernel family of a bank of measured kernels, which is handed over."""
PUBLISHED = "published"
"""The kernel family of a published generator: `PairParameters.psf` makes the kernels."""
APERTURE = "aperture"
"""The kernel family of `synth.lens.aperture`."""

RendererName = Literal["layered", "gather", "scatter"]
Composite = Literal["over", "sum"]
Light = Literal["linear", "srgb"]
Border = Literal["symmetric", "reflect"]

PublishedName = Literal["ddd-syn", "rdpd"]
"""The presets that make a published set."""
PresetName = Literal["ddd-syn", "rdpd", "k3dn", "camera"]

MOST_COC_PX = 8.0
"""Greatest blur radius of a pair, in pixels, where nobody says another."""
LEAST_BLUR = 0.4
"""Least radius of a pair's most blurred part, as a share of the greatest, likewise."""
SHOT_NOISE, READ_NOISE = 0.012, 0.002
"""Greatest standard deviations of photon noise at white and of noise in the dark, likewise; linear
light. Preset camera has its own (`synth.shot_ranges`)."""
RECOLOUR = 0.5
"""How strongly the light and colours of real scenes change, 0 to 1, likewise."""

METRES_PER_UNIT: dict[str, float] = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001}
"""Units of depth by name; a depth unit may be a number of metres for each step, too."""


def check_weights(weights: tuple[float, ...], families: int) -> None:
    """Raise ValueError where the chances of so many kernel families do not fit them."""
    if len(weights) != families:
        raise ValueError(f"{families} kernel families take {families} weights, got {len(weights)}")
    if not all(0.0 <= weight < math.inf for weight in weights) or not sum(weights) > 0.0:
        raise ValueError(f"weights must be 0 or more and not all 0, got {list(weights)}")
