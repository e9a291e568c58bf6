"""Bring pictures of any size to the network's grid of windows, and back."""

import torch.nn.functional as F
from torch import Tensor


def fit_to_grid(picture: Tensor, grid_px: tuple[int, int], *, pad: bool) -> Tensor:
    """Make height and width of ``(B, C, H, W)`` multiples of the grid's, never smaller.

    pad: repeat the right and bottom border. Else resize, as the authors do, which blurs.
    """
    height, width = picture.shape[-2:]
    down, across = -height % grid_px[0], -width % grid_px[1]
    if not down and not across:
        return picture
    if pad:
        return F.pad(picture, (0, across, 0, down), mode="replicate")
    return F.interpolate(picture, size=(height + down, width + across), mode="bicubic")


def unfit(picture: Tensor, height: int, width: int, *, pad: bool) -> Tensor:
    """Undo ``fit_to_grid`` for a picture that was ``height`` x ``width``."""
    if pad or tuple(picture.shape[-2:]) == (height, width):
        return picture[..., :height, :width]
    return F.interpolate(picture, size=(height, width), mode="bicubic")
