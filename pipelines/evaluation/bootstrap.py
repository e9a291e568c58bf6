"""Means over pictures with intervals by scene.

Pictures of one scene are not independent, so scenes are drawn, with all their pictures (a cluster
bootstrap). Differences of two methods are paired before: each picture is compared with itself.

The percentile interval is too narrow for few scenes; it is widened so that it has the width of
Student's t for normal data (T. C. Hesterberg, "What Teachers Should Know About the Bootstrap",
2015, section 5: the expanded percentile interval). Random numbers come from a fixed seed: the
same scores give the same interval.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
FEWEST = 5
"""Fewer scenes have no interval: a resampled mean cannot leave the range of what was seen."""
_SEED = 20230618
_AT_ONCE = 1 << 22
"""Numbers drawn and held at a time."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over pictures."""

    mean: float
    low: float
    """Bounds of the interval; NaN where there are fewer than FEWEST scenes."""
    high: float
    pictures: int
    scenes: int


def estimate(
    values: Sequence[float],
    scenes: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return the mean of values with its two-sided interval.

    scenes: which scene each value belongs to. Raises ValueError without values. Values that are
    not finite give a mean and bounds that are NaN.
    """
    tail = (1 - confidence) / 2
    means, mean, count = _resampled_means(values, scenes, resamples)
    low = high = math.nan
    if means is not None and count >= FEWEST:
        low, high = (_quantile(means, q, count) for q in (tail, 1 - tail))
    return Estimate(mean, low, high, len(values), count)


def lower_bound(
    values: Sequence[float],
    scenes: Sequence[str],
    *,
    confidence: float,
    resamples: int = RESAMPLES,
) -> float:
    """Return what the mean exceeds with a confidence; NaN with fewer than two scenes."""
    means, _, count = _resampled_means(values, scenes, resamples)
    return math.nan if means is None else _quantile(means, 1 - confidence, count)


def _resampled_means(
    values: Sequence[float], scenes: Sequence[str], resamples: int
) -> tuple[NDArray[np.float64] | None, float, int]:
    """The means of drawn scenes, the mean itself, and the number of scenes."""
    if len(values) == 0 or len(values) != len(scenes):
        raise ValueError(f"expected a scene for each value, got {len(values)} and {len(scenes)}")
    numbers = np.asarray(values, np.float64)
    _, owner = np.unique(np.asarray(scenes), return_inverse=True)
    sums, sizes = np.bincount(owner, numbers), np.bincount(owner)
    count = len(sizes)
    if count < 2 or not np.isfinite(numbers).all():
        return None, float(numbers.mean()), count
    means = [times @ sums / (times @ sizes) for times in _drawings(count, resamples)]
    return np.concatenate(means), float(numbers.mean()), count


def _drawings(count: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each scene is drawn, ``(some resamples, count)`` at a time."""
    if resamples * count <= _AT_ONCE:
        yield _drawn(count, resamples, 0)
        return
    step = max(_AT_ONCE // count, 1)
    for start in range(0, resamples, step):
        # Not kept: the next call draws the same again.
        yield _drawn.__wrapped__(count, min(step, resamples - start), start)


@functools.lru_cache(maxsize=4)
def _drawn(count: int, resamples: int, start: int) -> NDArray[np.float64]:
    random = np.random.default_rng((_SEED, start))
    return random.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)


def _quantile(means: NDArray[np.float64], share: float, scenes: int) -> float:
    """A quantile of resampled means, farther out by what few scenes hide."""
    from scipy.special import stdtrit

    t = float(stdtrit(scenes - 1, share))
    wider = NormalDist().cdf(math.sqrt(scenes / (scenes - 1)) * t)
    return float(np.quantile(means, wider))
