"""What a family of lenses tells of itself: its light by view, for any defocus and place."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from synth.psf.family import Aperture
from synth.psf.measured import MeasuredBank


class ViewLight(Protocol):
    """The light of a list of lenses of one family, as cells of a square."""

    varies: bool
    """Whether it varies over the field."""

    def reach_px(self, coc_px: Tensor) -> Tensor:
        """How far light falls from the point: (lenses, n) pixels for signed radii (n,)."""

    def __call__(self, lens: Tensor, coc_px: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
        """Cells of light of N points.

        lens: int64 (N,). coc_px: (N,), signed, near positive. field: (N, 2), (y, x) in halves of
        the frame's diagonal from its middle. Returns light (N, 2, n, n), left and right view, not
        negative, of any sum; and where the middles of their rows and columns fall for a radius of
        1 px, (N, 2, n), near side: for coc_px they fall at coc_px times that.
        """


class FixedApertures:
    """Apertures that are the same everywhere: of the families of `synth.psf`. A `ViewLight`."""

    varies = False

    def __init__(self, apertures: Sequence[Aperture]) -> None:
        """apertures: as the left view sees each; the right one's are their mirror images."""
        left = torch.stack([torch.from_numpy(a.light).float() for a in apertures])
        self._light = torch.stack([left, left.flip(-1)], dim=1)
        self._extent = torch.tensor([a.extent for a in apertures])

    def reach_px(self, coc_px: Tensor) -> Tensor:
        """See `ViewLight`."""
        return self._extent[:, None] * coc_px.abs()

    def __call__(self, lens: Tensor, coc_px: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
        """See `ViewLight`."""
        device, count = coc_px.device, self._light.shape[-1]
        axis = (torch.arange(count, device=device) - 0.5 * (count - 1)) * (2.0 / count)
        places = axis * self._extent.to(device)[lens][:, None]
        return self._light.to(device)[lens], places[:, None].expand(-1, 2, -1)


class BankLight:
    """A measured bank, mixed between its places. A `ViewLight` of one lens.

    The bank's places are those of the whole frame.
    """

    def __init__(self, bank: MeasuredBank, frame: tuple[float, float]) -> None:
        """frame: its half height and half width, in halves of the diagonal."""
        self._kernels = torch.from_numpy(bank.kernels).float()
        self._centre_px = torch.from_numpy(bank.centre_px).float()
        self._coc_px = bank.coc_px
        self._frame = frame
        self.varies = bank.grid != (1, 1)

    def reach_px(self, coc_px: Tensor) -> Tensor:
        """See `ViewLight`."""
        farthest = self._kernels.shape[-1] // 2 + float(self._centre_px.abs().max())
        return (coc_px.abs() * farthest / abs(self._coc_px))[None]

    def __call__(self, lens: Tensor, coc_px: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
        """See `ViewLight`."""
        rows, columns = self._kernels.shape[:2]
        (top, bottom, down), (left, right, across) = (
            _between(field[:, axis] / self._frame[axis], count)
            for axis, count in enumerate((rows, columns))
        )
        device, side = coc_px.device, self._kernels.shape[-1]
        kernels, centres = self._kernels.to(device), self._centre_px.to(device)
        light = torch.zeros(len(coc_px), 2, side, side, device=device)
        centre = torch.zeros(len(coc_px), 2, device=device)
        for row, down_share in ((top, 1.0 - down), (bottom, down)):
            for column, across_share in ((left, 1.0 - across), (right, across)):
                share = down_share * across_share
                light += share[:, None, None, None] * kernels[row, column]
                centre += share[:, None] * centres[row, column]
        axis = torch.arange(side, device=device) - float(side // 2)
        places = (axis - centre.flip(1)[:, :, None]) / self._coc_px
        return light, places


def _between(place: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The tiles before and after places from -1 to 1, and how far they are to the latter."""
    tile = ((place + 1.0) * (0.5 * count) - 0.5).clamp(0.0, count - 1.0)
    before = tile.floor().long().clamp_max(max(count - 2, 0))
    return before, (before + 1).clamp_max(count - 1), tile - before
