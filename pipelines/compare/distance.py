"""How far apart the values of two datasets are, as one number.

The Wasserstein distance (the mean way that values would have to be moved to make one distribution
of the other) over the most that it can be for values as spread as these, twice their mean distance
from the median of both. So it has no unit and no bins and sees differences of place, spread and
shape alike: 0 is equal, 1 is no overlap; normal distributions that differ by one standard deviation
are 0.56 apart.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_SHARES = (np.arange(200) + 0.5) / 200.0
_DRAWS = 100


def distance(first: Values, second: Values) -> float:
    """Return the distance of two samples, each (n,) and not empty: 0 to 1."""
    one, other = np.quantile(first, _SHARES), np.quantile(second, _SHARES)
    moved = float(np.abs(one - other).mean())
    if moved == 0.0:
        return 0.0
    both = np.concatenate([one, other])
    return moved / (2.0 * float(np.abs(both - np.median(both)).mean()))


def chance(first: Sequence[Values], second: Sequence[Values], seed: int) -> float:
    """Return which distance two sets of pairs of one kind would exceed one time in twenty.

    first, second: the values of each pair. Pairs, not values, are shuffled, as the patches of one
    picture are alike. NaN where there are fewer than four pairs.
    """
    pairs = [values for values in (*first, *second) if len(values)]
    here = sum(len(values) > 0 for values in first)
    if here < 2 or len(pairs) - here < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_DRAWS):
        order = rng.permutation(len(pairs))
        one, other = ([pairs[i] for i in part] for part in (order[:here], order[here:]))
        drawn.append(distance(np.concatenate(one), np.concatenate(other)))
    return float(np.quantile(drawn, 0.95))
