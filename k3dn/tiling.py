"""Restore a picture of any size, tile by tile, in a bounded amount of memory."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from k3dn.network.disparity import GRID_PX

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


def deblur(
    model: nn.Module, left: Image, right: Image, *, tile_px: int = 512, halo_px: int = 64
) -> Image:
    """Restore a dual-pixel pair.

    left, right: ``(H, W, 3)`` sRGB, uint8, uint16, or float32 in [0, 1]; the answer has their
    type. Pictures larger than a tile are cut into tiles with ``halo_px`` of surroundings, whose
    overlaps are blended. Both lengths are rounded up to multiples of 16 px, the network's grid.
    Raises ValueError for views that do not fit each other or are no pictures.
    """
    if left.shape != right.shape or left.dtype != right.dtype:
        raise ValueError(
            "left and right must have one size and type, got "
            f"{left.shape} {left.dtype} and {right.shape} {right.dtype}"
        )
    if left.ndim != 3 or left.shape[2] != 3:
        raise ValueError(f"views must be (H, W, 3), got {left.shape}")
    if tile_px < 2 * GRID_PX or halo_px < 0:
        raise ValueError(f"tile_px must be at least {2 * GRID_PX} and halo_px not negative")
    peak = _peak(left)
    tile_px, halo_px = _round_up(tile_px), _round_up(halo_px)
    height, width = left.shape[:2]
    device = next(model.parameters(), torch.empty(0)).device
    total = np.zeros((height, width, 3), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    model.eval()
    with torch.inference_mode():
        for rows, row_weight in _spans(height, tile_px, halo_px):
            for columns, column_weight in _spans(width, tile_px, halo_px):
                views = [_to_tensor(v[rows, columns], peak, device) for v in (left, right)]
                restored = model(*views)[0].float().movedim(0, -1).cpu().numpy()
                feather = (row_weight[:, None] * column_weight)[..., None]
                total[rows, columns] += feather * restored
                weight[rows, columns] += feather
    total /= weight
    if not np.isfinite(total).all():
        raise ValueError("the network returned NaN or infinite values for this pair")
    np.clip(total, 0.0, 1.0, out=total)
    if np.issubdtype(left.dtype, np.floating):
        return total
    return np.rint(total * peak).astype(left.dtype)


def _spans(length: int, tile: int, halo: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Cut a length into tiles with halo, and the blending weight of each sample.

    Weights rise linearly from a quarter of the halo outside the tile to as far inside, so that
    the outer rim, which sees the least of its surroundings, does not count.
    """
    for start in range(0, length, tile):
        if start and length - start < GRID_PX:
            break  # a sliver: the tile before takes it along
        stop = start + tile if length - start - tile >= GRID_PX else length
        first, last = max(start - halo, 0), min(stop + halo, length)
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


def _round_up(length: int) -> int:
    return -(-length // GRID_PX) * GRID_PX
