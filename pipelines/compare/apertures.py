"""Apertures by formula, and their pictures on the pixel grid: what blurs are fitted with.

Not taken from ``synth``: what measures the synthesiser must not share its errors.
An aperture is the light that a view takes from each place of it, x to the right and y down in units
of the blur radius, for a point nearer than focus. A point's picture is that, scaled by the radius
and put on pixels by a tent two pixels wide: the mean of a linearly interpolated picture.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

Light = Callable[[Tensor, Tensor], Tensor]

_CELLS = 128
_EXTENT = 1.25  # soft rims reach beyond the radius


def disc(x: Tensor, y: Tensor) -> Tensor:
    """Even light inside the radius."""
    softness = 2.0 * _EXTENT / _CELLS  # a cell: stands for the part that the rim cuts off
    return torch.sigmoid((1.0 - torch.hypot(x, y)) * 4.0 / softness)


def bowl(x: Tensor, y: Tensor) -> Tensor:
    """A disc that is dark in the middle and bright at the rim, by the fourth power."""
    return disc(x, y) * (x**2 + y**2).square()


def _butterworth(x: Tensor, y: Tensor) -> Tensor:
    # Abuolaim et al. (ICCV 2021), order 1, cut-off 1.0, beta 0.6, with the ramp and the soft edge
    # of synth's family: the best of the simple families on four Canon scenes.
    def rise(squared: Tensor | float) -> Tensor | float:
        return squared / 4.0 / (1.0 + squared / 4.0)

    squared = x**2 + y**2
    edge = 0.5 * (1.0 - torch.tanh((squared.sqrt() - 1.0) / 0.06))
    return edge * (0.6 + 0.4 * rise(squared) / rise(2.0)) * (1.0 + 0.86 * x).clamp(min=0.0)


def _ramp(slope: float) -> Light:
    return lambda x, y: disc(x, y) * (1.0 + slope * x)


def _translating_disc(x: Tensor, y: Tensor) -> Tensor:
    # Punnappurath et al. (ICCP 2020) with a travel of one radius: the chord to the left of x.
    return disc(x, y) * (x + (1.0 - y**2).clamp(min=0.0).sqrt()).clamp(0.0, 1.0)


def _half(x: Tensor, y: Tensor) -> Tensor:
    return disc(x, y) * (x > 0.0)


def _window(x: Tensor, y: Tensor) -> Tensor:
    # Pan et al. (CVPR 2021), centred: one half of a square aperture.
    return ((x > 0.0) & (x < 1.0) & (y.abs() < 1.0)).to(x.dtype)


FAMILIES: Mapping[str, Light] = MappingProxyType(
    {
        "butterworth": _butterworth,
        "ramp": _ramp(0.9),
        "translating_disk": _translating_disc,
        "half_disc": _half,
        "integral": _window,
    }
)
"""Simple families of half-apertures; the right view is the left one's mirror image."""


def project(light: Light, radii_px: Tensor, half_px: int) -> Tensor:
    """Put an aperture on pixels at each radius.

    radii_px: (J,). half_px: pixels -half to half are there, which must hold the light.
    Returns (J, 2 half + 1, 2 half + 1) float64, unnormalised, of equal energy at all radii.
    """
    middles = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) * (2.0 * _EXTENT / _CELLS) - _EXTENT
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    pixels = torch.arange(-half_px, half_px + 1, dtype=torch.float64)
    places = radii_px.to(torch.float64)[:, None, None] * middles
    share = (1.0 - (pixels[:, None] - places).abs()).clamp(min=0.0)
    return share @ light(x, y) @ share.transpose(1, 2)


def transfer(kernels: Tensor, side_px: int) -> Tensor:
    """Return transfer functions (..., side, side // 2 + 1) of kernels (..., k, k), k odd."""
    half = kernels.shape[-1] // 2
    room = torch.zeros(*kernels.shape[:-2], side_px, side_px, dtype=kernels.dtype)
    room[..., : 2 * half + 1, : 2 * half + 1] = kernels
    return torch.fft.rfft2(room.roll((-half, -half), (-2, -1))).to(torch.complex64)
