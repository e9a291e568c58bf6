"""Whether one picture is a copy of another: saved anew, resized, cut by a few hundredths.

A copy that was cut is a part of its original, at a scale of its own: the smaller of two, at each of
some scales, is looked for in the other by ``signature``. Hashes of three middle parts choose who is
compared at all. 112 photographs, cut by up to a twelfth at each side, resized and saved as JPEG,
fit their originals by 0.74 or more, and no two of them each other by more than 0.51.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.content.likeness import nearest_of, perceptual_hash, signature, small_grey

Grey = NDArray[np.float32]

COPY = 0.7
"""Likeness above which one is a copy of the other."""
_SMALLEST_PX = 64
_PARTS = (0.0, 0.04, 0.08)
"""What the three parts leave out at each side, as a share of it."""
_BITS = 20
_SCALES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)
_RIM_PX = 3
_FLAT = 0.3
"""Deviation of a signature below which there is too little to tell by."""


def trace(picture: NDArray[Any]) -> Grey | None:
    """Return what is kept of a picture ``(H, W, 3)`` to find its copies: ``small_grey`` of it.

    None for one below 64 px or without structure, of which nothing can be told.
    """
    if min(picture.shape[:2]) < _SMALLEST_PX:
        return None
    grey = small_grey(picture)
    return grey if min(grey.shape) > 4 * _RIM_PX and signature(grey).std() > _FLAT else None


def copies(ones: Sequence[Grey | None], others: Sequence[Grey | None]) -> list[int]:
    """Return the indices of those ``ones`` of which there is a copy among the ``others``."""
    hashes, owners = _hashes(ones)
    there, theirs = _hashes(others)
    candidates: dict[int, set[int]] = defaultdict(set)
    for i, j in nearest_of(hashes, there, within=_BITS):
        candidates[owners[i]].add(theirs[j])
    return [
        one
        for one, found in sorted(candidates.items())
        if any(_fit(ones[one], others[other]) > COPY for other in sorted(found))
    ]


def _hashes(greys: Sequence[Grey | None]) -> tuple[NDArray[np.uint64], list[int]]:
    """The hashes of all parts, and whose each is."""
    values, owners = [], []
    for index, grey in enumerate(greys):
        if grey is None:
            continue
        for share in _PARTS:
            y, x = (round(share * side) for side in grey.shape)
            part = grey[y : grey.shape[0] - y, x : grey.shape[1] - x]
            values.append(perceptual_hash(np.ascontiguousarray(part)))
            owners.append(index)
    return np.array(values, np.uint64), owners


def _fit(one: Grey | None, other: Grey | None) -> float:
    """The best correlation of one, at any of the scales, with a place in the other, or turned
    round."""
    import cv2

    assert one is not None and other is not None
    best = 0.0
    for part, whole in ((one, other), (other, one)):
        field = signature(whole)
        for scale in _SCALES:
            small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            inner = signature(np.asarray(small, np.float32))[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX]
            if inner.shape[0] <= field.shape[0] and inner.shape[1] <= field.shape[1]:
                found = cv2.matchTemplate(field, np.ascontiguousarray(inner), cv2.TM_CCOEFF_NORMED)
                best = max(best, float(found.max()))
    return best
