"""Keys of preset ``camera``, one for each effect. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pipelines.config import value_text
from synth.choices import check_weights
from synth.shot_ranges import LIMITS, ShotRanges

_DRAWN = ShotRanges()
"""Has the defaults."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticsConfig:
    """The lens of preset camera; one number, or the least and the greatest of a range."""

    blur: list[float] = field(default_factory=lambda: list(_DRAWN.blur))
    """Blur radius of a pair's most blurred part, as a share of the frame's width."""
    near_share: float = _DRAWN.near_share
    """Share of the pairs that are focused towards the far end of the scene: most blur is near."""
    frame_width: int | None = None
    """Width in pixels of the 3:2 frame that a pair is a part of; none: a pair is a frame."""
    disparity: list[float] = field(default_factory=lambda: list(_DRAWN.disparity))
    """Distance of the two views' centroids over the blur radius."""
    rim: list[float] = field(default_factory=lambda: list(_DRAWN.rim))
    """Light at the rim of a blur disc: below 0 darker, above 0 brighter than in the middle."""
    softness: list[float] = field(default_factory=lambda: list(_DRAWN.softness))
    """Width of the rim, in blur radii."""
    softness_px: list[float] = field(default_factory=lambda: list(_DRAWN.softness_px))
    """Width of the rim that does not grow with blur, in pixels."""
    spherical: list[float] = field(default_factory=lambda: list(_DRAWN.spherical))
    """Spherical aberration, which makes near and far blur unlike, as a share of the width."""
    cat_eye: list[float] = field(default_factory=lambda: list(_DRAWN.cat_eye))
    """What the lens's barrel cuts off blur discs in the corners, in blur radii."""
    swap: list[float] = field(default_factory=lambda: list(_DRAWN.swap))
    """How far the views change parts from the left to the right of the frame; 0: not at all."""
    slope: list[float] = field(default_factory=lambda: list(_DRAWN.slope))
    """How much the light falls over a radius of the aperture, far off the axis; at most 1."""
    lateral: float = _DRAWN.lateral
    """Largest shift of red or blue at the corners, as a share of the width."""
    axial: float = _DRAWN.axial
    """Largest difference in blur radius of red or blue, as a share of the width."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _check("optics", self, _OPTICS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorConfig:
    """The sensor of preset camera; one number, or the least and the greatest of a range."""

    highlights: list[float] = field(default_factory=lambda: list(_DRAWN.highlights))
    """Light of what the scene's picture clips, which blooms; white is 1."""
    shading: list[float] = field(default_factory=lambda: list(_DRAWN.shading))
    """Smooth shading between the views over the frame, at its strongest."""
    mosaic_share: float = _DRAWN.mosaic_share
    """Share of the pairs that are seen through a colour mosaic, and demosaiced."""
    balance: list[float] = field(default_factory=lambda: list(_DRAWN.balance))
    """White balance: factors on red and on blue, whose noise grows by them."""
    contrast: list[float] = field(default_factory=lambda: list(_DRAWN.contrast))
    """What the tone curve adds to sRGB's; 0 is sRGB."""
    jpeg_share: float = _DRAWN.jpeg_share
    """Share of the pairs whose views were stored as JPEG."""
    jpeg_quality: list[float] = field(default_factory=lambda: list(_DRAWN.jpeg_quality))
    """JPEG quality of those, 1 to 100."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _check("sensor", self, _SENSOR)


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """What makes the target of preset camera worse than the scene: all off unless given."""

    blur: list[float] = field(default_factory=lambda: list(_DRAWN.target_blur))
    """Its own blur, of a small aperture, as a share of the views'; e.g. 0.1,0.25."""
    exposure: float = _DRAWN.target_exposure
    """Largest share by which it is brighter or darker than the views."""
    noise: float = _DRAWN.target_noise
    """Its noise, as a share of the views'."""
    shift_px: float = _DRAWN.target_shift_px
    """How far it lies off the views at most, in pixels."""
    mosaic: bool = _DRAWN.target_mosaic
    """Pass it through the mosaic of its views, too."""
    jpeg: bool = _DRAWN.target_jpeg
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
                f"{group}.{key} must be {form}from {least:g} to {most:g}, got {value_text(value)}"
            )


def check_kernel_weights(kernels: list[str], weights: list[float] | None, group: str = "") -> None:
    """Refuse chances that do not fit their kernel families. Raises ValueError, keys with group."""
    if weights is None:
        return
    try:
        check_weights(tuple(weights), len(kernels))
    except ValueError as error:
        raise ValueError(
            f"{group}kernel_weights={value_text(weights)} does not fit "
            f"{group}kernels={value_text(kernels)}, give both: {error}"
        ) from error


def shot_ranges(
    optics: OpticsConfig, sensor: SensorConfig, target: TargetConfig, **others: Any
) -> ShotRanges:
    """Return what is drawn for the pairs of preset camera.

    others: families and weights, bit_depth, gain, and the greatest shot_noise and read_noise; what
    is left out is as the preset has it.
    """

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
        slope=ends(optics.slope),
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
