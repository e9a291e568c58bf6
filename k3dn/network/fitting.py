"""Bring pictures of any size to the network's grid of windows, and back."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from k3dn.borders import repeat_borders


def fitted_size(
    size: Sequence[int], grid_px: tuple[int, int], smallest_px: tuple[int, int]
) -> tuple[int, int]:
    """Height and width that ``fit_to_grid`` brings a picture of a size to."""
    sides = zip(size, grid_px, smallest_px, strict=True)
    height, width = (max(-(-side // grid) * grid, least) for side, grid, least in sides)
    return height, width


def fit_to_grid(
    picture: Tensor, grid_px: tuple[int, int], smallest_px: tuple[int, int], *, pad: bool
) -> Tensor:
    """Make height and width of ``(B, C, H, W)`` multiples of the grid's, never smaller.

    smallest_px: multiples of the grid's that a smaller picture is brought to. pad: repeat the right
    and bottom border. Else resize, which blurs, and clip the overshoot to [0, 1]: what the
    authors do by OpenCV to a picture of integers.
    """
    if pad and smallest_px == grid_px and torch.compiler.is_exporting():
        return _pad_by_symbols(picture, grid_px)
    height, width = fitted_size(picture.shape[-2:], grid_px, smallest_px)
    down, across = height - picture.shape[-2], width - picture.shape[-1]
    if not down and not across:
        return picture
    if pad:
        return repeat_borders(picture, (0, across, 0, down))
    return F.interpolate(picture, size=(height, width), mode="bicubic").clamp(0.0, 1.0)


def unfit(picture: Tensor, height: int, width: int, *, pad: bool) -> Tensor:
    """Undo ``fit_to_grid`` for a picture that was ``height`` x ``width``."""
    if pad or tuple(picture.shape[-2:]) == (height, width):
        return picture[..., :height, :width]
    return F.interpolate(picture, size=(height, width), mode="bicubic")


def _pad_by_symbols(picture: Tensor, grid_px: tuple[int, int]) -> Tensor:
    """Pad pictures of any size in an exported graph; it is not another graph for whole windows.

    The number of windows is read out of a tensor, so that for the rest of the graph it is a symbol
    of its own, not a formula of rounded quotients that no two layers would agree on.
    """
    for axis, grid in zip((-2, -1), grid_px, strict=True):
        length = picture.shape[axis]
        windows = torch.scalar_tensor((length + grid - 1) // grid, dtype=torch.int64).item()
        assert isinstance(windows, int | torch.SymInt)
        torch._check(windows >= 1)
        torch._check(windows * grid >= length)
        inside = torch.arange(windows * grid, device=picture.device).clamp(max=length - 1)
        picture = picture.index_select(axis, inside)
    return picture
