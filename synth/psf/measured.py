"""Measured kernels over the field: any camera's own calibration, given as an array.

A calibration is one pair of kernels for each of rows x columns places of the picture, at one
defocus. The blur of a point scales with its defocus: another radius has the same kernels with their
support scaled, and the other side of focus, where the rays have crossed, the kernels turned about
their centre. None of the model families' symmetries hold: the views are not mirror images, vary
over the field, and their mean need not lie on the pixel.

A bank knows its places and no others: a renderer takes the nearest one or blends between them.
"""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np

from synth.psf.family import KernelPair, pixel_shares

SIDES = ("near", "far")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredBank:
    """Measured kernel pairs on a grid of places. Satisfies `FieldPsf`."""

    kernels: np.ndarray
    """float64 (rows, columns, 2, k, k): left, right; pictures of a point (convolution), sum 1."""
    coc_px: float
    """Signed blur radius at which they were measured, near positive; one for the whole field, so
    that what varies of the blur's size over the field is kept."""
    centre_px: np.ndarray
    """float64 (rows, columns, 2): x and y, from the middle pixel, of the place of a kernel that
    stands for the point itself. 0 leaves kernels as measured; otherwise see `recentred`."""

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the places."""
        return self.kernels.shape[0], self.kernels.shape[1]

    def psf_at(self, row: int, column: int) -> Callable[[float], KernelPair]:
        """The kernels of one place as a function of the signed blur radius, near positive.

        It returns (K_L, K_R), float64, of one odd side, each sums to 1: the measured light, even
        over each measured pixel, scaled by radius over measured radius, turned about on the other
        side of focus, and gathered with a tent two pixels wide as the model families are. So
        kernels change without jumps, shift in proportion to the radius and are a unit impulse in
        focus; at the measured radius they are the measured ones but for a blur by 1/4 px^2.
        Raises ValueError for a place outside the grid, and the function for a radius not finite.
        """
        rows, columns = self.grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(f"place ({row}, {column}) lies outside the bank's {rows} x {columns}")
        return partial(
            scale_kernels, self.kernels[row, column], self.centre_px[row, column], self.coc_px
        )

    def recentred(self) -> "MeasuredBank":
        """The same bank with the mean of each pair's centroids moved onto the point.

        A choice: a measured pair is off the point, most at the picture's corners, by what the
        calibration could not tell from distortion, and the sharp target does not move with it.
        Only the common part goes; disparity and shape stay. In focus nothing moves.
        """
        return MeasuredBank(self.kernels, self.coc_px, centroid_px(self.kernels.mean(axis=2)))


def scale_kernels(
    pair: np.ndarray, centre_px: np.ndarray, measured_coc_px: float, coc_px: float
) -> KernelPair:
    """Kernels (2, k, k) measured at one signed radius, as they are at another; see `psf_at`."""
    if not np.isfinite(coc_px):
        raise ValueError(f"coc_px must be finite, got {coc_px}")
    scale = float(coc_px) / measured_coc_px
    x, y = centre_px
    if scale < 0.0:
        pair, x, y = pair[:, ::-1, ::-1], -x, -y
    side = pair.shape[-1]
    edges = np.arange(side + 1) - side / 2.0
    across_px, down_px = abs(scale) * (edges - x), abs(scale) * (edges - y)
    half = int(np.ceil(max(np.abs(across_px).max(), np.abs(down_px).max())))
    left, right = pixel_shares(down_px, half) @ pair @ pixel_shares(across_px, half).T
    return left / left.sum(), right / right.sum()


def load_measured_bank(
    source: BinaryIO | np.ndarray,
    *,
    key: str | None = None,
    side: str = "far",
    radius_px: float | None = None,
    recentre: bool = False,
) -> MeasuredBank:
    """A bank from a calibration's array.

    source: an array (rows, columns, 2, k, k), or an open binary file that holds it as .npy or .npz;
    rows from the top of the picture, left view first, k odd, not negative, any sum. A file of an
    .npz must be seekable. key: name of the array in an .npz; None takes the only one of that form.
    side: near or far, the side of focus the kernels were measured on; with s = x_L - x_R it is near
    where s > 0. radius_px: blur radius they were measured at; None takes the mean over the field of
    `blur_radius_px` of the two views together. recentre: see `MeasuredBank.recentred`.
    Raises ValueError where the array or a value does not fit.
    """
    if side not in SIDES:
        raise ValueError(f"side must be near or far, got {side!r}")
    array = source if isinstance(source, np.ndarray) else _read_array(source, key)
    if array.ndim != 5 or array.shape[2] != 2 or array.shape[3] != array.shape[4]:
        raise ValueError(
            f"measured kernels must be (rows, columns, 2, k, k), left view first, got {array.shape}"
        )
    if array.size == 0 or array.shape[3] % 2 == 0:
        raise ValueError(f"measured kernels must have an odd side k, got {array.shape}")
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise ValueError(f"measured kernels must be real numbers, got {array.dtype}")
    kernels = array.astype(np.float64)
    if not np.isfinite(kernels).all() or kernels.min() < 0.0:
        raise ValueError("measured kernels must be finite and not negative: clip noise at 0 first")
    energy = kernels.sum(axis=(3, 4), keepdims=True)
    if energy.min() <= 0.0:
        row, column, view = (int(i) for i in np.argwhere(energy[..., 0, 0] <= 0.0)[0])
        raise ValueError(
            f"the {('left', 'right')[view]} kernel at place ({row}, {column}) is all zero"
        )
    kernels /= energy
    if radius_px is None:
        radius_px = float(blur_radius_px(kernels.mean(axis=2)).mean())
    if not (np.isfinite(radius_px) and radius_px > 0.0):
        raise ValueError(
            f"the kernels' blur radius must be positive, got {radius_px}: measure them out of focus"
        )
    coc_px = radius_px if side == "near" else -radius_px
    bank = MeasuredBank(kernels, coc_px, np.zeros((*kernels.shape[:2], 2)))
    return bank.recentred() if recentre else bank


def centroid_px(kernels: np.ndarray) -> np.ndarray:
    """Centroids (..., 2), x and y from the middle pixel, of kernels (..., k, k) of unit sum."""
    offsets = np.arange(kernels.shape[-1]) - kernels.shape[-1] // 2
    x = kernels.sum(axis=-2) @ offsets
    y = kernels.sum(axis=-1) @ offsets
    return np.stack([x, y], axis=-1)


def blur_radius_px(kernels: np.ndarray) -> np.ndarray:
    """Radius (...,) of the even disc that has the variance of kernels (..., k, k) of unit sum.

    sqrt(2 (var_x + var_y)): how the radius of a kernel that is not a disc is told.
    """
    offsets = np.arange(kernels.shape[-1]) - kernels.shape[-1] // 2
    square = (kernels.sum(axis=-2) + kernels.sum(axis=-1)) @ offsets**2
    variance = square - (centroid_px(kernels) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(2.0 * np.maximum(variance, 0.0)))


def _read_array(source: BinaryIO, key: str | None) -> np.ndarray:
    try:
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        arrays = {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"measured kernels must come as an .npy or .npz file of numbers: {error}"
        ) from error
    fitting = [name for name, array in arrays.items() if array.ndim == 5]
    if key is None and len(fitting) == 1:
        key = fitting[0]
    if key in arrays:
        return arrays[key]
    if not fitting:
        raise ValueError("the file holds no array (rows, columns, 2, k, k), left view first")
    asked = "none is named" if key is None else f"{key!r} is not among them"
    raise ValueError(f"the file holds the banks {', '.join(fitting)}; {asked}: give its key")
