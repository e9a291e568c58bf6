"""Overlap-save: convolution by transforms of squares of a picture with their surroundings.

Time grows with the pixels asked for, hardly with the area of the kernel. The transforms run on
torch's default device (``with torch.device("cuda"): ...``); on a CPU OpenCV does them, where it is
installed, one plane after the other, which is faster.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from synth.cells import CELL, covering_squares

if TYPE_CHECKING:
    from torch import Tensor

_SQUARES_CELLS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_SQUARE_OVERHEAD = 1e4  # what a square costs over its transforms, in the units of F^2 log F
_KERNELS = 0.5  # what the kernels' own transforms cost, in squares
_BATCH = 1 << 17  # values transformed at a time, measured: about what stays in the cache

Tile = tuple[slice, slice, np.ndarray]
"""Rows, columns and values (2, C, h, w): the left view's planes, then the right view's."""


def works_with_opencv() -> bool:
    """Whether the work is a CPU's and OpenCV is installed."""
    import torch

    return torch.get_default_device().type == "cpu" and _has_opencv()


@cache
def _has_opencv() -> bool:
    return find_spec("cv2") is not None


def convolve_by_transforms(
    planes: np.ndarray,
    pair: np.ndarray,
    where: np.ndarray,
    origin: tuple[int, int],
    size: tuple[int, int],
) -> Iterator[Tile]:
    """Tiles that cover the cells asked for; see `synth.convolve.convolve_tiles`.

    pair: float32 (2, k, k), the left and the right kernel.
    """
    import torch

    side = pair.shape[1]
    with_opencv = works_with_opencv()
    squares, tile, length = _squares_that_cost_least(
        where, side, power_of_two if with_opencv else fast_length
    )
    kernels = torch.from_numpy(pair).to(torch.get_default_device())
    transfer = torch.fft.fft2(kernels, s=(length, length)) / length**2
    filter_windows = _filter_with_opencv if with_opencv else _filter_with_torch
    # Two tiles at a time are the real and the imaginary part of one complex array.
    count = 2 * max(1, _BATCH // (planes.shape[0] * length**2) // 2)
    for first in range(0, len(squares), count):
        corners = squares[first : first + count]
        shape = (len(corners) + 1) // 2, planes.shape[0], length, length
        windows = np.zeros(shape, dtype=np.complex64)
        for number, (row, column) in enumerate(corners):
            top, start = row + origin[0] - side // 2, column + origin[1] - side // 2
            piece = planes[:, top : top + length, start : start + length]
            window = _part(windows, number)
            window[:, : piece.shape[1], : piece.shape[2]] = piece
        blurred = filter_windows(windows, transfer)
        for number, (row, column) in enumerate(corners):
            rows = slice(row, min(row + tile, size[0]))
            columns = slice(column, min(column + tile, size[1]))
            # Circular wrap-around spoils the first side - 1 rows and columns: they are cut off.
            valid = _part(blurred, number)[..., side - 1 :, side - 1 :]
            yield rows, columns, valid[..., : rows.stop - row, : columns.stop - column]


def _part(pairs: np.ndarray, number: int) -> np.ndarray:
    """The real or the imaginary part that holds one of a batch of tiles."""
    pair = pairs[number // 2]
    return np.asarray(pair.imag if number % 2 else pair.real)


def _filter_with_torch(windows: np.ndarray, transfer: "Tensor") -> np.ndarray:
    """Circular convolution of complex64 (N, C, F, F) with both kernels: (N, 2, C, F, F).

    transfer: the kernels' spectra (2, F, F), divided by F^2.
    """
    import torch

    spectrum = torch.fft.fft2(torch.from_numpy(windows).to(transfer.device))
    product = spectrum[:, None] * transfer[:, None]
    return np.asarray(torch.fft.ifft2(product, norm="forward").cpu().numpy())


def _filter_with_opencv(windows: np.ndarray, transfer: "Tensor") -> np.ndarray:
    """The same, plane by plane."""
    import cv2

    blurred = np.empty((len(windows), 2, *windows.shape[1:]), dtype=np.complex64)
    # OpenCV takes complex numbers as two channels.
    kernels, planes, results = (
        array.view(np.float32).reshape(*array.shape, 2)
        for array in (transfer.numpy(), windows, blurred)
    )
    spectrum, product = np.empty_like(kernels)
    for number, channel in np.ndindex(windows.shape[:2]):
        cv2.dft(planes[number, channel], dst=spectrum)
        for view, kernel in enumerate(kernels):
            cv2.mulSpectrums(spectrum, kernel, 0, product)
            cv2.dft(product, dst=results[number, view, channel], flags=cv2.DFT_INVERSE)
    return blurred


def _squares_that_cost_least(
    where: np.ndarray, side: int, length_of: Callable[[int], int]
) -> tuple[list[tuple[int, int]], int, int]:
    """Squares that cover the cells asked for, for kernels of a side.

    length_of: how long a transform to take for at least so many pixels.
    Returns each one's top left pixel, their side and that of their transforms, all in pixels.
    """
    wanted = np.count_nonzero(where)
    least, squares, cells, length = np.inf, list[tuple[int, int]](), 0, 0
    lengths = {length_of(cells * CELL + side - 1) for cells in _SQUARES_CELLS}
    for candidate in sorted(lengths, reverse=True):
        fitting = (candidate - side + 1) // CELL
        each = candidate**2 * np.log2(candidate) + _SQUARE_OVERHEAD
        if (wanted / fitting**2 + _KERNELS) * each >= least:
            continue
        corners = covering_squares(where, fitting)
        cost = (len(corners) + _KERNELS) * each
        if cost < least:
            least, squares, cells, length = cost, corners, fitting, candidate
    return [(row * CELL, column * CELL) for row, column in squares], cells * CELL, length


def power_of_two(length: int) -> int:
    """The smallest power of two of at least `length`, for which OpenCV is fastest."""
    return 1 << (length - 1).bit_length()


def fast_length(length: int) -> int:
    """The smallest even number of at least `length` with no prime factor above 5."""
    length += length % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
