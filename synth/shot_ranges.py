"""From which ranges preset `camera` draws, and within which limits. Imports nothing heavy, so that
help can be printed from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from synth.choices import APERTURE, MEASURED, KernelFamily, check_weights

Range = tuple[float, float]

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
        "slope": (0.0, 1.0),
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
"""The least and the greatest value of a field of `ShotRanges`, by its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotRanges:
    """What is drawn for each pair, evenly from the least to the greatest but for `blur`.

    Each effect is one entry and takes the same random numbers whatever its range, so that pairs
    with one effect more or less are otherwise the same. Sources: docs/synthesis.md.
    """

    blur: Range = (0.006, 0.0115)
    """Blur radius of the most blurred part, as a share of the frame's width, drawn evenly in its
    logarithm; a hundredth of the pixels may be blurred by up to a quarter more."""
    near_share: float = 0.5
    """Share of the pairs whose focus lies towards the far end of the scene, so that most of their
    blur is that of what is nearer."""
    frame_width_px: float | None = None
    """Width of the camera's frame, 3:2, of which a pair is a part at a random place; None: a pair
    is a whole frame. What is a share of the width goes by it."""
    families: tuple[str, ...] = (APERTURE,)
    """Kernel families: aperture, those of `synth.psf`, measured."""
    weights: tuple[float, ...] | None = None
    """Chances of the families, of any sum; None: equal."""
    disparity: Range = (0.35, 0.55)
    """Distance of the views' centroids over the blur radius."""
    rim: Range = (-0.1, 0.65)
    """Light at the rim, from darker to brighter than the middle."""
    softness: Range = (0.03, 0.12)
    """Width of the rim in blur radii."""
    softness_px: Range = (0.1, 0.4)
    """Width of the rim that does not grow with blur, in pixels."""
    spherical: Range = (-0.0006, 0.0006)
    """Spherical aberration at the rim, as a share of the frame's width."""
    cat_eye: Range = (0.0, 0.5)
    """What vignetting cuts off an aperture at the corners, in radii."""
    swap: Range = (-4.5, 4.5)
    """How far the views change parts from the left to the right of the frame."""
    slope: Range = (0.0, 0.0)
    """How much the light falls over a radius of the aperture, far off the axis."""
    lateral: float = 0.0003
    """Greatest distance of red or blue from green at the corners, as a share of the width."""
    axial: float = 0.0003
    """Greatest difference in radius of red or blue from green, as a share of the width."""
    highlights: Range = (1.0, 4.0)
    """Light of what is clipped in the scene; white is 1."""
    shading: Range = (0.0, 0.03)
    """Largest excess of one view's light over the other's in the frame."""
    gain: float = 0.003
    """Greatest share by which one view is brighter and the other darker than their mean."""
    mosaic_share: float = 0.25
    """Share of the pairs that are seen through a colour filter array, and demosaiced."""
    balance: Range = (1.3, 2.2)
    """White balance of red and of blue."""
    contrast: Range = (-0.1, 0.3)
    """What the tone curve adds to sRGB's."""
    shot_noise: Range = (0.0, 0.015)
    """Standard deviation of photon noise at white."""
    read_noise: Range = (0.0, 0.002)
    """Standard deviation of noise in the dark."""
    jpeg_share: float = 0.25
    """Share of the pairs whose views were stored as JPEG; bit_depth 16 holds what was decoded."""
    jpeg_quality: Range = (85.0, 98.0)
    """Quality of those."""
    target_blur: Range = (0.0, 0.0)
    """Blur of the target, as a share of the views'."""
    target_exposure: float = 0.0
    """Greatest share by which the target is brighter or darker than the views."""
    target_noise: float = 0.0
    """Noise of the target, as a share of the views'."""
    target_shift_px: float = 0.0
    """How far the target lies off the views at most, down and to the right."""
    target_mosaic: bool = False
    """Whether the target is seen through the filters of its views, too."""
    target_jpeg: bool = False
    """Whether the target is stored as its views are, too."""
    bit_depth: int = 8
    """8 or 16."""

    def __post_init__(self) -> None:
        known = (APERTURE, MEASURED, *get_args(KernelFamily))
        if not self.families or any(name not in known for name in self.families):
            raise ValueError(
                f"kernel families {list(self.families)}: choose from {', '.join(known)}"
            )
        if self.weights is not None:
            check_weights(self.weights, len(self.families))
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, tuple):
                if not least <= value <= most:
                    raise ValueError(f"{name} must lie in [{least:g}, {most:g}], got {value:g}")
            elif not least <= value[0] <= value[1] <= most:
                raise ValueError(
                    f"{name} must be two numbers, {least:g} <= low <= high <= {most:g}, "
                    f"got {value[0]:g}, {value[1]:g}"
                )
        if self.frame_width_px is not None and not self.frame_width_px > 0.0:
            raise ValueError(f"frame_width_px must be positive, got {self.frame_width_px}")
