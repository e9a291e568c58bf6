"""What a pair of preset `camera` is taken with, and what of it is drawn at random."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from synth.camera import Camera, lens_of_blur
from synth.choices import APERTURE, MEASURED
from synth.lens import ApertureParameters, Chromatic, FrameWindow
from synth.psf import PSF_FAMILIES
from synth.scene import Scene
from synth.sensor import Exposure, Sensor, draw_shading
from synth.shot_ranges import Range, ShotRanges


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotParameters:
    """All that turns a scene into one pair, apart from the noise's random numbers."""

    camera: Camera
    """The lens and where it is focused."""
    max_coc_px: float
    """Blur radii are clipped to this."""
    family: str
    """aperture, a family of `synth.psf`, or measured, of a bank that is handed over apart."""
    aperture: Any
    """Parameters of the family; None for measured."""
    window: FrameWindow
    """Which part of the camera's frame the picture is."""
    chromatic: Chromatic
    """Aberration of red and blue."""
    brightest: float
    """Light of what the scene's picture has clipped; white is 1."""
    shading: tuple[float, ...]
    """See `synth.sensor.shading`."""
    gain: Range
    """Factors on the light of the left and the right view."""
    sensor: Sensor
    """Of both exposures."""
    views: Exposure
    """How the two views are taken."""
    target: Exposure
    """How the target is taken."""
    target_sensor: Sensor
    """What the target is read out with; its filters may be left out."""
    target_blur: float
    """Blur of the target, as a share of the views': its smaller aperture. 0: sharp everywhere."""
    target_shift_px: Range
    """How far the target lies off the views, down and to the right."""
    bit_depth: int
    """8 or 16."""

    def __post_init__(self) -> None:
        if self.family not in (APERTURE, MEASURED, *PSF_FAMILIES):
            raise ValueError(f"unknown kernel family {self.family!r}")
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, got {self.bit_depth}")
        if not self.brightest >= 1.0:
            raise ValueError(f"brightest must be 1 or more, got {self.brightest}")
        if not 0.0 <= self.target_blur < 1.0:
            raise ValueError(f"target_blur must lie in [0, 1), got {self.target_blur}")

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        return asdict(self)


_F_NUMBER = (1.4, 8.0)
_SENSOR_WIDTH_MM = 36.0
_BEYOND = 1.25
"""What the nearest and the farthest hundredth of the pixels may exceed the blur drawn by."""


