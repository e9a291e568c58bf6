"""The circle-of-confusion models of the published generators, by name.

Neither is the thin lens of `synth.camera`: RDPD's units are nominal and its radii whole numbers,
DDD-syn's focus depends on the picture. Both stand where a `Camera` stands, as far as `coc_px` goes,
and speak our sign there: nearer than focus is positive.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RDPD_MAX_COC_PX = 40
RDPD_MAX_DEPTH_M = 250.0
RDPD_DEPTH_BINS = 2000
_RDPD_BIN_M = RDPD_MAX_DEPTH_M / RDPD_DEPTH_BINS


class DepthLayer(NamedTuple):
    """A range of depths that one kernel of RDPD renders."""

    coc_px: int
    """Whole radius, near positive; the generator's own tables have the opposite sign."""
    near_m: float
    """The layer begins here, inclusive."""
    far_m: float
    """The layer ends here, exclusive; the last one 0.1 m beyond the greatest depth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RdpdCamera:
    """A camera of Abuolaim et al. (ICCV 2021, RDPD): three small numbers, taken as they stand.

    The generator's comments call all three millimetres and compare the focus distance with metres;
    so the units are nominal, and the result is the radius in pixels (its kernels are 2 r + 1 wide).
    """

    name: str
    """set_0 to set_4."""
    focal_length: float
    """F, nominal."""
    f_number: float
    """N."""
    focus_distance_m: float
    """u, the depth that is sharp; F is taken as if in metres, too."""
    radial_distortion: tuple[float, float, float, float]
    """A, B, C, D of r_src = r (A r^3 + B r^2 + C r + D), r over half the shorter side. The
    generator leaves the step out unless it is asked for; no reference array covers it."""

    @property
    def coc_scale_px(self) -> float:
        """Radius in pixels of a point at infinity, unrounded: v (F / N) / u, v = F u / (u - F)."""
        sensor = self.focal_length * self.focus_distance_m
        sensor /= self.focus_distance_m - self.focal_length
        return sensor * (self.focal_length / self.f_number) / self.focus_distance_m

    def bin_coc_px(self) -> np.ndarray:
        """Radius of each of the 2000 bins of 0.125 m, at its middle: (2000,) int64, near positive.

        -round(scale (z - u) / z), half to even, clipped to +-40. The bins nearer than focus jump:
        40, 28, 21, 17, ... for set_0, which is the generator's, too.
        """
        middle_m = (np.arange(RDPD_DEPTH_BINS) + 0.5) * _RDPD_BIN_M
        size = np.rint(self.coc_scale_px * (middle_m - self.focus_distance_m) / middle_m)
        return -np.clip(size, -RDPD_MAX_COC_PX, RDPD_MAX_COC_PX).astype(np.int64)

    def layers(self) -> tuple[DepthLayer, ...]:
        """Bins of equal radius merged, nearest first."""
        coc_px = self.bin_coc_px()
        starts = np.flatnonzero(np.diff(coc_px, prepend=coc_px[0] + 1))
        edges_m = [*(starts * _RDPD_BIN_M), RDPD_MAX_DEPTH_M + 0.1]
        return tuple(
            DepthLayer(int(coc_px[start]), float(near), float(far))
            for start, near, far in zip(starts, edges_m[:-1], edges_m[1:], strict=True)
        )

    def coc_px(self, depth_m: np.ndarray, *, max_coc_px: float | None = None) -> np.ndarray:
        """Whole radius of the layer that a depth lies in, near positive; float32, any shape.

        depth_m: metres, 0 or more; beyond 250 m is taken as 250. Where 0 comes out the published
        kernels still blur by one pixel. Raises ValueError for negative or infinite depth.
        """
        depth_m = np.asarray(depth_m, dtype=np.float64)
        if depth_m.size and not (depth_m.min() >= 0.0 and depth_m.max() < np.inf):
            raise ValueError("depth_m must be finite and not negative anywhere")
        bins = np.minimum(depth_m / _RDPD_BIN_M, RDPD_DEPTH_BINS - 1).astype(np.intp)
        coc_px = self.bin_coc_px()
        if max_coc_px is not None:
            coc_px = np.clip(coc_px, -max_coc_px, max_coc_px)
        return np.asarray(coc_px.astype(np.float32)[bins])


@dataclass(frozen=True, kw_only=True, slots=True)
class DddSynCamera:
    """A configuration of Pan et al. (CVPR 2021, DDD-syn), whose focus depends on the picture.

    The sensor lies a fixed distance before the image of the farthest point of each picture, so that
    all blur is of one sign, nearer than focus, and the same scene is blurred otherwise when one far
    pixel is cropped away.
    """

    name: str
    """idx0 to idx4 (training), testing, testing1, demo."""
    focal_length_m: float
    """f."""
    focal_length_px: float
    """f_pix; the pixel pitch is f / f_pix."""
    aperture_px: float
    """Diameter of the aperture, in pixels."""
    sensor_offset_px: float
    """Fd: how far before the image of the farthest point the sensor stands."""
    depth_divisor: float
    """`scaled`: depths are divided by it first."""
    crop_px: int
    """Rows and columns crop to (size - crop), counted from 1 and both included, are kept before
    the pictures are resized."""

    def disparity_px(self, depth_m: np.ndarray) -> np.ndarray:
        """The generator's disparity (d - F) / d * aperture / 2, float64, same shape, above 0.

        d: distance of the image of each point behind the lens, in pixels. F = min(d) - Fd over the
        array given: pass the whole picture. Raises ValueError for depths within the focal length.
        """
        depth_m = np.asarray(depth_m, dtype=np.float64)
        least_m = self.focal_length_m * self.depth_divisor
        if not depth_m.size or not np.isfinite(depth_m).all() or depth_m.min() <= least_m:
            raise ValueError(
                f"depth_m must be finite and above {least_m:g} m everywhere for camera {self.name}"
            )
        depth_px = depth_m / self.depth_divisor / (self.focal_length_m / self.focal_length_px)
        image_px = self.focal_length_px * depth_px / (depth_px - self.focal_length_px)
        sensor_px = image_px.min() - self.sensor_offset_px
        return np.asarray((image_px - sensor_px) / image_px * self.aperture_px / 2.0)

    def crop(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns that are kept of a picture before it is resized."""
        first = self.crop_px - 1
        return slice(first, height - self.crop_px), slice(first, width - self.crop_px)

    def window_px(self, depth_m: np.ndarray) -> np.ndarray:
        """Side k = max(1, floor(disparity)) of the window a pixel is spread over; int64."""
        return window_of(self.disparity_px(depth_m))

    def coc_px(self, depth_m: np.ndarray, *, max_coc_px: float | None = None) -> np.ndarray:
        """The disparity as a blur radius: float32, same shape, all near and so positive.

        The window of our family `integral` is one radius wide, so the radius is the disparity
        itself; the published window is that without its fraction.
        """
        coc_px = self.disparity_px(depth_m)
        if max_coc_px is not None:
            coc_px = np.minimum(coc_px, max_coc_px)
        return coc_px.astype(np.float32)


