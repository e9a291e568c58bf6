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


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """How one pair is varied."""

    order: tuple[int, int, int]
    """Which pictures become left, right and target; 0 to 2."""
    mix: np.ndarray
    """(3, 3): channels after by channels before."""
    sign: float
    """What the blur radius is multiplied with; NaN where it is not known any more."""


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
