"""Views of a flat scene through kernels of `synth`, by a plain sum over taps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from pipelines.compare.blur import SIDE_PX
from synth.psf import PSF_FAMILIES

Floats = np.ndarray


def texture(height: int, width: int, seed: int = 0) -> Floats:
    """Grey light (H, W) with structure of all sizes, as photographs have it, and hard edges."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width))
    for size in (0.6, 1.2, 2.5, 5.0, 10.0, 20.0):
        part = gaussian_filter(rng.standard_normal((height, width)), size)
        picture += part / part.std()
    for _ in range(height * width // 1500):
        y, x = rng.integers(height), rng.integers(width)
        picture[y : y + rng.integers(4, 30), x : x + rng.integers(4, 30)] += rng.normal(0.0, 2.0)
    return np.clip(0.4 + 0.05 * picture, 0.02, 0.95)


def blurred(picture: Floats, kernel: Floats) -> Floats:
    """Convolve (H, W) with a kernel, tap by tap; the border is continued by its mirror image."""
    half = kernel.shape[0] // 2
    room = np.pad(picture, half, mode="reflect")
    height, width = picture.shape
    total = np.zeros_like(picture)
    for y, x in np.ndindex(*kernel.shape):
        total += (
            kernel[y, x]
            * room[2 * half - y : 2 * half - y + height, 2 * half - x : 2 * half - x + width]
        )
    return total


@dataclass(frozen=True)
class Truth:
    """What patches were made with."""

    patches: list[torch.Tensor]
    """target, combined, left, right: (N, SIDE_PX, SIDE_PX) float32."""
    disparity_px: float
    """Distance of the kernels' centroids."""


def patches_of(
    kernels: tuple[Floats, Floats],
    *,
    noise: float = 0.004,
    shift: tuple[int, int] = (0, 0),
    seed: int = 0,
) -> Truth:
    """Patches of one scene under one pair of kernels. shift: the views lie so far beside it."""
    rng = np.random.default_rng(seed)
    sharp = texture(210, 280, seed)
    left, right = (np.roll(blurred(sharp, kernel), shift, (0, 1)) for kernel in kernels)
    views = [sharp, 0.5 * (left + right), left, right]
    # The combined picture has the noise of both.
    noisy = [view + noise * rng.standard_normal(sharp.shape) for view in views]
    corners = [(y, x) for y in (24, 104) for x in (24, 74, 124, 174)]
    columns = np.arange(kernels[0].shape[1]) - kernels[0].shape[1] // 2
    return Truth(
        [
            torch.tensor(
                np.stack([v[y : y + SIDE_PX, x : x + SIDE_PX] for y, x in corners]),
                dtype=torch.float32,
            )
            for v in noisy
        ],
        float(((kernels[0] - kernels[1]) * columns).sum()),
    )


def kernels_of(family: str, coc_px: float, **parameters: Any) -> tuple[Floats, Floats]:
    """Left and right kernel of a family of synth."""
    known = PSF_FAMILIES[family]
    return known(coc_px, known.parameters(**parameters))


def half_discs(radius_px: float, cells: int = 12) -> tuple[Floats, Floats]:
    """Left and right half of a disc on pixels, near, counted on a fine grid."""
    reach = int(np.ceil(radius_px)) + 1
    count = (2 * reach + 1) * cells
    axis = (np.arange(count) + 0.5) / cells - (reach + 0.5)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    fine = ((np.hypot(x, y) < radius_px) & (x > 0.0)).astype(float)
    left = fine.reshape(2 * reach + 1, cells, 2 * reach + 1, cells).sum((1, 3))
    left /= left.sum()
    return left, left[:, ::-1].copy()
