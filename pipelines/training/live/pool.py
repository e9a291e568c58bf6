"""Pairs that were made, kept on the device, from each of which several patches are cut.

A pair takes a GPU several times as long to make as a patch of it to be trained on. Which pairs are
there at a step, which of them patches are cut from, and where, are functions of the run's seed and
the step: a run that goes on makes the pairs of its pool again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipelines.training.live.vary import Variation, draw_variation
from synth.randomness import generator

AT_ONCE = 64
"""Pairs that are made together; those of a batch on a GPU share levels of radius."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolSize:
    """How many pairs there are, and how many come with a step."""

    pairs: int
    """That the pool holds at most, a multiple of `AT_ONCE`."""
    side_px: int
    """Height and width of a pair."""
    per_step: float
    """New pairs with each step."""

    def made(self, step: int) -> int:
        """Return how many pairs were made before the patches of a step are cut."""
        return AT_ONCE * (2 + int((step + 1) * self.per_step) // AT_ONCE)

    def kept(self, step: int) -> range:
        """Return the positions of the pairs that the patches of a step are cut from."""
        made = self.made(step)
        return range(max(0, made - self.pairs), made)


def pool_size(*, pairs: int, side_px: int, repeat: float, patch_px: int, batch: int) -> PoolSize:
    """Return a size by which each pixel of a pair is trained on ``repeat`` times on the average."""
    rounded = max(2, -(-pairs // AT_ONCE)) * AT_ONCE
    per_step = batch * patch_px**2 / (side_px**2 * repeat)
    return PoolSize(pairs=rounded, side_px=side_px, per_step=per_step)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One patch of a step."""

    position: int
    """Of its pair."""
    top: int
    left: int
    variation: Variation


def draw_cuts(
    size: PoolSize,
    step: int,
    count: int,
    patch_px: int,
    *,
    seed: int,
    exchange_views: float,
    recolour: float,
    same_views: float,
) -> list[Cut]:
    """Draw the patches of a step."""
    rng = generator(seed, f"live train step {step} cuts")
    kept, most = size.kept(step), size.side_px - patch_px + 1
    return [
        Cut(
            int(rng.integers(kept.start, kept.stop)),
            int(rng.integers(most)),
            int(rng.integers(most)),
            draw_variation(
                rng, exchange_views=exchange_views, recolour=recolour, same_views=same_views
            ),
        )
        for _ in range(count)
    ]


class Pool:
    """The pairs of a pool, on a device: 11 bytes a pixel."""

    def __init__(self, size: PoolSize, device: torch.device) -> None:
        side = size.side_px
        self._size = size
        self._levels = torch.empty(size.pairs, 3, 3, side, side, dtype=torch.uint8, device=device)
        self._coc_px = torch.empty(size.pairs, side, side, dtype=torch.float16, device=device)
        self._names = [""] * size.pairs

    def put(
        self, positions: Sequence[int], levels: Tensor, coc_px: Tensor, names: list[str]
    ) -> None:
        """Keep pairs, in place of those that are `PoolSize.pairs` positions older.

        levels: (B, 3, 3, H, W), left, right and target, whole grey levels up to 255. coc_px:
        (B, H, W).
        """
        places = [position % self._size.pairs for position in positions]
        at = torch.tensor(places).to(self._levels.device, non_blocking=True)
        self._levels[at] = levels.to(torch.uint8)
        self._coc_px[at] = coc_px.half()
        for place, name in zip(places, names, strict=True):
            self._names[place] = name

    def cut(self, cuts: Sequence[Cut], patch_px: int) -> tuple[Tensor, Tensor]:
        """Return the levels (B, 3, 3, P, P), float32, and the radii (B, P, P) of patches."""
        device = self._levels.device
        numbers = np.array([(c.position % self._size.pairs, c.top, c.left) for c in cuts])
        pair, top, left = torch.from_numpy(numbers).to(device, non_blocking=True).unbind(1)
        along = torch.arange(patch_px, device=device)
        rows, columns = (top[:, None] + along)[:, :, None], (left[:, None] + along)[:, None]
        levels = self._levels.movedim((1, 2), (3, 4))[pair[:, None, None], rows, columns]
        coc_px = self._coc_px[pair[:, None, None], rows, columns]
        return levels.movedim((3, 4), (1, 2)).float(), coc_px.float()

    def names(self, cuts: Sequence[Cut]) -> list[str]:
        """Return which pairs patches are of."""
        return [self._names[cut.position % self._size.pairs] for cut in cuts]
