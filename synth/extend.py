"""Smooth continuation of what is known of a picture into where nothing is known (pull-push)."""

import numpy as np


def extend_unknown(planes: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Fill planes where confidence is below 1 from their surroundings.

    planes: float32 (V, C, H, W), V pictures of C planes. confidence: float32 (V, H, W) in [0, 1]:
    1 keeps the value, 0 takes the surroundings', in between mixes. Returns float32 (V, C, H, W);
    0 where nothing is known at all.
    """
    weight = confidence[:, None]
    weighted = np.concatenate([planes * weight, weight], axis=1)
    return np.asarray(_pull_push(weighted)[:, :-1])


def _pull_push(weighted: np.ndarray) -> np.ndarray:
    """weighted (V, C + 1, H, W) is value * weight, then weight.

    Returns value * weight + (1 - weight) * coarser, which for the weight itself is of no use.
    """
    height, width = weighted.shape[-2:]
    weight = weighted[:, -1:]
    if height == 1 and width == 1:
        return np.asarray(weighted / np.maximum(weight, 1e-12))
    if (weight >= 1.0).all():
        return weighted
    # Sums, not means, capped at 1: one known pixel is enough to know its neighbourhood.
    sums = _halve(_halve(weighted, -2), -1)
    sums /= np.maximum(sums[:, -1:], 1.0)
    coarse = _double(_double(_pull_push(sums), height, -2), width, -1)
    coarse *= 1.0 - weight
    coarse += weighted
    return coarse


def _halve(planes: np.ndarray, axis: int) -> np.ndarray:
    """Sum over pairs, over threes that overlap where a side is odd: mirroring commutes with it."""
    even, odd = _every_other(planes, 0, axis), _every_other(planes, 1, axis)
    if planes.shape[axis] % 2 == 0:
        return np.asarray(even + odd)
    sums = even.copy()
    _but_last(sums, axis)[...] += odd
    _but_first(sums, axis)[...] += odd
    return sums


def _double(coarse: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Interpolate linearly back to a length, the inverse of what _halve does to places."""
    shape = list(coarse.shape)
    shape[axis] = length
    fine = np.empty(shape, dtype=coarse.dtype)
    before, after = _but_last(coarse, axis), _but_first(coarse, axis)
    even, odd = _every_other(fine, 0, axis), _every_other(fine, 1, axis)
    if length % 2 == 1:
        even[...] = coarse
        odd[...] = 0.5 * (before + after)
        return fine
    # Places lie a quarter of a coarse pixel off; beyond the ends the last value goes on.
    near, far = np.float32(0.75) * coarse, np.float32(0.25) * coarse
    np.add(_but_first(near, axis), _but_last(far, axis), out=_but_first(even, axis))
    np.add(_but_last(near, axis), _but_first(far, axis), out=_but_last(odd, axis))
    ends = np.moveaxis(fine, axis, 0), np.moveaxis(coarse, axis, 0)
    ends[0][0], ends[0][-1] = ends[1][0], ends[1][-1]
    return fine


def _every_other(planes: np.ndarray, first: int, axis: int) -> np.ndarray:
    return planes[..., first::2, :] if axis == -2 else planes[..., first::2]


def _but_first(planes: np.ndarray, axis: int) -> np.ndarray:
    return planes[..., 1:, :] if axis == -2 else planes[..., 1:]


def _but_last(planes: np.ndarray, axis: int) -> np.ndarray:
    return planes[..., :-1, :] if axis == -2 else planes[..., :-1]
