"""Restore a picture of any size, tile by tile, in a bounded amount of memory."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from k3dn.modes import evaluating
from k3dn.network.model import as_k3dn

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

_GRID_PX = 16
"""Tiles start on multiples of this for a network that says nothing of its own grid."""
_SMALLEST_PX = 16
"""No tile is cut smaller."""


def deblur(
    model: nn.Module,
    left: Image,
    right: Image | None = None,
    *,
    tile_px: int = 512,
    halo_px: int = 64,
) -> Image:
    """Restore a dual-pixel pair, or a single picture with a model for that.

    left, right: ``(H, W, 3)`` sRGB, uint8, uint16, or float32 in [0, 1]; the answer has their
    type. Pictures larger than a tile are cut into tiles with ``halo_px`` of surroundings, whose
    overlaps are blended. Both lengths are rounded up to the network's grid, so that a tile has
    the windows of the whole picture. Beside the pictures themselves, memory is taken for one
    tile and one row of tiles; a network that resizes (``pad_to_grid=false``) takes them whole.
    The model works in evaluation mode and is left in the mode it came in. Raises ValueError for
    views that do not fit each other or are no pictures, and for a model whose answer is none.
    """
    views = [left] if right is None else [left, right]
    if any(view.shape != left.shape or view.dtype != left.dtype for view in views):
        raise ValueError(
            "left and right must have one size and type, got "
            + " and ".join(f"{view.shape} {view.dtype}" for view in views)
        )
    if left.ndim != 3 or left.shape[2] != 3:
        raise ValueError(f"views must be (H, W, 3), got {left.shape}")
    if tile_px < 2 * _GRID_PX or halo_px < 0:
        raise ValueError(
            f"tile_px must be at least {2 * _GRID_PX} and halo_px not negative, got "
            f"{tile_px} and {halo_px}"
        )
    peak = _peak(left)
    network = as_k3dn(model)
    down, across = network.config.grid_px if network else (_GRID_PX, _GRID_PX)
    if network and not network.config.pad_to_grid:
        tile_px = max(left.shape)  # it resizes what it gets: each tile would be resized otherwise
    # A second pass on the mirrored picture counts its windows from the right edge.
    beyond = left.shape[1] % across if network and network.config.mirror_whole else 0
    tile_rows = list(_spans(left.shape[0], _round_up(tile_px, down), _round_up(halo_px, down)))
    tile_columns = list(
        _spans(left.shape[1], _round_up(tile_px, across), _round_up(halo_px, across), beyond)
    )
    device = next(model.parameters(), torch.empty(0)).device
    image = np.empty_like(left)
    band = _Band(left.shape[1])
    with evaluating(model):
        for index, (rows, row_weight) in enumerate(tile_rows):
            band.move_to(rows)
            for columns, column_weight in tile_columns:
                tiles = [_to_tensor(view[rows, columns], peak, device) for view in views]
                restored = _to_picture(model(*tiles), tiles[0].shape)
                band.add(columns, restored, (row_weight[:, None] * column_weight)[..., None])
            last = index + 1 == len(tile_rows)
            done = rows.stop if last else tile_rows[index + 1][0].start
            image[rows.start : done] = _from_unit(band.finished(done), peak, left.dtype)
    return image


class _Band:
    """Weighted sums of the tiles over the rows that are not finished yet."""

    def __init__(self, width: int) -> None:
        self._first = 0
        self._total = np.zeros((0, width, 3), np.float32)
        self._weight = np.zeros((0, width, 1), np.float32)

    def move_to(self, rows: slice) -> None:
        """Go on to these rows; sums of those before them are dropped, of shared ones kept."""
        self._total = self._moved(self._total, rows)
        self._weight = self._moved(self._weight, rows)
        self._first = rows.start

    def _moved(self, sums: NDArray[np.float32], rows: slice) -> NDArray[np.float32]:
        kept = sums[rows.start - self._first :]
        new = np.zeros((rows.stop - rows.start, *sums.shape[1:]), np.float32)
        new[: len(kept)] = kept
        return new

    def add(
        self, columns: slice, restored: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Add a tile over all rows of the band."""
        self._total[:, columns] += weight * restored
        self._weight[:, columns] += weight

    def finished(self, stop: int) -> NDArray[np.float32]:
        """The mean of the rows before ``stop``."""
        rows = slice(0, stop - self._first)
        return self._total[rows] / self._weight[rows]


def _spans(
    length: int, tile: int, halo: int, beyond: int = 0
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Cut a length into tiles with halo, and the blending weight of each sample.

    beyond: this much more of the halo at a tile's end.

    Weights rise linearly from a quarter of the halo outside the tile to as far inside, so that
    the outer rim, which sees the least of its surroundings, does not count.
    """
    for start in range(0, length, tile):
        if start and length - start < _SMALLEST_PX:
            break  # a sliver: the tile before takes it along
        stop = start + tile if length - start - tile >= _SMALLEST_PX else length
        first, last = max(start - halo, 0), min(stop + halo + beyond, length)
        positions = np.arange(first, last, dtype=np.float32)
        inside = np.full_like(positions, np.inf)  # px to the nearer cut, negative beyond it
        if first > 0:
            inside = positions - start
        if last < length:
            inside = np.minimum(inside, stop - 1 - positions)
        ramp = max(halo / 2, 1.0)
        yield slice(first, last), np.clip(inside / ramp + 0.5, 0.0, 1.0).astype(np.float32)


def _peak(image: Image) -> float:
    if image.dtype == np.uint8:
        return 255.0
    if image.dtype == np.uint16:
        return 65535.0
    if np.issubdtype(image.dtype, np.floating):
        return 1.0
    raise ValueError(f"views must be uint8, uint16 or floating point, got {image.dtype}")


def _to_tensor(view: Image, peak: float, device: torch.device) -> Tensor:
    scaled = np.asarray(view, np.float32) / np.float32(peak)
    return torch.from_numpy(scaled).movedim(-1, 0)[None].contiguous().to(device)


def _to_picture(restored: object, expected: torch.Size) -> NDArray[np.float32]:
    if not isinstance(restored, Tensor) or restored.shape != expected:
        found = tuple(restored.shape) if isinstance(restored, Tensor) else type(restored).__name__
        raise ValueError(f"the network must return a tensor {tuple(expected)}, got {found}")
    return restored[0].float().movedim(0, -1).cpu().numpy()


def _from_unit(image: NDArray[np.float32], peak: float, dtype: np.dtype[np.generic]) -> Image:
    if not np.isfinite(image).all():
        raise ValueError("the network returned NaN or infinite values for this pair")
    image = np.clip(image, 0.0, 1.0)
    if np.issubdtype(dtype, np.floating):
        return image
    return np.rint(image * peak).astype(dtype)


def _round_up(length: int, grid: int) -> int:
    return -(-length // grid) * grid
