"""How far each patch is blurred, and where its views have gone: a fit of target to views.

The combined picture is taken to be target * (a D + b B + p x D + q y D) + offset: D an even disc of
the radius, B one that is bright at the rim (a, b >= 0), the slopes a small shift beside the target.
The radius is the one at which this comes nearest to it. A view is then taken to be target *
(g U + p x U + q y U) + offset with U = a D + b B: the slopes tell where its centroid lies, exactly
for U with a ramp across it and, for any aperture, as the coarse structure of the picture says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from pipelines.compare.apertures import Light, bowl, disc, project, transfer

SIDE_PX = 80
MARGIN_PX = 20
"""What is fitted is the middle of a patch; around it lies what is blurred into it."""
INNER_PX = SIDE_PX - 2 * MARGIN_PX
LARGEST_PX = 16.0
_SMALLEST_PX = 0.25
_STEP = 1.07

_MOST_MOVES, _LEAST_MOVE_PX, _MOST_MOVE_PX = 3, 0.3, 2.0
_CHUNK = 2  # patches at once: larger tensors are mapped again each time, which costs more


@dataclass(frozen=True, slots=True)
class Blur:
    """Fits of N patches, all (N,) float64."""

    radius_px: Tensor
    """Radius of the blur disc, not negative."""
    rim: Tensor
    """Share of the light that is in B, 0 to 1."""
    disparity_px: Tensor
    """x_L - x_R, the distance of the views' centroids."""
    vertical_px: Tensor
    """y_L - y_R, which a dual-pixel sensor does not have."""
    shift_px: Tensor
    """(N, 2): y and x of the combined picture's centroid beside the target."""
    residual: Tensor
    """Root mean square of what the fit of the combined picture leaves, in light."""
    contrast: Tensor
    """Standard deviation of the combined picture."""
    radius_error: Tensor
    """Standard error of log(radius), by the residual and the curvature at the best radius."""


@cache
def radii_px() -> Tensor:
    """The radii (J,) that are tried, float64."""
    count = math.ceil(math.log(LARGEST_PX / _SMALLEST_PX, _STEP)) + 1
    return _SMALLEST_PX * _STEP ** torch.arange(count, dtype=torch.float64)


@cache
def _bank() -> tuple[Tensor, Tensor]:
    """What the target is convolved with: D, B, x D, x B, y D, y B, where D and B have unit sum.

    Returns transfer functions (J, 6, side, side // 2 + 1), and the moments (J, 2) of x D and x B:
    by how many pixels D + x D lies beside D.
    """
    radii = radii_px()
    pixels = torch.arange(-MARGIN_PX, MARGIN_PX + 1, dtype=torch.float64)
    even, sloped, moments = [], [], []
    for light in (disc, bowl):
        kernel = project(light, radii, MARGIN_PX)
        energy = kernel.sum((1, 2), keepdim=True)
        slope = project(_times_x(light), radii, MARGIN_PX) / energy
        even.append(kernel / energy)
        sloped.append(slope)
        moments.append((slope * pixels).sum((1, 2)))
    kernels = [*even, *sloped, *(slope.transpose(1, 2) for slope in sloped)]
    return transfer(torch.stack(kernels, 1), SIDE_PX), torch.stack(moments, 1)


def _times_x(light: Light) -> Light:
    return lambda x, y: light(x, y) * x


