"""Shading between the views: each half of the photodiodes sees the field a little unlike."""

import numpy as np
import torch
from torch import Tensor

TERMS = ((0, 1), (1, 0), (0, 2), (1, 1), (0, 3))
"""Powers of y and x of the polynomial; most go from left to right, as the diodes are divided."""


def draw_shading(rng: np.random.Generator, strongest: float) -> tuple[float, ...]:
    """Coefficients of a smooth shading over the frame, one for each of `TERMS`.

    strongest: the largest excess of the left view's light over the right one's in the frame.
    """
    coefficients = rng.uniform(-1.0, 1.0, len(TERMS)) * (1.0, 0.3, 0.5, 0.3, 0.5)
    y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, 17),) * 2, indexing="ij")
    field = sum(c * y**j * x**i for c, (j, i) in zip(coefficients, TERMS, strict=True))
    return tuple(float(c) for c in coefficients * (strongest / np.abs(field).max()))


def shading(coefficients: tuple[float, ...], y: Tensor, x: Tensor) -> Tensor:
    """Factors on the light of the left and the right view, (2, H, W), 1 in their mean.

    y: (H,), x: (W,), places in the frame, its middle 0, its borders -1 and 1.
    """
    excess = torch.zeros(len(y), len(x), device=x.device)
    for coefficient, (j, i) in zip(coefficients, TERMS, strict=True):
        excess = excess + coefficient * torch.outer(y**j, x**i)
    return torch.stack([1.0 + 0.5 * excess, 1.0 - 0.5 * excess])
