"""The thin-lens camera: depth in metres to a signed blur radius in pixels."""

from dataclasses import dataclass

import numpy as np


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
