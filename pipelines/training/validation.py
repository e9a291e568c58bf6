"""Validation in training: a few whole pictures of the val splits, shared out to the workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

import k3dn
from k3dn import metrics
from pipelines.dataset.images import Pixels, as_16_bit, encode_image
from pipelines.storage import Location
from pipelines.training.context import Metrics, WorkerContext
from pipelines.training.order import Source
from pipelines.training.plan import RunPlan

PICTURES = "pictures"
SHOWN = 4
"""Pairs that are shown over time, always the same ones."""
_STRIP_PX = 256

Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Held:
    """One held-out pair."""

    source: int
    row: int


def held_out(sources: Sequence[Source], most: int) -> list[Held]:
    """Choose up to ``most`` pairs: in turns from each source, evenly over its rows."""
    shares = [0] * len(sources)
    while sum(shares) < most and any(n < s.rows for n, s in zip(shares, sources, strict=True)):
        for i, source in enumerate(sources):
            if shares[i] < source.rows and sum(shares) < most:
                shares[i] += 1
    return [
        Held(i, k * source.rows // shares[i])
        for i, source in enumerate(sources)
        for k in range(shares[i])
    ]


class HeldOutPairs(Protocol):
    """The held-out pairs of a run."""

    count: int

    def pairs(self, numbers: Sequence[int]) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
        """Yield left, right and target of some of the pairs, by number from 0."""
        ...


class VersionPairs:
    """Held-out pairs of dataset versions."""

    def __init__(self, plan: RunPlan) -> None:
        from pipelines.dataset.version import open_version

        self._pairs = held_out(plan.val_sources, plan.config.max_val_pairs)
        self.count = len(self._pairs)
        self._versions = (
            [open_version(plan.root, source.reference) for source in plan.val_sources]
            if self._pairs
            else []
        )

    def pairs(self, numbers: Sequence[int]) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
        """Read them."""
        from pipelines.training.reader import read_training_pair

        for number in numbers:
            held = self._pairs[number]
            _, pair = read_training_pair(self._versions[held.source], held.row, "val")
            yield pair.left, pair.right, pair.target


def held_out_pairs(plan: RunPlan) -> HeldOutPairs:
    """Return the held-out pairs of a run, read or made as its training pairs are."""
    if plan.makes_pairs:
        from pipelines.training.live.source import LiveHeldOut

        return LiveHeldOut(plan)
    return VersionPairs(plan)


class Validation:
    """The held-out pairs of a run and what a network makes of them."""

    def __init__(self, plan: RunPlan, context: WorkerContext) -> None:
        self._context = context
        self._precision = plan.config.val_precision
        self._pairs = held_out_pairs(plan)

    def measure(self, network: nn.Module) -> tuple[Metrics, list[Pixels]]:
        """Return means over the pictures, equal on all workers, and strips of some.

        ``val_psnr``, ``val_ssim``, ``val_mae``, and ``val_psnr_input`` of the mean of the views;
        empty where there are no pairs. A strip, of the first ``SHOWN`` pairs whoever validates
        them, shows input, restored, target.
        """
        strips: dict[int, Pixels] = {}
        mine: list[Metrics] = []
        rank, world_size = self._context.rank, self._context.world_size
        training = network.training
        restorer = k3dn.Restorer(network, precision=self._precision)
        numbers = range(rank, self._pairs.count, world_size)
        for number, pictures in zip(numbers, self._pairs.pairs(numbers), strict=True):
            left, right, target = (_as_float(p) for p in pictures)
            restored = np.asarray(restorer(left, right), np.float32)
            mean = 0.5 * (left + right)
            mine.append(
                {
                    "val_psnr": metrics.psnr(restored, target),
                    "val_ssim": metrics.ssim(restored, target),
                    "val_mae": metrics.mae(restored, target),
                    "val_psnr_input": metrics.psnr(mean, target),
                }
            )
            if number < SHOWN:
                strips[number] = _strip((mean, restored, target))
        network.train(training)
        gathered = self._context.gather((mine, strips))
        everybody = [row for rows, _ in gathered for row in rows]
        shown = {number: strip for _, found in gathered for number, strip in found.items()}
        if not everybody:
            return {}, []
        # By pair, not by worker: the sum must not depend on how many workers there are.
        order = sorted(everybody, key=lambda row: tuple(sorted(row.items())))
        means = {key: float(np.mean([row[key] for row in order])) for key in order[0]}
        return means, [shown[number] for number in sorted(shown)]


def _as_float(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> Picture:
    return as_16_bit(picture).astype(np.float32) / np.float32(65535.0)


def _strip(pictures: tuple[Picture, ...]) -> Pixels:
    height, width = pictures[0].shape[:2]
    y, x = max(0, (height - _STRIP_PX) // 2), max(0, (width - _STRIP_PX) // 2)
    cut = [picture[y : y + _STRIP_PX, x : x + _STRIP_PX] for picture in pictures]
    return np.rint(np.clip(np.concatenate(cut, axis=1), 0, 1) * 255).astype(np.uint8)


def write_strips(run: Location, step: int, strips: Sequence[Pixels]) -> None:
    """Keep the strips of a step, one below the other."""
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    picture = encode_image(np.concatenate(padded))
    run.child(PICTURES, f"step-{step:08d}.png").write_bytes(picture)
