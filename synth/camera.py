"""The thin-lens camera: depth in metres to a signed blur radius in pixels."""

from dataclasses import dataclass

import numpy as np

from synth.choices import LEAST_BLUR, MOST_COC_PX


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """A thin lens focused at one distance."""

    focal_length_mm: float
    """Focal length of the lens."""
    f_number: float
    """Focal length over aperture diameter."""
    focus_distance_m: float
    """Distance from the lens of the plane that is sharp."""
    pixel_pitch_um: float
    """Distance of neighbouring pixels of the stored picture on the sensor."""

    def __post_init__(self) -> None:
        for name in ("focal_length_mm", "f_number", "focus_distance_m", "pixel_pitch_um"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0.0):
                raise ValueError(f"camera.{name} must be positive, got {value}")
        if self.focus_distance_m * 1000.0 <= self.focal_length_mm:
            raise ValueError(
                f"camera.focus_distance_m = {self.focus_distance_m} lies inside the focal length "
                f"of {self.focal_length_mm} mm: nothing can be in focus"
            )

    @property
    def coc_scale_px(self) -> float:
        """Radius in pixels of a point at infinity: f^2 / (2 N (u - f) pitch)."""
        focal_m = self.focal_length_mm * 1e-3
        aperture_m = focal_m / self.f_number
        magnification = focal_m / (self.focus_distance_m - focal_m)
        return 0.5 * aperture_m * magnification / (self.pixel_pitch_um * 1e-6)

    def coc_px(self, depth_m: np.ndarray, *, max_coc_px: float | None = None) -> np.ndarray:
        """Signed radius of the blur disc in pixels: scale * (u - z) / z, near positive.

        depth_m: metres, positive, any shape. max_coc_px: clip to [-max, max] where given.
        Returns float32 of the same shape; 0 at the focus distance.
        """
        depth_m = np.asarray(depth_m, dtype=np.float64)
        if not np.isfinite(depth_m).all() or (depth_m.size and depth_m.min() <= 0.0):
            raise ValueError("depth_m must be finite and positive everywhere")
        coc_px = self.coc_scale_px * (self.focus_distance_m - depth_m) / depth_m
        if max_coc_px is not None:
            coc_px = np.clip(coc_px, -max_coc_px, max_coc_px)
        return coc_px.astype(np.float32)


