"""Whether the sharp picture of a pair is that of its views."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.content.findings import Finding
from pipelines.content.likeness import Signature, likeness
from pipelines.content.parallax import Parallax, measure
from pipelines.content.views import fine_detail

ANOTHER = 0.5
"""Likeness of a target to its views below which it shows another scene."""
SURE = 0.75
"""Likeness above which it shows the same one."""
_EXPOSURE = 1.25
_BESIDE = 0.004
"""Of the longer side."""
_BESIDE_PX = 3.0
_UNLIKE = 0.6
_FITTING = 0.15
"""Share of the patches."""
_BLURRED_PX = 1.5
_SHARPER = 1.1
_FEWEST = 6


def of_equal_pictures(
    target: NDArray[Any],
    left: NDArray[Any],
    right: NDArray[Any],
    combined: NDArray[Any] | None = None,
) -> list[Finding]:
    """Tell of a target that is one of the views, or their mean."""
    for role, view in (("left", left), ("right", right), ("combined", combined)):
        if view is not None and np.array_equal(target, view):
            return [Finding("target-is-view", f"the target is the {role} view", fault=True)]
    total = left.astype(np.uint32) + right
    if np.abs(2 * target.astype(np.int64) - total).max() <= 1 and not np.array_equal(left, right):
        text = "the target is the mean of the views, as blurred as they are"
        return [Finding("target-is-view", text, fault=True)]
    return []


@dataclass(frozen=True, slots=True)
class Scene:
    """Signatures of what views and target show."""

    views: Signature
    """Of the mean of the two."""
    target: Signature | None


def of_scene(scene: Scene) -> list[Finding]:
    """Tell of a target that shows another scene than the views, or the same one mirrored."""
    if scene.target is None or min(scene.target.shape) < 32 or not _has_structure(scene):
        return []
    like = likeness(scene.target, scene.views)
    if like >= SURE:
        return []
    turned = {
        "mirrored": scene.target[:, ::-1],
        "upside down": scene.target[::-1],
        "turned by half": scene.target[::-1, ::-1],
    }
    for how, picture in turned.items():
        if likeness(np.ascontiguousarray(picture), scene.views) > max(SURE, like):
            return [Finding("target", f"the target is {how} beside its views", like, fault=True)]
    if like < ANOTHER:
        text = f"the target shows another scene than the views (likeness {like:.2f})"
        return [Finding("target", text, like, fault=True)]
    return [Finding("target", f"the target is little like the views (likeness {like:.2f})", like)]


def _has_structure(scene: Scene) -> bool:
    """Whether there is enough contrast for a likeness to say something."""
    return scene.target is not None and min(scene.target.std(), scene.views.std()) > 0.3


def of_exposure(target: NDArray[np.float32], views: NDArray[np.float32]) -> list[Finding]:
    """Tell of a target that is brighter or darker. Both grey in [0, 1], of any size."""
    one, other = float(target.mean()) + 1e-6, float(views.mean()) + 1e-6
    ratio = one / other
    if max(ratio, 1 / ratio) < _EXPOSURE:
        return []
    text = f"exposures are unlike: the target is {ratio:.2f} times as bright as the views"
    return [Finding("target-exposure", text, ratio)]


def of_place(
    target: NDArray[Any], left: NDArray[Any], right: NDArray[Any], views: Parallax | None
) -> list[Finding]:
    """Tell of a target that lies beside its views, and of one that is as blurred as they are."""
    mean = ((left.astype(np.uint32) + right + 1) // 2).astype(left.dtype)
    found = measure(mean, target)
    if found is None:
        return []
    findings = []
    fits = found.unlike < _UNLIKE
    if len(fits) >= 2 * _FEWEST and fits.mean() < _FITTING:
        share = float(fits.mean())
        text = f"only {share:.0%} of the target's detail is found in the views"
        findings.append(Finding("target", text, share))
    elif fits.sum() >= _FEWEST:
        down, across = (float(v) for v in np.median(found.shift[fits], axis=0))
        apart = float(np.hypot(down, across))
        longest = max(target.shape[:2])
        if apart > max(_BESIDE_PX, _BESIDE * longest):
            text = f"the target lies {apart:.0f} px beside the views ({across:+.0f}, {down:+.0f})"
            findings.append(Finding("target-beside", text, apart))
    if (ratio := _sharpness(target, left, right, views)) is not None and ratio < _SHARPER:
        text = f"the target is no sharper than the views where these are blurred ({ratio:.2f})"
        findings.append(Finding("target-blurred", text, ratio))
    return findings


def _sharpness(
    target: NDArray[Any], left: NDArray[Any], right: NDArray[Any], views: Parallax | None
) -> float | None:
    """Return the fine detail of a target to that of its views, where these are shifted apart.

    The views' is the covariance of the two, which their noise has no part in.
    """
    if views is None:
        return None
    blurred = np.flatnonzero(
        (np.abs(views.shift[:, 1]) > _BLURRED_PX * views.scale) & (views.unlike < _UNLIKE)
    )
    if len(blurred) < _FEWEST:
        return None
    centre = np.array(target.shape[:2]) / 2
    ratios = []
    for index in blurred:
        y, x = (int(v) for v in centre + views.place[index])
        half = int(24 * views.scale)
        shift = round(float(views.shift[index, 1]))
        rows = slice(max(y - half, 0), y + half)
        area = slice(max(x - half, 0), x + half)
        moved = slice(max(x - half - shift, 0), max(x + half - shift, 0))
        one, other = fine_detail(left[rows, area]), fine_detail(right[rows, moved])
        if one.shape != other.shape or one.size == 0:
            continue
        both = float((one * other).mean())
        ratios.append(float((fine_detail(target[rows, area]) ** 2).mean()) / max(both, 1e-9))
    return float(np.median(ratios)) if len(ratios) >= _FEWEST else None
