"""Which combinations a search tries: a pure function of its configuration.

Known before the first trial starts, so a search that was cut off goes on with those that are
due, and the same search tries the same combinations on any cluster.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tune.config import FEATURES_PER_WIDTH


@dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """One point of the search."""

    index: int
    """Its place in the plan."""
    lambda_1: float
    """Weight of the reblurring loss (Eq. 18)."""
    num_kernels: int
    """N of Eq. 8, 9."""

    @property
    def width(self) -> int:
        """The network's base width, which gives N."""
        return self.num_kernels // FEATURES_PER_WIDTH


def plan(
    *, trials: int, lambda_1: Sequence[float], num_kernels: Sequence[int], seed: int
) -> tuple[Combination, ...]:
    """Draw the combinations: a Latin hypercube over log lambda_1 and N.

    The range of lambda_1 is cut into ``trials`` equal parts on a logarithmic scale and each
    is drawn from once; each N occurs equally often, give or take one. Few trials then cover
    both axes, which independent draws do not. lambda_1 has four significant digits, so that
    a command line repeats it exactly.
    """
    generator = random.Random(f"{seed}/tune")
    low, high = (math.log(bound) for bound in lambda_1)
    parts = list(range(trials))
    generator.shuffle(parts)
    kernels = sorted(set(num_kernels))
    generator.shuffle(kernels)
    drawn = [kernels[index % len(kernels)] for index in range(trials)]
    combinations = []
    for index, (part, kernel_count) in enumerate(zip(parts, drawn, strict=True)):
        exact = math.exp(low + (high - low) * (part + generator.random()) / trials)
        rounded = float(f"{exact:.4g}")
        combinations.append(
            Combination(
                index=index,
                lambda_1=min(max(rounded, lambda_1[0]), lambda_1[1]),
                num_kernels=kernel_count,
            )
        )
    return tuple(combinations)
