"""Convolution with a left and a right kernel at once, only where it is asked for.

Large kernels go by transforms of square tiles (`synth.overlap_save`), small ones directly, by
OpenCV, where that is installed and the work is a CPU's. What nothing is wanted of is left out, and
what is in work at a time fits a processor's cache.
"""

from collections.abc import Iterator

import numpy as np

from synth.cells import cells_of, parts_of
from synth.overlap_save import Tile, convolve_by_transforms, works_with_opencv
from synth.psf import KernelPair

_DIRECT_SIDE = 11  # beyond it OpenCV itself takes to transforms, at least on x86


def convolve_views(planes: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Convolve every plane with both kernels, where the kernel lies fully inside ("valid").

    planes: (C, H, W), taken as float32. left, right: (k, k), k odd, k <= min(H, W).
    Returns float32 (2, C, H - k + 1, W - k + 1): the left view's planes, then the right view's.
    """
    half = left.shape[0] // 2
    size = (planes.shape[1] - 2 * half, planes.shape[2] - 2 * half)
    result = np.empty((2, planes.shape[0], *size), dtype=np.float32)
    everywhere = np.ones(cells_of(size), dtype=bool)
    for rows, columns, values in convolve_tiles(
        planes, (left, right), everywhere, origin=(half, half), size=size
    ):
        result[:, :, rows, columns] = values
    return result


def convolve_tiles(
    planes: np.ndarray,
    kernels: KernelPair,
    where: np.ndarray,
    *,
    origin: tuple[int, int],
    size: tuple[int, int],
) -> Iterator[Tile]:
    """Convolve every plane with both kernels in tiles that cover the cells asked for.

    planes: (C, H, W), taken as float32. kernels: (k, k) each, k odd. where: bool, `cells_of(size)`.
    origin: where in the planes the result's first pixel lies, half a kernel or more from the start.
    size: height and width of the result, which lies in the planes; tiles are cut off there. Beyond
    the planes is darkness. Tiles do not overlap; which pixels around the wanted cells they cover is
    not said.
    """
    planes = planes.astype(np.float32, copy=False)
    pair = np.stack(kernels).astype(np.float32)
    if pair.shape[1] <= _DIRECT_SIDE and works_with_opencv():
        return _convolve_directly(planes, pair, where, origin, size)
    return convolve_by_transforms(planes, pair, where, origin, size)


def _convolve_directly(
    planes: np.ndarray,
    pair: np.ndarray,
    where: np.ndarray,
    origin: tuple[int, int],
    size: tuple[int, int],
) -> Iterator[Tile]:
    import cv2

    half = pair.shape[1] // 2
    turned = pair[:, ::-1, ::-1]  # OpenCV correlates
    for rows, columns in parts_of(where, size):
        window = planes[
            :,
            rows.start + origin[0] - half : rows.stop + origin[0] + half,
            columns.start + origin[1] - half : columns.stop + origin[1] + half,
        ]
        blurred = np.empty((2, *window.shape), dtype=np.float32)
        for view, kernel in zip(blurred, turned, strict=True):
            for plane, result in zip(window, view, strict=True):
                cv2.filter2D(plane, -1, kernel, dst=result, borderType=cv2.BORDER_CONSTANT)
        bottom, end = half + rows.stop - rows.start, half + columns.stop - columns.start
        yield rows, columns, blurred[:, :, half:bottom, half:end]
