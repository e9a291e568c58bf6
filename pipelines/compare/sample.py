"""The pairs of a dataset version that are measured, and what came out."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.compare.config import CompareConfig
from pipelines.compare.measure import Measured, Pictures, measure
from pipelines.compare.quantities import QUANTITIES
from pipelines.dataset.record import Pair
from pipelines.dataset.version import DatasetVersion
from pipelines.errors import UserError
from pipelines.progress import progress

FEWEST_PATCHES = 20
_TRIES = 2  # a pair without a target gives its place to another


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What was measured of one dataset version."""

    reference: str
    """name@version."""
    pairs: tuple[Measured, ...]
    skipped: int
    """Pairs without a target that were drawn."""

    def of(self, name: str) -> list[NDArray[np.float64]]:
        """Return the values of a quantity, pair by pair."""
        return [pair.values[name] for pair in self.pairs if name in pair.values]

    def all_of(self, name: str) -> NDArray[np.float64]:
        """Return the values of a quantity (n,)."""
        return np.concatenate([np.zeros(0), *self.of(name)])

    def left_over(self, family: str) -> NDArray[np.float64]:
        """Return what a kernel family's fits leave (n,), white is 1."""
        parts = [pair.left_over[family] for pair in self.pairs if pair.left_over]
        return np.concatenate([np.zeros(0), *parts])


def take_sample(version: DatasetVersion, config: CompareConfig) -> Sample:
    """Measure pairs of a version.

    Raises UserError where there is no pair, no target, or too little texture.
    """
    places = [(split, row) for split in config.splits for row in range(version.rows(split))]
    if not places:
        raise UserError(f"{version.reference} has no {' or '.join(config.splits)} pairs")
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(len(places))[: _TRIES * config.pairs]
    skipped, measured = 0, []
    wanted = min(config.pairs, len(order))
    pairs = (version.read_pair(*places[number]) for number in order)
    for pair in progress(
        _with_target(pairs, wanted), total=wanted, label=version.reference, unit="pairs"
    ):
        if pair is None:
            skipped += 1
            continue
        measured.append(_measure(pair, config.seed, -(-config.patches // wanted)))
    if not measured:
        raise UserError(
            f"{version.reference} has no target: blur is told by comparing views with it"
        )
    sample = Sample(reference=version.reference, pairs=tuple(measured), skipped=skipped)
    usable = len(sample.all_of("radius_px"))
    if usable < FEWEST_PATCHES:
        raise UserError(
            f"{version.reference}: {usable} of the 80 px patches of {len(measured)} pairs can be "
            f"measured, {FEWEST_PATCHES} are needed; they take texture and one depth: "
            "give more pairs=, patches=, or larger pictures"
        )
    return sample


def _with_target(pairs: Iterator[Pair], wanted: int) -> Iterator[Pair | None]:
    """Yield pairs until so many of them have a target; None for one that has none."""
    for pair in pairs:
        if pair.target is None:
            yield None
            continue
        yield pair
        wanted -= 1
        if not wanted:
            return


def _measure(pair: Pair, seed: int, most_patches: int) -> Measured:
    assert pair.target is not None
    digest = hashlib.sha256(pair.pair_id.encode()).digest()
    measured = measure(
        Pictures(
            left=pair.left,
            right=pair.right,
            target=pair.target,
            combined=pair.combined,
            coc=pair.coc,
        ),
        np.random.default_rng([seed, *digest[:8]]),
        most_patches,
    )
    unknown = set(measured.values) - set(QUANTITIES)
    if unknown:
        raise KeyError(f"no row in QUANTITIES: {sorted(unknown)}")
    return measured
