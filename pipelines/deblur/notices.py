"""What is noticed about a pair before it is sharpened, one line each."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur.names import side_of
from pipelines.deblur.parallax import Parallax, measure

_EXPOSURE = 1.08
_BLACK = 0.002
"""Of white: a view whose mean is less shows nothing."""
_CLEARLY = 0.3
"""Of the views' difference, so much must be explained by shifts before their direction counts."""
_SHARP_PX = 0.12
_STEREO_PX = 4.0
_STEREO_SMOOTH = 7.0
_UNLIKE = 0.6
_SHIFTED_PX = 0.75
_UNIFORM = 0.05
"""Of their middle: shifts that differ less are those of a crop."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """The lines, and whether the views are to be turned so that parallax is horizontal."""

    lines: tuple[str, ...] = ()
    vertical: bool = False


def look(left: NDArray[Any], right: NDArray[Any], names: tuple[str, str]) -> Noticed:
    """Look at two views, ``(H, W, 3)`` of one size and type, and at their files' names."""
    lines = list(_of_names(names))
    if np.array_equal(left, right):
        lines.append(
            "the views are equal, so nothing tells how blurred they are; give the two views of one "
            "exposure"
        )
        return Noticed(tuple(lines))
    lines += _of_exposure(left, right)
    found = measure(left, right)
    if found is None:
        return Noticed(tuple(lines))
    vertical = _is_vertical(found)
    if vertical:
        lines.append(
            "parallax is vertical: the views are turned for it and the picture is turned back "
            "(near and far may be exchanged, which changes little)"
        )
    lines += _of_fit(found, vertical)
    return Noticed(tuple(lines), vertical)


def _of_names(names: tuple[str, str]) -> list[str]:
    here, there = (side_of(PurePosixPath(name).name) for name in names)
    if (here, there) == ("right", "left"):
        return [
            f"by their names the views are exchanged: {names[0]} is given as the left one; near "
            "and far are then taken for each other"
        ]
    if here is not None and here == there:
        return [f"by their names both are {here} views; a pattern with * needs quotes"]
    return []


def _of_exposure(left: NDArray[Any], right: NDArray[Any]) -> list[str]:
    step = max(1, left.shape[0] // 256)
    one, other = (float(view[::step].mean()) for view in (left, right))
    dark = [value < _BLACK * np.iinfo(left.dtype).max for value in (one, other)]
    if any(dark):
        which = "both views are" if all(dark) else f"the {'left' if dark[0] else 'right'} view is"
        return [f"{which} black; give the two views of one exposure"]
    ratio = max(one, other) / min(one, other)
    if ratio < _EXPOSURE:
        return []
    brighter = "left" if one > other else "right"
    return [f"exposures are unlike: the {brighter} view is {ratio:.2f} times as bright"]


def _of_fit(found: Parallax, vertical: bool) -> list[str]:
    fits = found.unlike < _UNLIKE
    if fits.mean() < 0.5:
        return ["the views show different things; give the two views of one exposure"]
    along, across = (0, 1) if vertical else (1, 0)
    if lines := _of_crop(found.place[fits, across], found.shift[fits, across], found.scale):
        return lines
    shift = np.abs(found.shift[fits, along])
    wide = shift > _STEREO_PX * found.scale
    sharp = (found.smooth[fits] > 2) & (found.smooth[fits] < _STEREO_SMOOTH)
    if wide.sum() >= 4 and wide.mean() > 0.1 and (sharp & wide).sum() > 0.6 * wide.sum():
        return [
            "this is not a dual-pixel pair: sharp detail is shifted by up to "
            f"{shift.max():.0f} px, as between two cameras; it comes out little "
            "changed, or with echoes"
        ]
    if np.quantile(np.abs(found.shift[fits]), 0.9) < _SHARP_PX * found.scale:
        return ["nothing is out of focus by what the views tell: it is sharp already"]
    return []


def _is_vertical(found: Parallax) -> bool:
    """Whether shifts go along the columns, and differ, as those of a crop do not."""
    down, across = found.shift[:, 0], found.shift[:, 1]
    return (
        found.along_columns > _CLEARLY
        and found.along_columns > found.along_rows + 0.15
        and _spread(down) > _spread(across)
        and np.subtract(*np.quantile(down, [0.75, 0.25])) > _UNIFORM * abs(float(np.median(down)))
    )


def _of_crop(place: NDArray[np.float32], across: NDArray[np.float32], scale: float) -> list[str]:
    """Shifts across the parallax, which two views of one exposure have none of."""
    least = _SHIFTED_PX * max(1.0, scale / 2)
    middle = float(np.median(across))
    apart = float(np.subtract(*np.quantile(across, [0.75, 0.25])))
    if abs(middle) > least and apart < abs(middle) / 2:
        return [
            f"the views are shifted by {abs(middle):.1f} px across the parallax: they were cropped "
            "or aligned unlike; save both with the same settings"
        ]
    if np.ptp(place) > 0:
        line = np.polyfit(place, across, 1)
        grown = abs(float(line[0])) * float(np.ptp(place))
        beside = float(np.median(np.abs(across - np.polyval(line, place))))
        if grown > 4 * least and beside < grown / 8:
            return [
                f"the views differ in scale by {abs(line[0]):.1%}: one was corrected or resized "
                "unlike the other; save both with the same settings"
            ]
    return []


def _spread(values: NDArray[np.float32]) -> float:
    return float(np.median(np.abs(values)) + np.quantile(np.abs(values), 0.9))