def inner(patches: Tensor) -> Tensor:
    """The middle of patches (..., side, side) that is fitted."""
    return patches[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def moved_spectrum(patches: Tensor, shift_px: Tensor) -> Tensor:
    """Return spectra of patches (N, side, side), less their means, moved by (N, 2) px, y and x."""
    side = patches.shape[1]
    turn_y = torch.fft.fftfreq(side)[:, None] * shift_px[:, 0, None, None]
    turn_x = torch.fft.rfftfreq(side) * shift_px[:, 1, None, None]
    spectra = torch.fft.rfft2(patches - patches.mean((1, 2), keepdim=True))
    return spectra * torch.exp(-2j * math.pi * (turn_y + turn_x)).to(spectra.dtype)


def fit_blur(target: Tensor, combined: Tensor, left: Tensor, right: Tensor) -> Blur:
    """Fit N patches.

    All (N, SIDE_PX, SIDE_PX) float32, linear light, at one place of the picture. A target that lies
    beside the views by more than slopes can tell is moved by what was found, and fitted again.
    """
    pictures = (target, combined, left, right)
    shift = torch.zeros(len(target), 2, dtype=torch.float64)
    gram = _grams(pictures, shift)
    for _ in range(_MOST_MOVES):
        found = _solve(gram).shift_px
        beside = (found.norm(dim=1) > _LEAST_MOVE_PX).nonzero()[:, 0]
        if not len(beside):
            break
        shift[beside] += found[beside].clamp(-_MOST_MOVE_PX, _MOST_MOVE_PX)
        gram[beside] = _grams([picture[beside] for picture in pictures], shift[beside])
    blur = _solve(gram)
    return replace(blur, shift_px=shift + blur.shift_px)


def _grams(pictures: Sequence[Tensor], shift: Tensor) -> Tensor:
    parts = zip(*(each.split(_CHUNK) for each in (*pictures, shift)), strict=True)
    return torch.cat([_gram(*part) for part in parts])


def _gram(target: Tensor, combined: Tensor, left: Tensor, right: Tensor, shift: Tensor) -> Tensor:
    """Inner products (n, J, 9, 9) of the six columns and the three views, means taken off."""
    spectrum = moved_spectrum(target, shift)[:, None, None]
    blurred = inner(torch.fft.irfft2(spectrum * _bank()[0], s=target.shape[1:]))
    columns = blurred.flatten(3)
    columns = columns - columns.mean(3, keepdim=True)
    seen = torch.stack([inner(view).flatten(1) for view in (combined, left, right)], 1)
    seen = (seen - seen.mean(2, keepdim=True))[:, None].expand(-1, columns.shape[1], -1, -1)
    both = torch.cat([columns, seen], 2)
    return (both @ both.transpose(2, 3)).to(torch.float64)


def _solve(gram: Tensor) -> Blur:
    pixels = INNER_PX**2
    even, left_over = _fit_combined(gram)
    left_over = left_over / pixels
    best = left_over[:, 1:-1].argmin(1) + 1
    rows = torch.arange(len(gram))
    before, at, after = (left_over[rows, best + step] for step in (-1, 0, 1))
    curvature = (before - 2.0 * at + after).clamp(min=1e-12)
    step = (0.5 * (before - after) / curvature).clamp(-1.0, 1.0)
    lowest = (at - 0.5 * curvature * step**2).clamp(min=0.0)
    share = even[rows, best] / even[rows, best].sum(1, keepdim=True)
    combined, left, right = _centroids(gram[rows, best], share, _bank()[1][best]).unbind(1)
    return Blur(
        radius_px=radii_px()[best] * _STEP**step,
        rim=share[:, 1],
        disparity_px=left[:, 0] - right[:, 0],
        vertical_px=left[:, 1] - right[:, 1],
        shift_px=combined.flip(1),
        residual=lowest.sqrt(),
        contrast=(gram[rows, best, 6, 6] / pixels).sqrt(),
        # chi squared, N left_over / variance, is one more a standard error away
        radius_error=math.log(_STEP) * (2.0 * lowest / (pixels * curvature)).sqrt(),
    )


def _fit_combined(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of the combined picture in D, B >= 0 and the slopes x D, y D.

    Returns (n, J, 2) weights of D and B, and (n, J) sums of squares that are left.
    """
    best = torch.zeros(*gram.shape[:2], 2, dtype=gram.dtype)
    least = torch.full(gram.shape[:2], torch.inf, dtype=gram.dtype)
    for columns in ([0, 1, 2, 4], [0, 2, 4], [1, 3, 5]):
        found, left_over = _least_squares(gram, columns, view=6)
        weights = torch.zeros_like(best)
        even = [column for column in columns if column < 2]
        weights[..., even] = found[..., : len(even)]
        better = (left_over < least) & (weights >= 0.0).all(-1)
        least = torch.where(better, left_over, least)
        best = torch.where(better[..., None], weights, best)
    return best, least


def _centroids(gram: Tensor, share: Tensor, moments: Tensor) -> Tensor:
    """Where combined, left and right (n, 3, 2: x, y) lie beside the target, in px.

    gram: (n, 9, 9). share: (n, 2) of D and B in U. moments: (n, 2) of their slopes.
    """
    mix = torch.zeros(len(gram), 6, 9, dtype=gram.dtype)
    for row in range(3):  # U, x U, y U, then the views as they are
        mix[:, row, 2 * row : 2 * row + 2] = share
        mix[:, 3 + row, 6 + row] = 1.0
    mixed = mix @ gram @ mix.transpose(1, 2)
    moment = (share * moments).sum(1, keepdim=True)
    found = [_least_squares(mixed, [0, 1, 2], view)[0] for view in (3, 4, 5)]
    return torch.stack([weights[:, 1:] / weights[:, :1] * moment for weights in found], 1)


def _least_squares(gram: Tensor, columns: list[int], view: int) -> tuple[Tensor, Tensor]:
    """Weights (..., len(columns)) of columns that make a view, and sums of squares (...) left."""
    part, right_side = gram[..., columns, :][..., columns], gram[..., columns, view]
    # Columns of slopes are small at small radii: to one scale, and a grain that keeps it regular.
    scale = part.diagonal(dim1=-2, dim2=-1).clamp(min=1e-30).rsqrt()
    part = part * scale[..., None] * scale[..., None, :]
    part = part + 1e-7 * torch.eye(len(columns), dtype=gram.dtype)
    found = torch.linalg.solve(part, right_side * scale) * scale
    return found, gram[..., view, view] - (found * right_side).sum(-1)
