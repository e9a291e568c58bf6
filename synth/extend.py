"""Smooth continuation of what is known of a picture into where nothing is known (pull-push)."""

import numpy as np
import torch
from torch.nn import functional


def extend_unknown(planes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Fill planes where confidence is below 1 from their surroundings.

    planes: float32 (V, C, H, W), V pictures of C planes. confidence: float32 (V, H, W) in [0, 1]:
    1 keeps the value, 0 takes the surroundings', in between mixes. Returns float32 (V, C, H, W);
    0 where nothing is known at all.
    """
    weight = torch.from_numpy(np.ascontiguousarray(confidence, dtype=np.float32))[:, None]
    values = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))
    return _pull_push(values * weight, weight).numpy()


def _pull_push(weighted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """weighted (V, C, H, W) is value * weight. Returns value * weight + (1 - weight) * coarser."""
    height, width = weight.shape[-2:]
    if height == 1 and width == 1:
        return weighted / weight.clamp_min(1e-12)
    if bool((weight >= 1.0).all()):
        return weighted
    # Sums, not means, capped at 1: one known pixel is enough to know its neighbourhood.
    sums = _halve(torch.cat([weighted, weight], dim=1))
    sums = sums / sums[:, -1:].clamp_min(1.0)
    coarse = _pull_push(sums[:, :-1], sums[:, -1:])
    return weighted + (1.0 - weight) * _double(coarse, height, width)


def _halve(planes: torch.Tensor) -> torch.Tensor:
    """Sum over blocks of 2, of 3 that overlap where a side is odd: mirroring commutes with it."""
    odd = [length % 2 for length in planes.shape[-2:]]
    return functional.avg_pool2d(
        planes, [2 + o for o in odd], stride=2, padding=odd, divisor_override=1
    )


def _double(coarse: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Interpolate back to (height, width), the inverse of what _halve does to places."""
    rows = functional.interpolate(
        coarse, size=(height, coarse.shape[-1]), mode="bilinear", align_corners=height % 2 == 1
    )
    return functional.interpolate(
        rows, size=(height, width), mode="bilinear", align_corners=width % 2 == 1
    )
