"""Windows of features: the places that one disparity feature vector governs.

Letters: B batch, C channels, h w grid of windows, H W features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from k3dn.borders import repeat_borders


def align_to_features(grid_BNhw: Tensor, height: int, width: int) -> Tensor:
    """Give each feature the value of its place on the disparity grid, by nearest neighbour.

    Footnote 2 of the paper: anything smoother would be wrong at a disparity edge.
    """
    return F.interpolate(grid_BNhw, size=(height, width), mode="nearest")


def cut_windows(x_BCHW: Tensor, grid: tuple[int, int], halo: int, *, shared: bool) -> Tensor:
    """Cut features into windows, with ``halo`` features around each.

    grid: windows down and across, divisors of H and W. shared: a window sees its surroundings,
    and repeated border values at the picture's rim; else zeros all around, as in the authors'
    form. Returns ``(B, h, w, C, H / h + 2 halo, W / w + 2 halo)``.
    """
    down, across = grid
    side_y, side_x = x_BCHW.shape[-2] // down, x_BCHW.shape[-1] // across
    margin = (halo, halo, halo, halo)
    if torch.compiler.is_exporting():
        return _cut_by_index(x_BCHW, grid, (side_y, side_x), halo, shared=shared)
    if shared:
        padded = repeat_borders(x_BCHW, margin)
        windows = padded.unfold(2, side_y + 2 * halo, side_y).unfold(3, side_x + 2 * halo, side_x)
    else:
        windows = F.pad(x_BCHW.unfold(2, side_y, side_y).unfold(3, side_x, side_x), margin)
    return windows.permute(0, 2, 3, 1, 4, 5)


def _cut_by_index(
    x_BCHW: Tensor, grid: tuple[int, int], sides: tuple[int, int], halo: int, *, shared: bool
) -> Tensor:
    """The same for an exported graph: ``unfold`` wants numbers where this takes symbols."""
    margin = (halo, halo, halo, halo)
    reach = 2 * halo if shared else 0
    x = F.pad(x_BCHW, margin, mode="replicate") if shared else x_BCHW
    for axis, windows, side in zip((2, 4), grid, sides, strict=True):
        index = torch.arange(windows)[:, None] * side + torch.arange(side + reach)
        cut = x.index_select(axis, index.flatten().to(x.device))
        x = cut.unflatten(axis, (windows, side + reach))
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x if shared else F.pad(x, margin)


def join_windows(windows_BhwCyx: Tensor) -> Tensor:
    """Put windows without halo together again, ``(B, C, H, W)``."""
    batch, down, across, channels, side_y, side_x = windows_BhwCyx.shape
    joined = windows_BhwCyx.permute(0, 3, 1, 4, 2, 5)
    return joined.reshape(batch, channels, down * side_y, across * side_x)
