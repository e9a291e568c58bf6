"""Pixels on depth edges hold light of two surfaces: taking it apart before either is blurred.

In an antialiased picture the outline of a foreground runs through pixels, and each of them has but
one depth. Blurred as a whole at that depth, its light makes a bright or dark ring around a sharp
object before a blurred background, which no camera shows. So such a pixel is split into two
fragments: a share of the surface in front, a share of the surface behind.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_EDGE_PX = 1.0  # neighbours whose blur radii differ by more lie on two surfaces
_LEAST_SHARE = 0.02  # smaller shares are left where they are
_LEAST_CONTRAST = 1e-4  # squared difference in light below which there is nothing to take apart
_BEYOND = 0.2  # a mixture may lie this far beyond its two colours, as a share of their distance
_BESIDE = 0.3  # and so far beside their line, squared
_MIXED_WEIGHT = 1e-3  # a mixed pixel says this little of the colour of its surface


@dataclass(frozen=True, slots=True)
class Fragments:
    """Pieces of pixels, each of one depth. The shares of one pixel sum to 1.

    First one piece of each pixel, in their order, then at most one more of some.
    """

    pixel: np.ndarray
    """int64 (M,): index into the flattened picture."""
    coc_px: np.ndarray
    """float64 (M,): signed blur radius."""
    share: np.ndarray
    """float64 (M,): part of the pixel's area, in [0, 1]."""
    light: np.ndarray
    """float32 (3, M): colour of the piece, linear light, not weighted by its share."""


def whole_pixels(linear_image: np.ndarray, coc_px: np.ndarray) -> Fragments:
    """Each pixel as one piece of its own depth. linear_image: (H, W, 3), coc_px: (H, W)."""
    count = coc_px.size
    return Fragments(
        np.arange(count),
        coc_px.astype(np.float64).ravel(),
        np.ones(count),
        np.ascontiguousarray(linear_image.reshape(count, 3).T, dtype=np.float32),
    )


def separate_edges(linear_image: np.ndarray, coc_px: np.ndarray) -> Fragments:
    """Split the pixels on depth edges in two; the others stay whole.

    The share is where a pixel's colour lies between the means of the unmixed pixels nearby, in
    front and behind; it stays on the side of one half that the pixel's own depth says. A pixel
    whose colour is no mixture of the two, such as a light of its own, stays whole. The two pieces
    make up the pixel's light again, in colours found nearby: where that takes a smaller share of
    the other surface, it is smaller.
    """
    whole = whole_pixels(linear_image, coc_px)
    near_most, far_most = _extremes(coc_px, np.maximum), _extremes(coc_px, np.minimum)
    mixed = near_most - far_most > _EDGE_PX
    pixel = np.flatnonzero(mixed)
    if pixel.size == 0:
        return whole
    near_coc, far_coc = near_most.ravel()[pixel], far_most.ravel()[pixel]
    middle = 0.5 * (near_coc + far_coc)
    in_front = whole.coc_px[pixel] > middle

    # One neighbour at a time: arrays of all 25 would leave the cache.
    unmixed = np.where(mixed.ravel(), _MIXED_WEIGHT, 1.0)
    own = whole.light.take(pixel, axis=1)
    lowest, highest = own.copy(), own.copy()
    light_sums, weight_sums = np.zeros((2, *own.shape)), np.zeros((2, pixel.size))
    for around in _neighbours(coc_px.shape, pixel):
        colours = whole.light.take(around, axis=1)
        np.minimum(lowest, colours, out=lowest)
        np.maximum(highest, colours, out=highest)
        before = whole.coc_px.take(around) > middle
        for side, belongs in enumerate((before, ~before)):
            weight = unmixed.take(around) * belongs
            light_sums[side] += colours * weight
            weight_sums[side] += weight
    front, back = light_sums / weight_sums[:, None]
    contrast = ((front - back) ** 2).sum(axis=0)
    cover = ((own - back) * (front - back)).sum(axis=0) / np.maximum(contrast, _LEAST_CONTRAST)
    beside = ((own - back - cover * (front - back)) ** 2).sum(axis=0)
    mixture = (np.abs(cover - 0.5) <= 0.5 + _BEYOND) & (beside <= _BESIDE * contrast)
    cover = np.where(in_front, np.clip(cover, 0.5, 1.0), np.clip(cover, 0.0, 0.5))
    other = np.where(in_front, back, front)
    other_share = np.minimum(
        np.where(in_front, 1.0 - cover, cover), _fitting(own, other, lowest, highest)
    )
    other_share[~mixture | (other_share < _LEAST_SHARE) | (contrast < _LEAST_CONTRAST)] = 0.0
    rest = (own - other_share * other) / (1.0 - other_share)
    light, share = whole.light.copy(), whole.share.copy()
    light[:, pixel] = np.clip(rest, lowest, highest)  # of rounding alone
    share[pixel] = 1.0 - other_share
    split = other_share > 0.0
    return Fragments(
        np.concatenate([whole.pixel, pixel[split]]),
        np.concatenate([whole.coc_px, np.where(in_front, far_coc, near_coc)[split]]),
        np.concatenate([share, other_share[split]]),
        np.concatenate([light, other[:, split]], axis=1, dtype=np.float32),
    )


def _fitting(
    own: np.ndarray, other: np.ndarray, lowest: np.ndarray, highest: np.ndarray
) -> np.ndarray:
    """The greatest share of another colour in a pixel whose rest is a colour found nearby.

    All (3, K). (own - s other) / (1 - s) stays between lowest and highest in every channel.
    """
    bound = np.where(other < own, highest, lowest)
    room, distance = np.abs(bound - own), np.abs(bound - other)
    share = np.divide(room, distance, out=np.ones_like(distance), where=distance > room)
    return np.asarray(share.min(axis=0))


def _extremes(coc_px: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """Maximum or minimum over 3 x 3 pixels."""
    padded = np.pad(coc_px, 1, mode="edge")
    rows = choose(choose(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(choose(choose(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]))


def _neighbours(size: tuple[int, ...], pixel: np.ndarray) -> Iterator[np.ndarray]:
    """Flat indices (K,) of each of the 5 x 5 pixels around, cut off at the borders."""
    row, column = np.divmod(pixel, size[1])
    columns = [np.clip(column + step, 0, size[1] - 1) for step in range(-2, 3)]
    for step in range(-2, 3):
        start = np.clip(row + step, 0, size[0] - 1) * size[1]
        yield from (start + across for across in columns)