def draw_shot(rng: np.random.Generator, scene: Scene, ranges: ShotRanges) -> ShotParameters:
    """Draw what suits a scene."""

    def even(ends: Range) -> float:
        return float(ends[0] + (ends[1] - ends[0]) * rng.random())

    def either_side(most: float) -> float:
        return even((-most, most))

    size = scene.depth_m.shape
    window = _draw_window(rng, (size[0], size[1]), ranges.frame_width_px)
    width_px = window.frame_px[1]
    blur = float(np.exp(even((np.log(ranges.blur[0]), np.log(ranges.blur[1])))))
    camera = _draw_camera(rng, scene.depth_m, blur, ranges.near_share, width_px)
    family = _draw_family(rng, ranges)
    aperture = ApertureParameters(
        disparity=even(ranges.disparity),
        rim=even(ranges.rim),
        softness=even(ranges.softness),
        softness_px=even(ranges.softness_px),
        spherical_px=even(ranges.spherical) * width_px,
        cat_eye=even(ranges.cat_eye),
        swap=even(ranges.swap),
    )
    lateral_px, axial_px = ranges.lateral * width_px, ranges.axial * width_px
    chromatic = Chromatic(
        lateral_px=(either_side(lateral_px), either_side(lateral_px)),
        axial_px=(either_side(axial_px), either_side(axial_px)),
    )
    share = either_side(ranges.gain)
    filtered, malvar, row, column = rng.random(4)
    demosaicing = "none"
    if filtered < ranges.mosaic_share:
        demosaicing = "malvar" if malvar < 0.5 else "bilinear"
    sensor = Sensor(
        demosaicing=demosaicing,  # type: ignore[arg-type]
        phase=(int(row < 0.5), int(column < 0.5)),
        balance=(even(ranges.balance), even(ranges.balance)),
        contrast=even(ranges.contrast),
    )
    compressed, quality = rng.random() < ranges.jpeg_share, round(even(ranges.jpeg_quality))
    views = Exposure(
        shot_noise=even(ranges.shot_noise),
        read_noise=even(ranges.read_noise),
        jpeg_quality=quality if compressed else None,
    )
    target = Exposure(
        brightness=1.0 + either_side(ranges.target_exposure),
        shot_noise=views.shot_noise * ranges.target_noise,
        read_noise=views.read_noise * ranges.target_noise,
        jpeg_quality=views.jpeg_quality if ranges.target_jpeg else None,
    )
    unfiltered = Sensor(balance=sensor.balance, contrast=sensor.contrast)
    brightest, target_blur = even(ranges.highlights), even(ranges.target_blur)
    target_shift_px = either_side(ranges.target_shift_px), either_side(ranges.target_shift_px)
    shading = draw_shading(rng, even(ranges.shading))
    # A number of its own, so that all others are those of before there was a slope.
    low, high = ranges.slope
    aperture = replace(aperture, slope=float(low + (high - low) * rng.spawn(1)[0].random()))
    # Last, as families take different counts of random numbers.
    parameters = aperture if family == APERTURE else None
    if family in PSF_FAMILIES:
        parameters = PSF_FAMILIES[family].sample(rng)
    return ShotParameters(
        camera=camera,
        max_coc_px=_BEYOND * ranges.blur[1] * width_px,
        family=family,
        aperture=parameters,
        window=window,
        chromatic=chromatic,
        brightest=brightest,
        shading=shading,
        gain=(1.0 + share, 1.0 - share),
        sensor=sensor,
        views=views,
        target=target,
        target_sensor=sensor if ranges.target_mosaic else unfiltered,
        target_blur=target_blur,
        target_shift_px=target_shift_px,
        bit_depth=ranges.bit_depth,
    )


def _draw_window(
    rng: np.random.Generator, size: tuple[int, int], frame_width_px: float | None
) -> FrameWindow:
    places = rng.random(2) * 2.0 - 1.0
    size_px = float(size[0]), float(size[1])
    if frame_width_px is None:
        return FrameWindow(frame_px=size_px, size_px=size_px)
    frame_px = max(frame_width_px / 1.5, size_px[0]), max(frame_width_px, size_px[1])
    y, x = (
        float(place) * (1.0 - part / whole)
        for place, part, whole in zip(places, size_px, frame_px, strict=True)
    )
    return FrameWindow(frame_px=frame_px, size_px=size_px, middle=(y, x))


def _draw_family(rng: np.random.Generator, ranges: ShotRanges) -> str:
    weights = np.array(ranges.weights or (1.0,) * len(ranges.families))
    place = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), side="right")
    return ranges.families[int(place)]


def _draw_camera(
    rng: np.random.Generator, depth_m: np.ndarray, blur: float, near_share: float, width_px: float
) -> Camera:
    """A lens that is focused near one end of the scene, as photographers focus on a subject."""
    side, place = rng.random(2)
    f_number = float(np.exp(rng.uniform(*np.log(_F_NUMBER))))
    beyond = 0.5 * float(place) ** 4  # share of the pixels on the other side of the focus
    nearer = 1.0 - beyond if side < near_share else beyond
    near_m, focus_m, far_m = (float(z) for z in np.quantile(depth_m, [0.01, nearer, 0.99]))
    # coc = scale * (focus / depth - 1), so the extreme is at one end of the range.
    extreme = max(focus_m / near_m - 1.0, 1.0 - focus_m / far_m)
    if extreme < 0.02:  # a scene of one depth is out of focus as a whole
        focus_m *= 1.5 if side < near_share else 0.75
        extreme = abs(focus_m / near_m - 1.0)
    return lens_of_blur(
        blur * width_px / extreme,
        focus_m,
        f_number=f_number,
        pitch_mm=_SENSOR_WIDTH_MM / width_px,
    )
