"""Variations of pairs that ``pipelines.training.augment`` makes too, for batches on any device.

Flips are not among them: they are made of the scene, before the lens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)
_LEFT, _RIGHT, _TARGET = range(3)
_SAME = np.eye(3, dtype=np.float32)
WHITE = 255.0


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """How one pair is varied."""

    order: tuple[int, int, int]
    """Which pictures become left, right and target; 0 to 2."""
    mix: np.ndarray
    """(3, 3): channels after by channels before."""
    sign: float
    """What the blur radius is multiplied with; NaN where it is not known any more."""


PLAIN = Variation((_LEFT, _RIGHT, _TARGET), _SAME, 1.0)
"""As it was made."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of a pair's views, above that of the sensor."""

    strength: float
    """Standard deviation, white is 1."""
    shared: bool
    """Whether neighbouring pixels share it, as after demosaicing."""


def draw_noise(rng: np.random.Generator, most: float) -> Noise:
    """Draw noise for half of the pairs, evenly up to ``most``."""
    strength, shared = rng.random(2)
    return Noise(most * max(2.0 * float(strength) - 1.0, 0.0), bool(shared < 0.5))


def draw_variation(
    rng: np.random.Generator, *, exchange_views: float, recolour: float, same_views: float
) -> Variation:
    """Draw a variation. The probabilities are those of ``TrainConfig``."""
    exchanged, coloured, kind, same = rng.random(4)
    turn = rng.permutation(3)
    order, sign = (
        ((_RIGHT, _LEFT, _TARGET), -1.0)
        if exchanged < exchange_views
        else (
            (_LEFT, _RIGHT, _TARGET),
            1.0,
        )
    )
    if same < same_views:
        sharp = same < same_views / 2
        picture = _TARGET if sharp else order[0]
        order, sign = (picture,) * 3, 0.0 if sharp else float("nan")
    mix = _SAME
    if coloured < recolour:
        mix = np.array([_GREY] * 3, np.float32) if kind < 0.5 else _SAME[turn]
    return Variation(order, mix, sign)


def vary(levels: Tensor, coc_px: Tensor, variations: Sequence[Variation]) -> tuple[Tensor, Tensor]:
    """Vary a batch.

    levels: (B, 3, 3, H, W), left, right and target, whole grey levels. coc_px: (B, H, W). Returns
    both, varied, whole levels again.
    """
    device = levels.device
    order = torch.tensor([v.order for v in variations]).to(device, non_blocking=True)
    pair = torch.arange(len(variations), device=device)[:, None]
    levels = levels[pair, order]
    if any(v.mix is not _SAME for v in variations):
        mix = torch.from_numpy(np.stack([v.mix for v in variations]))
        mix = mix.to(device, non_blocking=True)
        levels = torch.einsum("bcd,bpdhw->bpchw", mix, levels).round_()
    sign = torch.tensor([v.sign for v in variations]).to(device, non_blocking=True)
    return levels, coc_px * sign[:, None, None]


def add_noise(
    levels: Tensor, variations: Sequence[Variation], noise: Sequence[Noise], rng: torch.Generator
) -> Tensor:
    """Add noise to the views of a batch, as ``pipelines.training.augment`` does.

    levels: (B, 3, 3, H, W), varied. rng: of their device. Views that are one picture share one
    noise, and have it in their target too. Returns whole levels again.
    """
    device = levels.device
    strength = torch.tensor([n.strength for n in noise]).to(device, non_blocking=True)
    shared = torch.tensor([n.shared for n in noise]).to(device, non_blocking=True)
    alike = torch.tensor([len(set(v.order)) == 1 for v in variations]).to(device, non_blocking=True)
    strength, shared, alike = (t[:, None, None, None, None] for t in (strength, shared, alike))
    fresh = torch.empty_like(levels).normal_(generator=rng)
    fresh = torch.where(alike, fresh[:, :1], fresh)
    fresh[:, 2:].mul_(alike)  # else the target stays clean
    wide = fresh
    for axis in (-2, -1):
        wide = 2.0 * wide + wide.roll(1, axis) + wide.roll(-1, axis)
    # The root of 4 + 1 + 1, the squared weights, for each axis.
    fresh = torch.where(shared, wide / 6.0, fresh)
    return (levels + WHITE * strength * fresh).round_().clamp_(0.0, WHITE)
