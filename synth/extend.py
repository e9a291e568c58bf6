"""Smooth continuation of what is known of a picture into where nothing is known (pull-push)."""

import numpy as np

_BLOCK = 64  # even: blocks without holes are left as they are


def extend_unknown(weighted: np.ndarray, confidence: np.ndarray) -> None:
    """Fill planes where confidence is below 1 from their surroundings, in place.

    weighted: float32 (V, C, H, W), V pictures of C planes, values times confidence. confidence:
    float32 (V, H, W) in [0, 1]: 1 keeps the value, 0 takes the surroundings', in between mixes.
    Planes become 0 where nothing is known at all.
    """
    height, width = confidence.shape[1:]
    if height == 1 and width == 1:
        weighted /= np.maximum(confidence[:, None], 1e-12)
        return
    least = confidence.min(axis=0)
    rows, columns = (np.arange(0, length, _BLOCK) for length in (height, width))
    holes = np.minimum.reduceat(np.minimum.reduceat(least, rows, axis=0), columns, axis=1) < 1.0
    if not holes.any():
        return
    # Sums, not means, capped at 1: one known pixel is enough to know its neighbourhood.
    coarse, weight = (_halve(_halve(planes, -2), -1) for planes in (weighted, confidence))
    capped = np.maximum(weight, 1.0)
    coarse /= capped[:, None]
    weight /= capped
    extend_unknown(coarse, weight)
    for row in np.flatnonzero(holes.any(axis=1)):
        strip = _double(coarse, height, rows[row], -2)
        for column in columns[holes[row]]:
            block = np.s_[..., rows[row] : rows[row] + _BLOCK, column : column + _BLOCK]
            finer = _double(strip, width, column, -1)
            finer *= 1.0 - confidence[block][:, None]
            weighted[block] += finer


def _halve(planes: np.ndarray, axis: int) -> np.ndarray:
    """Sum over pairs, over threes that overlap where a side is odd: mirroring commutes with it."""
    even, odd = _along(planes, axis, 0, None, 2), _along(planes, axis, 1, None, 2)
    if planes.shape[axis] % 2 == 0:
        return np.asarray(even + odd)
    sums = even.copy()
    _along(sums, axis, 0, -1)[...] += odd
    _along(sums, axis, 1)[...] += odd
    return sums


def _double(coarse: np.ndarray, length: int, start: int, axis: int) -> np.ndarray:
    """Interpolate linearly back to a length, the inverse of what _halve does to places.

    Returns the block from `start`, which is even, on.
    """
    stop = min(start + _BLOCK, length)
    first, last = start // 2, (stop + 1) // 2
    shape = list(coarse.shape)
    shape[axis] = stop - start
    fine = np.empty(shape, dtype=coarse.dtype)
    even, odd = _along(fine, axis, 0, None, 2), _along(fine, axis, 1, None, 2)
    count = coarse.shape[axis]
    here = _along(coarse, axis, first, last)
    if length % 2 == 1:
        even[...] = here
        # The last place of an odd length has no neighbour after it.
        following = _along(coarse, axis, first + 1, first + 1 + odd.shape[axis])
        np.add(_along(here, axis, 0, odd.shape[axis]), following, out=odd)
        odd *= 0.5
        return fine
    # Places lie a quarter of a coarse pixel off; beyond the ends the last value goes on.
    around = coarse.take(np.clip(np.arange(first - 1, last + 1), 0, count - 1), axis=axis)
    around *= np.float32(0.25)
    main = np.float32(0.75) * here
    np.add(main, _along(around, axis, 0, -2), out=even)
    np.add(main, _along(around, axis, 2), out=odd)
    return fine


def _along(
    planes: np.ndarray, axis: int, start: int, stop: int | None = None, step: int = 1
) -> np.ndarray:
    """A slice along one of the last two axes."""
    part = slice(start, stop, step)
    return planes[..., part, :] if axis == -2 else planes[..., part]