FOCUS_PLACES = ((0.0, 0.15, 0.6), (0.15, 0.6, 0.25), (0.6, 1.0, 0.15))
"""Ranges of the focus in a scene and their probabilities. Places are even in the inverse of depth,
as blur is: 0 at the near end, 1 at the far end. Mostly near, as photographers focus."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraRanges:
    """Ranges to draw cameras from that suit a scene: blur is given, and the lens follows from it.

    Drawn freely, most lenses would blur a scene by nothing or by more than its width.
    """

    extreme_coc_px: tuple[float, float] = (LEAST_BLUR * MOST_COC_PX, MOST_COC_PX)
    """Blur radius of the most blurred part of the scene."""
    f_number: tuple[float, float] = (1.4, 8.0)
    """Drawn evenly in its logarithm."""
    sensor_width_mm: float = 36.0
    """Width of the sensor, which the picture's pixels share."""
    focus_places: tuple[tuple[float, float, float], ...] = FOCUS_PLACES
    """As the default says."""

    def __post_init__(self) -> None:
        for name in ("extreme_coc_px", "f_number"):
            _check_range(name, getattr(self, name))
        _check_width(self.sensor_width_mm)
        shares = [share for _, _, share in self.focus_places]
        if not np.isclose(sum(shares), 1.0) or min(shares) < 0.0:
            raise ValueError(f"cameras.focus_places: probabilities must sum to 1, got {shares}")
        for low, high, _ in self.focus_places:
            if not 0.0 <= low <= high <= 1.0:
                raise ValueError(f"cameras.focus_places must lie in [0, 1], got {low} to {high}")

    @property
    def max_coc_px(self) -> float:
        """Greatest blur radius, to which others are clipped."""
        return self.extreme_coc_px[1]

    def sample(self, rng: np.random.Generator, depth_m: np.ndarray) -> Camera:
        """Draw a camera for a scene of depth_m, (H, W) metres, positive.

        The focus lies within the depth range but for its outermost hundredths. A scene of one depth
        has no range: it then lies out of focus, which is before it.
        """
        near_m, far_m = _depth_range(depth_m)
        focus_m = _draw_focus(rng, self.focus_places, near_m, far_m)
        # coc = scale * (focus / depth - 1), so the extreme is at one end of the range.
        extreme = max(focus_m / near_m - 1.0, 1.0 - focus_m / far_m)
        if extreme < 0.02:
            focus_m *= float(rng.uniform(0.6, 0.9))
            extreme = abs(focus_m / near_m - 1.0)
        scale_px = float(rng.uniform(*self.extreme_coc_px)) / extreme
        return lens_of_blur(
            scale_px,
            focus_m,
            f_number=_draw_evenly_in_log(rng, self.f_number),
            pitch_mm=self.sensor_width_mm / depth_m.shape[1],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LensRanges:
    """Ranges to draw real lenses from, equal ends for a fixed value: the blur follows from them."""

    focal_length_mm: tuple[float, float]
    """Drawn evenly in its logarithm, as is the next."""
    f_number: tuple[float, float] = (1.4, 8.0)
    """Focal length over aperture diameter."""
    focus_distance_m: tuple[float, float] | None = None
    """Drawn evenly in its inverse; None draws it within the scene, as `FOCUS_PLACES` says."""
    sensor_width_mm: float = 36.0
    """Width of the sensor, which the picture's pixels share, be it part of a larger one or not."""
    max_coc_px: float = 8.0
    """Greatest blur radius, to which others are clipped."""

    def __post_init__(self) -> None:
        for name in ("focal_length_mm", "f_number", "focus_distance_m"):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name))
        _check_width(self.sensor_width_mm)
        if not self.max_coc_px > 0.0:
            raise ValueError(f"cameras.max_coc_px must be positive, got {self.max_coc_px}")

    def sample(self, rng: np.random.Generator, depth_m: np.ndarray) -> Camera:
        """Draw a camera for a scene of depth_m, (H, W) metres, positive.

        Raises ValueError where the focus lies within the focal length.
        """
        if self.focus_distance_m is None:
            focus_m = _draw_focus(rng, FOCUS_PLACES, *_depth_range(depth_m))
        else:
            nearest, farthest = self.focus_distance_m
            focus_m = nearest
            if nearest < farthest:
                focus_m = float(1.0 / rng.uniform(1.0 / farthest, 1.0 / nearest))
        return Camera(
            focal_length_mm=_draw_evenly_in_log(rng, self.focal_length_mm),
            f_number=_draw_evenly_in_log(rng, self.f_number),
            focus_distance_m=focus_m,
            pixel_pitch_um=self.sensor_width_mm / depth_m.shape[1] * 1e3,
        )


def lens_of_blur(scale_px: float, focus_m: float, *, f_number: float, pitch_mm: float) -> Camera:
    """The thin lens, focused at focus_m, that blurs a point at infinity by a radius of scale_px."""
    # scale = f^2 / (2 N pitch (u - f)): solved for the focal length, which is below u always.
    product_mm = 2.0 * f_number * pitch_mm * scale_px
    focal_mm = 0.5 * (np.sqrt(product_mm**2 + 4.0 * product_mm * focus_m * 1e3) - product_mm)
    return Camera(
        focal_length_mm=float(focal_mm),
        f_number=f_number,
        focus_distance_m=focus_m,
        pixel_pitch_um=pitch_mm * 1e3,
    )


def _depth_range(depth_m: np.ndarray) -> tuple[float, float]:
    near_m, far_m = (float(z) for z in np.quantile(depth_m, [0.01, 0.99]))
    return near_m, far_m


def _draw_focus(
    rng: np.random.Generator,
    places: tuple[tuple[float, float, float], ...],
    near_m: float,
    far_m: float,
) -> float:
    low, high, _ = places[int(rng.choice(len(places), p=[share for _, _, share in places]))]
    return float(1.0 / (1.0 / near_m + rng.uniform(low, high) * (1.0 / far_m - 1.0 / near_m)))


def _draw_evenly_in_log(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(ends)))) if ends[0] < ends[1] else float(ends[0])


def _check_range(name: str, ends: tuple[float, float]) -> None:
    low, high = ends
    if not 0.0 < low <= high < np.inf:
        raise ValueError(f"cameras.{name} must be 0 < low <= high, got {low}, {high}")


def _check_width(sensor_width_mm: float) -> None:
    if not 0.0 < sensor_width_mm < np.inf:
        raise ValueError(f"cameras.sensor_width_mm must be positive, got {sensor_width_mm}")
