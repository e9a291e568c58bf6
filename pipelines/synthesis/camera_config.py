"""Keys of preset ``camera``, one for each effect. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pipelines.config import value_text
from synth.shot_limits import LIMITS

if TYPE_CHECKING:  # importing synth's cameras imports torch
    from synth.shot import ShotRanges


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticsConfig:
    """The lens of preset camera; one number, or the least and the greatest of a range."""

    blur: list[float] = field(default_factory=lambda: [0.006, 0.0115])
    """Blur radius of a pair's most blurred part, as a share of the frame's width."""
    near_share: float = 0.5
    """Share of the pairs that are focused towards the far end of the scene: most blur is near."""
    frame_width: int | None = None
    """Width in pixels of the 3:2 frame that a pair is a part of; none: a pair is a frame."""
    disparity: list[float] = field(default_factory=lambda: [0.35, 0.55])
    """Distance of the two views' centroids over the blur radius."""
    rim: list[float] = field(default_factory=lambda: [-0.1, 0.65])
    """Light at the rim of a blur disc: below 0 darker, above 0 brighter than in the middle."""
    softness: list[float] = field(default_factory=lambda: [0.03, 0.12])
    """Width of the rim, in blur radii."""
    softness_px: list[float] = field(default_factory=lambda: [0.1, 0.4])
    """Width of the rim that does not grow with blur, in pixels."""
    spherical: list[float] = field(default_factory=lambda: [-0.0006, 0.0006])
    """Spherical aberration, which makes near and far blur unlike, as a share of the width."""
    cat_eye: list[float] = field(default_factory=lambda: [0.0, 0.5])
    """What the lens's barrel cuts off blur discs in the corners, in blur radii."""
    swap: list[float] = field(default_factory=lambda: [-4.5, 4.5])
    """How far the views change parts from the left to the right of the frame; 0: not at all."""
    lateral: float = 0.0003
    """Largest shift of red or blue at the corners, as a share of the width."""
    axial: float = 0.0003
    """Largest difference in blur radius of red or blue, as a share of the width."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _check("optics", self, _OPTICS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorConfig:
    """The sensor of preset camera; one number, or the least and the greatest of a range."""

    highlights: list[float] = field(default_factory=lambda: [1.0, 4.0])
    """Light of what the scene's picture clips, which blooms; white is 1."""
    shading: list[float] = field(default_factory=lambda: [0.0, 0.03])
    """Smooth shading between the views over the frame, at its strongest."""
    mosaic_share: float = 0.25
    """Share of the pairs that are seen through a colour mosaic, and demosaiced."""
    balance: list[float] = field(default_factory=lambda: [1.3, 2.2])
    """White balance: factors on red and on blue, whose noise grows by them."""
    contrast: list[float] = field(default_factory=lambda: [-0.1, 0.3])
    """What the tone curve adds to sRGB's; 0 is sRGB."""
    jpeg_share: float = 0.25
    """Share of the pairs whose views were stored as JPEG."""
    jpeg_quality: list[float] = field(default_factory=lambda: [85.0, 98.0])
    """JPEG quality of those, 1 to 100."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _check("sensor", self, _SENSOR)


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """What makes the target of preset camera worse than the scene: all off unless given."""

    blur: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Its own blur, of a small aperture, as a share of the views'; e.g. 0.1,0.25."""
    exposure: float = 0.0
    """Largest share by which it is brighter or darker than the views."""
    noise: float = 0.0
    """Its noise, as a share of the views'."""
    shift_px: float = 0.0
    """How far it lies off the views at most, in pixels."""
    mosaic: bool = False
    """See it through the mosaic of its views, too."""
    jpeg: bool = False
    """Store it as its views are, too."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _check("target", self, _TARGET)


_OPTICS = {field.name: LIMITS[field.name] for field in fields(OpticsConfig) if field.name in LIMITS}
_OPTICS["frame_width"] = (16.0, 65536.0)
_SENSOR = {field.name: LIMITS[field.name] for field in fields(SensorConfig)}
_TARGET = {name: LIMITS[f"target_{name}"] for name in ("blur", "exposure", "noise", "shift_px")}
"""The least and the greatest value of each key."""


def _check(group: str, values: Any, limits: Mapping[str, tuple[float, float]]) -> None:
    for key, (least, most) in limits.items():
        value = getattr(values, key)
        if value is None:
            continue
        ends = value if isinstance(value, list) else [value]
        if not (ends and len(ends) <= 2 and least <= ends[0] <= ends[-1] <= most):
            form = "one number, or the least and the greatest, " * isinstance(value, list)
            raise ValueError(
                f"{group}.{key} is {form}from {least:g} to {most:g}, not {value_text(value)}"
            )


def shot_ranges(
    optics: OpticsConfig, sensor: SensorConfig, target: TargetConfig, **others: Any
) -> "ShotRanges":
    """Return what is drawn for the pairs of preset camera.

    others: families and weights, bit_depth, gain, and the greatest shot_noise and read_noise; what
    is left out is as the preset has it.
    """
    from synth.shot import ShotRanges

    def ends(given: list[float]) -> tuple[float, float]:
        return given[0], given[-1]

    for noise in ("shot_noise", "read_noise"):
        if noise in others:
            others[noise] = (0.0, others[noise])
    return ShotRanges(
        blur=ends(optics.blur),
        near_share=optics.near_share,
        frame_width_px=None if optics.frame_width is None else float(optics.frame_width),
        disparity=ends(optics.disparity),
        rim=ends(optics.rim),
        softness=ends(optics.softness),
        softness_px=ends(optics.softness_px),
        spherical=ends(optics.spherical),
        cat_eye=ends(optics.cat_eye),
        swap=ends(optics.swap),
        lateral=optics.lateral,
        axial=optics.axial,
        highlights=ends(sensor.highlights),
        shading=ends(sensor.shading),
        mosaic_share=sensor.mosaic_share,
        balance=ends(sensor.balance),
        contrast=ends(sensor.contrast),
        jpeg_share=sensor.jpeg_share,
        jpeg_quality=ends(sensor.jpeg_quality),
        target_blur=ends(target.blur),
        target_exposure=target.exposure,
        target_noise=target.noise,
        target_shift_px=target.shift_px,
        target_mosaic=target.mosaic,
        target_jpeg=target.jpeg,
        **others,
    )
