"""Convolution with a left and a right kernel at once, only where it is asked for.

A picture is cut into square tiles, each is transformed with its surroundings (overlap-save), and
tiles where nothing is wanted are left out. So time grows with the pixels asked for, hardly with the
area of the kernel, and what is in work at a time fits a processor's cache. The transforms run on
torch's default device (``with torch.device("cuda"): ...``).
"""

from collections.abc import Iterator

import numpy as np
import torch

from synth.psf import KernelPair

CELL = 8
"""Side in pixels of the cells by which callers say where they want a result."""

_TILES_CELLS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_TILE_OVERHEAD = 1e4  # what one more tile costs over its transform, in the units of F^2 log F
_BATCH = 1 << 17  # values transformed at a time, measured: about what stays in the cache

Tile = tuple[slice, slice, np.ndarray]
"""Rows, columns and values (2, C, h, w): the left view's planes, then the right view's."""


def convolve_views(planes: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Convolve every plane with both kernels, where the kernel lies fully inside ("valid").

    planes: float32 (C, H, W). left, right: (k, k), k odd, k <= min(H, W).
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


def cells_of(size: tuple[int, int]) -> tuple[int, int]:
    """How many cells of CELL px, whole or begun, a picture of (H, W) has."""
    return -(-size[0] // CELL), -(-size[1] // CELL)


def convolve_tiles(
    planes: np.ndarray,
    kernels: KernelPair,
    where: np.ndarray,
    *,
    origin: tuple[int, int],
    size: tuple[int, int],
) -> Iterator[Tile]:
    """Convolve every plane with both kernels in tiles that cover the cells asked for.

    planes: float32 (C, H, W). kernels: (k, k) each, k odd. where: bool, `cells_of(size)`.
    origin: where in the planes the result's first pixel lies, half a kernel or more from the start.
    size: height and width of the result; tiles are cut off there. Beyond the planes is darkness.
    Tiles do not overlap; which pixels around the wanted cells they cover is not said.
    """
    side = kernels[0].shape[0]
    cells, length = _tile_side(where, side)
    tile = cells * CELL
    starts = [(int(r), int(c)) for r, c in np.argwhere(_coarser(where, cells)) * tile]
    pair = np.stack(kernels).astype(np.float32)
    device = torch.get_default_device()
    transfer = torch.fft.fft2(torch.from_numpy(pair).to(device), s=(length, length)) / length**2
    # Two tiles at a time are the real and the imaginary part of one complex array.
    count = 2 * max(1, _BATCH // (planes.shape[0] * length**2) // 2)
    for first in range(0, len(starts), count):
        corners = starts[first : first + count]
        shape = (len(corners) + 1) // 2, planes.shape[0], length, length
        windows = np.zeros(shape, dtype=np.complex64)
        for number, (row, column) in enumerate(corners):
            top, start = row + origin[0] - side // 2, column + origin[1] - side // 2
            piece = planes[:, top : top + length, start : start + length]
            window = _part(windows, number)
            window[:, : piece.shape[1], : piece.shape[2]] = piece
        blurred = pair[:, None] * windows[:, None] if side == 1 else _filter(windows, transfer)
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


def _filter(windows: np.ndarray, transfer: torch.Tensor) -> np.ndarray:
    """Circular convolution of complex64 (N, C, F, F) with both kernels: (N, 2, C, F, F).

    transfer: the kernels' spectra (2, F, F), divided by F^2.
    """
    spectrum = torch.fft.fft2(torch.from_numpy(windows).to(transfer.device))
    product = spectrum[:, None] * transfer[:, None]
    return np.asarray(torch.fft.ifft2(product, norm="forward").cpu().numpy())


def _tile_side(where: np.ndarray, side: int) -> tuple[int, int]:
    """The tiles' side in cells, and of their transforms in pixels, that cost least."""
    rows, columns = np.nonzero(where)
    best = (np.inf, 1, 1)
    for cells in _TILES_CELLS:
        length = fast_length(cells * CELL + side - 1)
        covered = np.zeros((where.shape[0] // cells + 1, where.shape[1] // cells + 1), dtype=bool)
        covered[rows // cells, columns // cells] = True
        cost = np.count_nonzero(covered) * (length**2 * np.log2(length) + _TILE_OVERHEAD)
        best = min(best, (cost, cells, length))
        if cells >= max(where.shape):
            break
    return best[1], best[2]


def _coarser(where: np.ndarray, cells: int) -> np.ndarray:
    """Whether any cell is set in blocks of cells x cells."""
    rows = np.logical_or.reduceat(where, np.arange(0, where.shape[0], cells), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, where.shape[1], cells), axis=1)


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
