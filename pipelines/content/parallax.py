"""How the two views of a photograph lie to each other, measured on small patches.

In a dual-pixel pair detail that is in focus lies at one place in both views; what is out of focus
is shifted along the rows, and blurred over about as many px as it is shifted (k3dn's Sec. 3.1).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG_SIDE_PX = 1536
"""Larger views are measured at this size: seconds would not show more."""
_PATCH_PX = 64
_REACH_PX = 16
"""Largest shift that is looked for, to each side."""
_MOST_PATCHES = 144
_FEWEST_PATCHES = 6
_TEXTURE = 2e-4
"""Least variance of a patch that is looked at, of values in [0, 1]."""
_AS_GOOD = 1.1
"""Squared differences of two shifts, one to the other, that noise alone sets apart."""
_ROUNDING = 2e-6
"""A squared difference of values in [0, 1] that 8 bits make."""
_SAME_PX = 2
"""Shifts that are so near each other are one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallax:
    """What patches of two views say; lengths in px of the views as they came."""

    scale: float
    """Px of the views to one px of what was measured."""
    place: NDArray[np.float32]
    """``(n, 2)``: where each patch lies, down and to the right, from the centre."""
    shift: NDArray[np.float32]
    """``(n, 2)``: how much further down and to the right it lies in the left view."""
    unlike: NDArray[np.float32]
    """``(n,)``: share of the patch's variance that differs where it fits best."""
    along_rows: float
    """Share of the views' difference that shifts along the rows alone explain."""
    along_columns: float
    """Likewise along the columns."""
    smooth: NDArray[np.float32]
    """``(n,)``: how much more values differ over 4 px than over 1 px, squared: up to 16 for what is
    blurred over more than that, some 4 for edges that are sharp."""


def measure(left: NDArray[Any], right: NDArray[Any]) -> Parallax | None:
    """Measure two views ``(H, W, 3)`` of 8 or 16 bit; None where too little is to be seen."""
    one, scale = _grey(left)
    other, _ = _grey(right)
    if min(one.shape) < _PATCH_PX:
        return None
    other = other * (one.mean() / max(float(other.mean()), 1e-6))
    corners = _corners(one)
    found = [_fit(one, other, y, x) for y, x in corners]
    kept = [(corner, fit) for corner, fit in zip(corners, found, strict=True) if fit is not None]
    if len(kept) < _FEWEST_PATCHES:
        return None
    fits = [fit for _, fit in kept]
    before, by_rows, by_columns = (
        float(sum(fit[key] for fit in fits)) for key in ("still", "rows", "columns")
    )
    centre = np.array(one.shape, np.float32) / 2 - _PATCH_PX / 2
    before = max(before, 1e-12)
    by_rows_at_least = by_rows <= by_columns * _AS_GOOD
    shifts = [
        _shift(fit["difference"], fit["still_at"], along_rows=by_rows_at_least) for fit in fits
    ]
    return Parallax(
        scale=scale,
        place=np.asarray((np.array([c for c, _ in kept]) - centre) * scale, np.float32),
        shift=np.array(shifts, np.float32) * np.float32(scale),
        unlike=np.array([fit["unlike"] for fit in fits], np.float32),
        along_rows=1 - by_rows / before,
        along_columns=1 - by_columns / before,
        smooth=np.array([fit["smooth"] for fit in fits], np.float32),
    )


def _grey(view: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Grey values in [0, 1], made smaller where they are more than is looked at."""
    import cv2

    height, width = view.shape[:2]
    scale = max(1.0, max(height, width) / LONG_SIDE_PX)
    if scale > 1:
        size = (round(width / scale), round(height / scale))
        view = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    white = np.iinfo(view.dtype).max if view.dtype.kind == "u" else 1.0
    return view.mean(axis=2, dtype=np.float32) / np.float32(white), scale


def _corners(view: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Where patches begin: spread over the view, a reach away from its rims, the richest."""
    margin, side = _REACH_PX, _PATCH_PX
    height, width = view.shape
    if min(height, width) < side + 2 * margin:
        margin = max((min(height, width) - side) // 2, 0)
    ys = range(margin, height - side - margin + 1, side // 2)
    xs = range(margin, width - side - margin + 1, side // 2)
    variance = {
        (y, x): float(view[y : y + side : 2, x : x + side : 2].var()) for y in ys for x in xs
    }
    good = sorted((c for c, v in variance.items() if v > _TEXTURE), key=lambda c: -variance[c])
    step = max(1, len(good) // (2 * _MOST_PATCHES))
    return good[::step][:_MOST_PATCHES]


def _fit(one: NDArray[np.float32], other: NDArray[np.float32], y: int, x: int) -> Any:
    """How a patch of one view fits into the other: squared differences over all shifts."""
    import cv2

    side, height, width = _PATCH_PX, *one.shape
    up, left = min(_REACH_PX, y), min(_REACH_PX, x)
    down, right = min(_REACH_PX, height - y - side), min(_REACH_PX, width - x - side)
    patch = one[y : y + side, x : x + side]
    area = other[y - up : y + side + down, x - left : x + side + right]
    difference = np.asarray(cv2.matchTemplate(area, patch, cv2.TM_SQDIFF), np.float32)
    difference = difference / np.float32(side * side)
    best, variance = float(difference.min()), float(patch.var())
    return {
        "difference": difference,
        "still_at": (up, left),
        "unlike": best / max(variance, 1e-9),
        "still": float(difference[up, left]),
        "rows": float(difference[up].min()),
        "columns": float(difference[:, left].min()),
        "smooth": _smoothness(patch, best),
    }


def _shift(
    difference: NDArray[np.float32], still: tuple[int, int], *, along_rows: bool
) -> list[float]:
    """Where a patch fits, px. Stripes and tiles fit at many places: then where parallax would shift
    them, as little as can be."""
    at = np.array(np.unravel_index(int(np.argmin(difference)), difference.shape))
    as_good = np.argwhere(difference <= _AS_GOOD * difference.min() + _ROUNDING)
    away = np.abs(as_good - still)
    along, across = (away[:, 1], away[:, 0]) if along_rows else (away[:, 0], away[:, 1])
    likely = as_good[np.lexsort((along, across))[0]]
    if np.abs(likely - at).max() > _SAME_PX:
        at = likely
    y, x = int(at[0]), int(at[1])
    return [
        still[0] - y - _peak_offset(difference[:, x], y),
        still[1] - x - _peak_offset(difference[y], x),
    ]


def _peak_offset(values: NDArray[np.float32], at: int) -> float:
    """Where between samples a parabola through the least one and its neighbours is least."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(v) for v in values[at - 1 : at + 2])
    bend = before - 2 * here + after
    return 0.0 if bend <= 0 else 0.5 * (before - after) / bend


def _smoothness(patch: NDArray[np.float32], noise: float) -> float:
    """Squared differences over 4 px to those over 1 px, along rows.

    noise: squared difference of the two views where they fit, which is what noise adds to both.
    """
    near = float(np.square(patch[:, 1:] - patch[:, :-1]).mean())
    far = float(np.square(patch[:, 4:] - patch[:, :-4]).mean())
    return (far - noise) / max(near - noise, 0.05 * near, 1e-12)
