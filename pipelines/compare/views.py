"""How the light of an exposure is shared between its two views."""

import numpy as np

from pipelines.compare.light import Floats

_CLIPPED = 0.98
_ROWS, _COLUMNS = 8, 16
_DARKEST = 1e-3


def view_ratio(left: Floats, right: Floats) -> float:
    """Return by how many per cent the left view has more light than the right one.

    left, right: (H, W) luminance. Places where one of them is clipped are left out.
    """
    seen = (left < _CLIPPED) & (right < _CLIPPED)
    return 100.0 * (float(left[seen].mean()) / max(float(right[seen].mean()), _DARKEST) - 1.0)


def shading(left: Floats, right: Floats) -> float:
    """Return by how many per cent left over right rises from the left border to the right one.

    left, right: (H, W) luminance. A plane through the log ratio of 8 x 16 blocks, by least squares
    that give less weight to blocks which parallax has changed.
    """
    ratios, places = [], []
    for y, rows in enumerate(np.array_split(np.arange(left.shape[0]), _ROWS)):
        for x, columns in enumerate(np.array_split(np.arange(left.shape[1]), _COLUMNS)):
            block = np.ix_(rows, columns)
            one, other = float(left[block].mean()), float(right[block].mean())
            if min(one, other) > _DARKEST and max(left[block].max(), right[block].max()) < _CLIPPED:
                ratios.append(np.log(one / other))
                places.append((1.0, (y + 0.5) / _ROWS - 0.5, (x + 0.5) / _COLUMNS - 0.5))
    if len(ratios) < _COLUMNS:
        return float("nan")
    ratio, place = np.array(ratios), np.array(places)
    weight = np.ones_like(ratio)
    for _ in range(10):
        root = np.sqrt(weight)
        plane = np.linalg.lstsq(place * root[:, None], ratio * root, rcond=None)[0]
        apart = np.abs(ratio - place @ plane)
        scale = 1.4826 * float(np.median(apart)) + 1e-6
        weight = 1.0 / (1.0 + (apart / (2.0 * scale)) ** 2)
    return float(100.0 * np.expm1(plane[2]))