def window_of(disparity_px: np.ndarray) -> np.ndarray:
    """The whole window side max(1, floor(disparity)) of DDD-syn; int64, same shape."""
    return np.maximum(np.floor(disparity_px), 1.0).astype(np.int64)


def _rdpd(
    name: str, values: tuple[float, float, float], distortion: tuple[float, float, float, float]
) -> RdpdCamera:
    focal_length, f_number, focus_distance_m = values
    return RdpdCamera(
        name=name,
        focal_length=focal_length,
        f_number=f_number,
        focus_distance_m=focus_distance_m,
        radial_distortion=distortion,
    )


RDPD_CAMERAS: dict[str, RdpdCamera] = {
    camera.name: camera
    for camera in (
        _rdpd("set_0", (4, 6, 5), (0.01, 0.0028, 0.0028, 0.9)),
        _rdpd("set_1", (5, 8, 6), (0.008, 0.002, 0.002, 0.92)),
        _rdpd("set_2", (7, 5, 8), (-0.0055, -0.0013, -0.0013, 1.009)),
        _rdpd("set_3", (10, 13, 12), (-0.007, -0.0036, -0.0036, 1.015)),
        _rdpd("set_4", (22, 10, 30), (-0.008, -0.005, -0.005, 1.015)),
    )
}
"""RDPD's five cameras."""


def _ddd(name: str, values: tuple[float, float, float, float, float, int]) -> DddSynCamera:
    focal_m, focal_px, aperture_px, offset_px, divisor, crop_px = values
    return DddSynCamera(
        name=name,
        focal_length_m=focal_m,
        focal_length_px=focal_px,
        aperture_px=aperture_px,
        sensor_offset_px=offset_px,
        depth_divisor=divisor,
        crop_px=crop_px,
    )


DDD_SYN_CAMERAS: dict[str, DddSynCamera] = {
    camera.name: camera
    for camera in (
        _ddd("idx0", (0.006, 3000, 500, 10, 4, 15)),
        _ddd("idx1", (0.004, 2000, 1000, 12, 4, 15)),
        _ddd("idx2", (0.008, 3000, 1500, 6, 3, 20)),
        _ddd("idx3", (0.035, 3000, 600, 6, 0.5, 20)),
        _ddd("idx4", (0.035, 3000, 1500, 7, 1, 20)),
        _ddd("testing", (0.030, 3000, 1500, 7, 0.2, 20)),
        _ddd("testing1", (0.030, 3000, 1500, 11, 0.8, 20)),
        _ddd("demo", (0.035, 3000, 1500, 5, 0.2, 20)),
    )
}
"""DDD-syn's eight configurations."""

PUBLISHED_CAMERAS: dict[str, RdpdCamera | DddSynCamera] = {
    **{f"rdpd/{name}": camera for name, camera in RDPD_CAMERAS.items()},
    **{f"ddd-syn/{name}": camera for name, camera in DDD_SYN_CAMERAS.items()},
}
"""Every published camera, as <set>/<name>."""
