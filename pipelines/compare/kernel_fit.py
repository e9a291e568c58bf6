"""How well kernels of simple families make the views of the target.

For each family the target is blurred with its left and right kernel at radii around the one that
was found; gain and offset of each view are free, and the side of focus is the one that fits better.
What is left over tells whose kernels a camera's are like.
"""

import torch
from torch import Tensor

from pipelines.compare.apertures import FAMILIES, project, transfer
from pipelines.compare.blur import MARGIN_PX, SIDE_PX, inner, moved_spectrum, radii_px

_REACH = 6  # radii tried on either side of the one found: from two thirds to half as much again
_CHUNK = 4


def residuals(
    target: Tensor, left: Tensor, right: Tensor, radius_px: Tensor, shift_px: Tensor
) -> dict[str, Tensor]:
    """Return by family what its best fit leaves of both views: (N,) root mean squares, in light.

    target, left, right: (N, SIDE_PX, SIDE_PX) float32, linear light. radius_px: (N,) and
    shift_px: (N, 2), as `fit_blur` found them.
    """
    nearest = (radius_px[:, None] - radii_px()).abs().argmin(1)
    last = len(radii_px()) - 1
    tried = (nearest[:, None] + torch.arange(-_REACH, _REACH + 1)).clamp(0, last)
    found = {}
    for name, bank in _banks().items():
        parts = zip(
            *(each.split(_CHUNK) for each in (target, left, right, shift_px, tried)), strict=True
        )
        found[name] = torch.cat([_left_over(bank, *part) for part in parts])
    return found


def _banks() -> dict[str, Tensor]:
    """Transfer functions (J, 2, side, side // 2 + 1) of each family's left and right kernel."""
    banks = {}
    for name, light in FAMILIES.items():
        left = project(light, radii_px(), MARGIN_PX)
        left = left / left.sum((1, 2), keepdim=True)
        banks[name] = transfer(torch.stack([left, left.flip(2)], 1), SIDE_PX)
    return banks


def _left_over(
    bank: Tensor, target: Tensor, left: Tensor, right: Tensor, shift: Tensor, tried: Tensor
) -> Tensor:
    spectrum = moved_spectrum(target, shift)[:, None, None]
    blurred = inner(torch.fft.irfft2(spectrum * bank[tried], s=target.shape[1:])).flatten(3)
    blurred = blurred - blurred.mean(3, keepdim=True)
    views = torch.stack([inner(left), inner(right)], 1).flatten(2)
    views = (views - views.mean(2, keepdim=True))[:, None]
    power = blurred.square().sum(3)  # (n, J, 2): of the left and right kernel's picture
    total = views.square().sum(3)  # (n, 1, 2)
    sides = []
    for pictures in (views, views.flip(2)):  # nearer than focus, farther
        match = (blurred * pictures).sum(3).clamp(min=0.0)  # a negative gain is not a picture
        sides.append((total - match.square() / power.clamp(min=1e-12)).sum(2))
    best = torch.minimum(*sides).to(torch.float64)
    return (_lowest(best).clamp(min=0.0) / (2 * views.shape[3])).sqrt()


def _lowest(values: Tensor) -> Tensor:
    """The least of values (n, J), by a parabola through it and its neighbours."""
    at = values[:, 1:-1].argmin(1) + 1
    rows = torch.arange(len(values))
    before, middle, after = (values[rows, at + step] for step in (-1, 0, 1))
    curvature = before - 2.0 * middle + after
    step = torch.where(curvature > 0.0, 0.5 * (before - after) / curvature, 0.0).clamp(-1.0, 1.0)
    return middle - 0.5 * curvature.clamp(min=0.0) * step**2
