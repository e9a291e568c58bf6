"""Smooth continuation of what is known of a picture into where nothing is known (pull-push)."""

from collections.abc import Sequence

import numpy as np

from synth.cells import Part, cells_of, grown, parts_of


def extend_unknown(
    weighted: np.ndarray,
    confidence: np.ndarray,
    *,
    look_at: Sequence[Part] | None = None,
    fill: np.ndarray | None = None,
) -> None:
    """Fill planes where confidence is below 1 from their surroundings, in place.

    weighted: float32 (V, C, H, W), V pictures of C planes, values times confidence. confidence:
    float32 (V, H, W) in [0, 1]: 1 keeps the value, 0 takes the surroundings', in between mixes.
    look_at: parts of the picture, without overlap, that begin at even places; all else counts as
    known to be 0, but for the pixels just before a part where a side is odd: they are read.
    fill: bool, `cells_of((H, W))`, the cells to fill; the others may be filled, too.
    Planes become 0 where nothing is known at all.
    """
    size = height, width = confidence.shape[1:]
    if height == 1 and width == 1:
        weighted /= np.maximum(confidence[:, None], 1e-12)
        return
    fill = np.ones(cells_of(size), dtype=bool) if fill is None else fill
    holes = [part for part in parts_of(fill, size) if (confidence[..., *part] < 1.0).any()]
    if not holes:
        return
    if look_at is None:
        coarse, weight = _coarser(weighted, confidence, (slice(0, height), slice(0, width)))
    else:
        half = (height + 1) // 2, (width + 1) // 2
        coarse = np.zeros((*weighted.shape[:2], *half), dtype=np.float32)
        weight = np.ones((len(confidence), *half), dtype=np.float32)
        for part in look_at:
            rows, columns = (slice(place.start // 2, (place.stop + 1) // 2) for place in part)
            coarse[..., rows, columns], weight[..., rows, columns] = _coarser(
                weighted, confidence, part
            )
    extend_unknown(coarse, weight, fill=_around_at_half_size(fill))
    for rows, columns in holes:
        finer = _double(coarse, size, (rows, columns))
        finer *= 1.0 - confidence[:, None, rows, columns]
        weighted[..., rows, columns] += finer


def _around_at_half_size(cells: np.ndarray) -> np.ndarray:
    """The cells of the picture at half its size that these are interpolated from."""
    rows, columns = (np.arange(0, length, 2) for length in cells.shape)
    across = np.logical_or.reduceat(cells, rows, axis=0)
    return grown(np.logical_or.reduceat(across, columns, axis=1), 1)


def _coarser(
    weighted: np.ndarray, confidence: np.ndarray, part: Part
) -> tuple[np.ndarray, np.ndarray]:
    """Planes and confidence of a part of the picture at half its size."""
    # Sums, not means, capped at 1: one known pixel is enough to know its neighbourhood.
    coarse, weight = _halve(weighted, part), _halve(confidence, part)
    capped = np.maximum(weight, 1.0)
    coarse /= capped[:, None]
    weight /= capped
    return coarse, weight


def _halve(planes: np.ndarray, part: Part) -> np.ndarray:
    """Sum over 2 x 2 pixels of a part, over threes that overlap along a side that is odd.

    So mirroring commutes with it.
    """
    rows, columns = part
    odd_height, odd_width = (length % 2 == 1 for length in planes.shape[-2:])
    before = min(columns.start, int(odd_width))
    planes = planes[..., columns.start - before : columns.stop]
    planes = _sum_neighbours(planes, -2, rows.start, rows.stop, odd_length=odd_height)
    return _sum_neighbours(planes, -1, before, planes.shape[-1], odd_length=odd_width)


def _sum_neighbours(
    planes: np.ndarray, axis: int, start: int, stop: int, *, odd_length: bool
) -> np.ndarray:
    """Sums of each second place from start to stop and the place after it.

    Where the whole has an odd length, the place before it, too.
    """
    here, after = (_along(planes, axis, first, stop, 2) for first in (start, start + 1))
    if not odd_length:
        return np.asarray(here + after)
    before = _along(planes, axis, start - 1 if start else 1, stop - 1, 2)
    sums = here.copy()
    _along(sums, axis, 0, after.shape[axis])[...] += after
    _along(sums, axis, sums.shape[axis] - before.shape[axis])[...] += before
    return sums


def _double(coarse: np.ndarray, size: tuple[int, int], part: Part) -> np.ndarray:
    """Interpolate linearly back to a part of a picture of (H, W), undoing what _halve does."""
    rows, columns = part
    near = slice(max(columns.start // 2 - 1, 0), (columns.stop + 1) // 2 + 1)
    inside = slice(columns.start - 2 * near.start, columns.stop - 2 * near.start)
    fine = _interpolate(coarse[..., near], -2, rows, odd_length=size[0] % 2 == 1)
    return _interpolate(fine, -1, inside, odd_length=size[1] % 2 == 1)


def _interpolate(coarse: np.ndarray, axis: int, part: slice, *, odd_length: bool) -> np.ndarray:
    """Places part.start to part.stop between those of every second one."""
    first, last = part.start // 2, (part.stop + 1) // 2
    shape = list(coarse.shape)
    shape[axis] = part.stop - part.start
    fine = np.empty(shape, dtype=coarse.dtype)
    even, odd = _along(fine, axis, 0, None, 2), _along(fine, axis, 1, None, 2)
    here = _along(coarse, axis, first, last)
    if odd_length:
        even[...] = here
        # The last place of an odd length has no neighbour after it.
        following = _along(coarse, axis, first + 1, first + 1 + odd.shape[axis])
        np.add(_along(here, axis, 0, odd.shape[axis]), following, out=odd)
        odd *= 0.5
        return fine
    # Places lie a quarter of a coarse pixel off; beyond the ends the last value goes on.
    places = np.clip(np.arange(first - 1, last + 1), 0, coarse.shape[axis] - 1)
    around = coarse.take(places, axis=axis)
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
