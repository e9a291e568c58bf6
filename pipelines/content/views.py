"""What two views show together: whether they are those of one exposure, and along which axis."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.content.findings import Finding
from pipelines.content.likeness import Signature, likeness
from pipelines.content.parallax import Parallax, measure

Axis = Literal["rows", "columns"]

EQUAL = Finding("equal", "the views are equal, so nothing tells how blurred they are", fault=True)

_LIKE = 0.5
_STRUCTURE = 0.3
"""Deviation of a signature below which noise is most of it."""
_SHARPER = 1.4
"""In energy of fine detail. Of 16 real pairs it differs by 1.08 times at most."""
_EXPOSURE = 1.08
_CLEARLY = 0.3
"""Of the views' difference, so much must be explained by shifts before their direction counts."""
_SHARP_PX = 0.12
_STEREO_PX = 4.0
_STEREO_SMOOTH = 7.0
_UNLIKE = 0.6
_SHIFTED_PX = 0.75
_UNIFORM = 0.25
"""Of their middle: shifts that differ less may be those of a crop."""


@dataclass(frozen=True, slots=True)
class Views:
    """What was found of two views."""

    findings: tuple[Finding, ...] = ()
    axis: Axis | None = None
    """Along what parallax runs; None where there is too little of it to tell."""
    parallax: Parallax | None = None
    """None where there is too little to see."""


def look_at_views(left: NDArray[Any], right: NDArray[Any]) -> Views:
    """Look at two views, ``(H, W, 3)`` of one size and type."""
    if np.array_equal(left, right):
        return Views((EQUAL,))
    findings = list(_of_exposure(left, right))
    parallax = measure(left, right)
    if parallax is None:
        return Views(tuple(findings))
    axis = _axis(parallax)
    findings += _of_fit(parallax, axis)
    return Views(tuple(findings), axis, parallax)


def of_signatures(left: Signature, right: Signature) -> list[Finding]:
    """Tell of views of two scenes, or of none, from afar: by their signatures.

    Of 26 clean pairs, blurred by up to 3% of the width, the likeness is 0.80 at least.
    """
    if min(left.shape) < 32:
        return []
    like = likeness(left, right)
    if like >= _LIKE:
        return []
    if min(left.std(), right.std()) > _STRUCTURE:
        text = f"the views show different things (likeness {like:.2f})"
        return [Finding("different", text, like, fault=True)]
    text = f"the views show nothing that they have in common (likeness {like:.2f})"
    return [Finding("flat", text, like)]


def of_sharpness(left: NDArray[Any], right: NDArray[Any]) -> list[Finding]:
    """Tell of a view that is sharper than the other: both are blurred alike in one exposure."""
    one, other = (float(np.square(fine_detail(view)).mean()) for view in (left, right))
    ratio = max(one, other) / max(min(one, other), 1e-12)
    if ratio < _SHARPER:
        return []
    name = "left" if one > other else "right"
    text = (
        f"the {name} view is sharper than the other ({ratio:.1f} times): is it a view of the two?"
    )
    return [Finding("sharpness", text, ratio)]


def fine_detail(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Return differences along the rows over 2 px, of grey in [0, 1]."""
    white = np.iinfo(picture.dtype).max
    grey = picture.mean(axis=2, dtype=np.float32) / np.float32(white)
    return np.asarray(grey[:, 2:] - grey[:, :-2], np.float32)


def _of_exposure(left: NDArray[Any], right: NDArray[Any]) -> list[Finding]:
    step = max(1, left.shape[0] // 256)
    one, other = (float(view[::step].mean()) + 1e-6 for view in (left, right))
    ratio = max(one, other) / min(one, other)
    if ratio < _EXPOSURE:
        return []
    brighter = "left" if one > other else "right"
    text = f"exposures are unlike: the {brighter} view is {ratio:.2f} times as bright"
    return [Finding("exposure", text, ratio)]


def _of_fit(found: Parallax, axis: Axis | None) -> list[Finding]:
    fits = found.unlike < _UNLIKE
    if fits.mean() < 0.5:
        share = float(1 - fits.mean())
        return [Finding("different", "the views show different things", share, fault=True)]
    along, across = (0, 1) if axis == "columns" else (1, 0)
    if crop := _of_crop(found.place[fits, across], found.shift[fits, across], found.scale):
        return crop
    shift = np.abs(found.shift[fits, along])
    wide = shift > _STEREO_PX * found.scale
    sharp = (found.smooth[fits] > 2) & (found.smooth[fits] < _STEREO_SMOOTH)
    if wide.sum() >= 4 and wide.mean() > 0.1 and (sharp & wide).sum() > 0.6 * wide.sum():
        most = float(shift.max())
        text = (
            f"this is not a dual-pixel pair: sharp detail is shifted by up to {most:.0f} px, "
            "as between two cameras"
        )
        return [Finding("stereo", text, most, fault=True)]
    largest = float(np.quantile(np.abs(found.shift[fits]), 0.9))
    if largest < _SHARP_PX * found.scale:
        text = "nothing is out of focus by what the views tell"
        return [Finding("sharp", text, largest)]
    return []


def _axis(found: Parallax) -> Axis | None:
    """Along which axis shifts explain the views' difference, and differ, as a crop's do not."""
    down, across = found.shift[:, 0], found.shift[:, 1]
    if _runs(found.along_columns, found.along_rows, down, across):
        return "columns"
    if _runs(found.along_rows, found.along_columns, across, down):
        return "rows"
    return None


def _runs(
    along: float, beside: float, shift: NDArray[np.float32], other: NDArray[np.float32]
) -> bool:
    return (
        along > _CLEARLY
        and along > beside + 0.15
        and _spread(shift) > _spread(other)
        and np.subtract(*np.quantile(shift, [0.75, 0.25])) > _UNIFORM * abs(float(np.median(shift)))
    )


def _of_crop(
    place: NDArray[np.float32], across: NDArray[np.float32], scale: float
) -> list[Finding]:
    """Shifts across the parallax, which two views of one exposure have none of."""
    least = _SHIFTED_PX * max(1.0, scale / 2)
    middle = float(np.median(across))
    apart = float(np.subtract(*np.quantile(across, [0.75, 0.25])))
    if abs(middle) > least and apart < abs(middle) / 2:
        text = (
            f"the views are shifted by {abs(middle):.1f} px across the parallax: they were cropped "
            "or aligned unlike"
        )
        return [Finding("shifted", text, abs(middle))]
    if np.ptp(place) > 0:
        line = np.polyfit(place, across, 1)
        grown = abs(float(line[0])) * float(np.ptp(place))
        beside = float(np.median(np.abs(across - np.polyval(line, place))))
        if grown > 4 * least and beside < grown / 8:
            text = (
                f"the views differ in scale by {abs(line[0]):.1%}: one was corrected or resized "
                "unlike the other"
            )
            return [Finding("scale", text, abs(float(line[0])))]
    return []


def _spread(values: NDArray[np.float32]) -> float:
    return float(np.median(np.abs(values)) + np.quantile(np.abs(values), 0.9))
