"""What may stand in for blur that is drawn: measured kernels, or a real lens."""

import math
from dataclasses import dataclass
from typing import Literal

from pipelines.config import by_content, value_text


@dataclass(frozen=True, kw_only=True, slots=True)
class BankConfig:
    """Measured kernels over the field, for the kernel family measured."""

    file: str | None = by_content(None)
    """File or URL, .npy or .npz, of an array (rows, columns, 2, k, k): left view first."""
    array: str | None = None
    """Name of the array in an .npz; none takes the only one of that form."""
    side: Literal["far", "near"] = "far"
    """Side of focus that the kernels were measured on."""
    radius_px: float | None = None
    """Blur radius that they were measured at, in pixels; none measures it on the kernels."""
    recentred: bool = False
    """Move the mean of each place's two centroids onto the point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LensConfig:
    """A lens, from which blur follows; one number, or the least and the greatest of a range."""

    focal_length_mm: list[float] | None = None
    """Focal length, e.g. 50 or 24,85; none: blur is drawn, and the lens computed from it."""
    f_number: list[float] | None = None
    """F-number, e.g. 2; none draws 1.4 to 8."""
    focus_distance_m: list[float] | None = None
    """Distance that is sharp; none draws one within the scene."""
    sensor_width_mm: float = 36.0
    """Width of the sensor, which a pair fills whole, also one that is part of a larger picture."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for key in ("focal_length_mm", "f_number", "focus_distance_m"):
            given = getattr(self, key)
            if given is not None and not (
                len(given) in (1, 2) and 0 < given[0] <= given[-1] < math.inf
            ):
                raise ValueError(
                    f"lens.{key} must be one positive number, or the least and the greatest, "
                    f"got {value_text(given)}"
                )
        if self.focal_length_mm and self.focus_distance_m:
            nearest_mm = 1e3 * self.focus_distance_m[0]
            if nearest_mm <= self.focal_length_mm[-1]:
                raise ValueError(
                    f"lens.focus_distance_m={self.focus_distance_m[0]:g} lies within the focal "
                    f"length of {self.focal_length_mm[-1]:g} mm: nothing can be in focus"
                )
        if not 0 < self.sensor_width_mm < math.inf:
            raise ValueError(f"lens.sensor_width_mm must be positive, got {self.sensor_width_mm:g}")
