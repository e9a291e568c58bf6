"""Strong blur is restored at half the size, and its answer brought back to the full one.

A point that is blurred over a radius of r px reaches further than the network looks at once; at
half the size it is blurred over r / 2. Where the network finds, at the half size, that r is large,
the picture takes what was restored there: a mean of the views sharpened by the enlarged change.
Fine detail, which the half size has not, is lost to such a blur anyhow. Half the size has a half
of its own, so that any radius comes to a size at which it is small.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from k3dn.network.model import K3DN
from k3dn.views import check_number

MOST_SCALES = 3
"""The full size, a half and a quarter, as far as ``SMALLEST_PX`` lets them."""
SMALLEST_PX = 128
"""No side is made smaller."""
FULL_SIZE_UP_TO_PX = 8.0
"""Radius of the circle of confusion, in px of the larger size, up to which that one is taken..."""
HALF_SIZE_FROM_PX = 14.0
"""... and from which on the smaller one is. Measured on held-out pairs: docs/quality.md."""
_MARGIN_PX = 2
"""What bicubic interpolation looks at beside a place."""


class PictureAndBlur(nn.Module):
    """A network's picture with the blur that it found as a fourth channel, ``(B, 4, H, W)``.

    The blur is the radius of the circle of confusion in px, without its sign.
    """

    def __init__(self, network: K3DN) -> None:
        super().__init__()
        self.network = network

    def forward(self, left: Tensor, right: Tensor | None = None) -> Tensor:
        """left, right: as ``K3DN.forward`` takes them."""
        found = self.network.restore(left, right)
        assert found.coc_px is not None  # of a network that ``knows_coc``
        radius = self.network.enlarge(found.coc_px, *left.shape[-2:]).abs()
        return torch.cat((found.image, radius.to(found.image.dtype)), dim=1)


def scale_factors(height: int, width: int, most: int = MOST_SCALES) -> list[int]:
    """By how much a picture is made smaller at each of its scales: 1, then 2, 4, ..."""
    check_number("scales", most)
    if most < 1:
        raise ValueError(f"scales must be at least 1, got {most}")
    smaller = (2**n for n in range(1, most))
    return [1, *(factor for factor in smaller if min(height, width) // factor >= SMALLEST_PX)]


def shrink(views: Tensor, factor: int) -> Tensor:
    """``(B, C, H, W)`` by means of factor x factor px; a border that is less repeats its last."""
    if factor == 1:
        return views
    height, width = views.shape[-2:]
    views = F.pad(views, (0, -width % factor, 0, -height % factor), mode="replicate")
    return F.avg_pool2d(views, factor)


@dataclass(frozen=True)
class SmallerAnswer:
    """What was restored at half the size of a picture."""

    change: NDArray[np.float16]
    """``(h, w, 3)``: the restored picture less the mean of the views."""
    radius_px: NDArray[np.float16]
    """``(h, w)``: radius of the circle of confusion, in px of the half size."""

    def blend(self, restored: Tensor, mean: Tensor, top: int, left: int) -> Tensor:
        """A tile at the larger size, ``(B, C, H, W)`` with top and left even, with the smaller
        answer in its three channels of colour where the blur is strong.

        mean: of the tile's views, ``(B, 3, H, W)``.
        """
        height, width = restored.shape[-2:]
        rows, row = _span(top, height, self.radius_px.shape[0])
        columns, column = _span(left, width, self.radius_px.shape[1])
        inside = np.s_[..., row : row + height, column : column + width]
        radius = torch.from_numpy(self.radius_px[rows, columns]).to(restored)[None, None]
        radius = F.interpolate(2 * radius, scale_factor=2, mode="bilinear")[inside]
        share = (radius - FULL_SIZE_UP_TO_PX) / (HALF_SIZE_FROM_PX - FULL_SIZE_UP_TO_PX)
        share = share.clamp(0, 1)
        share = share * share * (3 - 2 * share)
        if not bool(share.any()):
            return restored
        change = torch.from_numpy(self.change[rows, columns]).to(restored).movedim(-1, 0)[None]
        change = F.interpolate(change, scale_factor=2, mode="bicubic")[inside]
        picture = torch.lerp(restored[:, :3], mean + change, share)
        return torch.cat((picture, restored[:, 3:]), dim=1)


def _span(first: int, length: int, whole: int) -> tuple[slice, int]:
    """Rows of the half size for ``length`` rows of the full one from ``first`` on, and where those
    begin in what the half ones are enlarged to."""
    start = max(first // 2 - _MARGIN_PX, 0)
    stop = min(-(-(first + length) // 2) + _MARGIN_PX, whole)
    return slice(start, stop), first - 2 * start
