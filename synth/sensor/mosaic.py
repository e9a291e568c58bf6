"""The colour filter array, and the way back from it: bilinear or Malvar's demosaicing.

Demosaicing is what makes the noise of a camera's pictures alike in neighbouring pixels and colours.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Demosaicing = Literal["bilinear", "malvar"]
Phase = tuple[int, int]
"""Row and column, 0 or 1, of the red filter in each 2 x 2 cell; blue is diagonally opposite."""

# Malvar, He, Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color
# images", ICASSP 2004, figure 2, and the averages of the nearest neighbours: green at red or blue;
# a colour where its neighbours are left and right; above and below; on the diagonals.
_Rows = list[list[float]]
_CROSS: _Rows = [[0, 2, 0], [2, 0, 2], [0, 2, 0]]
_ROW: _Rows = [[0, 0, 0], [4, 0, 4], [0, 0, 0]]
_DIAGONAL: _Rows = [[2, 0, 2], [0, 0, 0], [2, 0, 2]]
_CROSS_5: _Rows = [
    [0, 0, -1, 0, 0],
    [0, 0, 2, 0, 0],
    [-1, 2, 4, 2, -1],
    [0, 0, 2, 0, 0],
    [0, 0, -1, 0, 0],
]
_ROW_5: _Rows = [
    [0, 0, 0.5, 0, 0],
    [0, -1, 0, -1, 0],
    [-1, 4, 5, 4, -1],
    [0, -1, 0, -1, 0],
    [0, 0, 0.5, 0, 0],
]
_DIAGONAL_5: _Rows = [
    [0, 0, -1.5, 0, 0],
    [0, 2, 0, 2, 0],
    [-1.5, 0, 6, 0, -1.5],
    [0, 2, 0, 2, 0],
    [0, 0, -1.5, 0, 0],
]


def _filters(cross: _Rows, row: _Rows, diagonal: _Rows) -> Tensor:
    green, across, both = (torch.tensor(rows).float() / 8.0 for rows in (cross, row, diagonal))
    return torch.stack([green, across, across.T, both])[:, None]


_FILTERS = {
    "bilinear": _filters(_CROSS, _ROW, _DIAGONAL),
    "malvar": _filters(_CROSS_5, _ROW_5, _DIAGONAL_5),
}


def mosaic(picture: Tensor, phase: Phase) -> Tensor:
    """What the pixels of a filter array see. picture: (..., 3, H, W). Returns (..., H, W)."""
    seen = picture[..., 1, :, :].clone()
    for colour, (row, column) in ((0, phase), (2, (1 - phase[0], 1 - phase[1]))):
        seen[..., row::2, column::2] = picture[..., colour, row::2, column::2]
    return seen


def demosaic(seen: Tensor, phase: Phase, how: Demosaicing) -> Tensor:
    """All three colours at every pixel.

    seen: (..., H, W), at least 3 x 3. phase: as given to `mosaic`. Returns (..., 3, H, W); pixels
    keep what they saw. Raises ValueError for an unknown way.
    """
    if how not in _FILTERS:
        raise ValueError(f"unknown demosaicing {how!r}: choose from {', '.join(_FILTERS)}")
    size = seen.shape[-2:]
    flat = seen.reshape(-1, 1, *size)
    filters = _FILTERS[how].to(seen.device, non_blocking=True)
    # Mirrored without the border's own pixels, which keeps the order of the colours.
    padded = functional.pad(flat, (filters.shape[-1] // 2,) * 4, mode="reflect")
    green, row, column, diagonal = functional.conv2d(padded, filters).unbind(1)
    flat = flat[:, 0]
    red_at, blue_at = phase, (1 - phase[0], 1 - phase[1])
    picture = torch.stack([flat, flat, flat], dim=1)
    for colour, own, other in ((0, red_at, blue_at), (2, blue_at, red_at)):
        _put(picture[:, 1], green, own)
        _put(picture[:, colour], diagonal, other)
        _put(picture[:, colour], row, (own[0], other[1]))
        _put(picture[:, colour], column, (other[0], own[1]))
    return picture.reshape(*seen.shape[:-2], 3, *size)


def _put(into: Tensor, values: Tensor, at: Phase) -> None:
    into[:, at[0] :: 2, at[1] :: 2] = values[:, at[0] :: 2, at[1] :: 2]
