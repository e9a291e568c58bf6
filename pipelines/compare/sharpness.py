"""How sharp a picture is: the width of its strongest edges, and its finest detail."""

import numpy as np

from pipelines.compare.light import Floats

_EDGES = 300
_REACH_PX = 8
_STEEPER = 3.0
_LEAST_STEP = 0.02


def edge_width_px(light: Floats) -> float:
    """Return the median 10 to 90% width of the strongest upright edges, in px.

    light: (H, W) luminance. An edge is a place where the picture is steepest along its row and
    three times less steep along its column; its two ends are where it stops to rise or fall, at
    most 8 px away. A step from one pixel to the next has 0.8 px. NaN without an edge.
    """
    slope_x = np.zeros_like(light)
    slope_y = np.zeros_like(light)
    slope_x[:, 1:-1] = light[:, 2:] - light[:, :-2]
    slope_y[1:-1] = light[2:] - light[:-2]
    steep = np.abs(slope_x)
    peak = (steep > _STEEPER * np.abs(slope_y)) & (steep > _LEAST_STEP)
    peak[:, 1:-1] &= (steep[:, 1:-1] >= steep[:, :-2]) & (steep[:, 1:-1] > steep[:, 2:])
    peak[:, : _REACH_PX + 1] = peak[:, -_REACH_PX - 1 :] = False
    rows, columns = np.nonzero(peak)
    strongest = np.argsort(-steep[rows, columns], kind="stable")[:_EDGES]
    rows, columns = rows[strongest], columns[strongest]
    if not len(rows):
        return float("nan")
    around = np.arange(-_REACH_PX, _REACH_PX + 1)
    profiles = light[rows[:, None], columns[:, None] + around].astype(np.float64)
    profiles *= np.sign(slope_x[rows, columns])[:, None]  # all rise now
    return float(np.median([_width(profile) for profile in profiles]))


def _width(profile: np.ndarray) -> float:
    """10 to 90% width of a profile that rises in its middle."""
    rises = np.diff(profile) > 0.0
    first = last = _REACH_PX
    while first > 0 and rises[first - 1]:
        first -= 1
    while last < len(rises) and rises[last]:
        last += 1
    run = profile[first : last + 1]
    levels = run[0] + np.array([0.1, 0.9]) * (run[-1] - run[0])
    low, high = np.interp(levels, run, np.arange(len(run)))
    return float(high - low)


def detail(light: Floats) -> float:
    """Return the power of steps over one pixel as a share of that over two.

    light: (H, W). 1 for noise from pixel to pixel, about a half for a sharp photograph, a quarter
    for a picture without detail of this size.
    """
    one = np.square(np.diff(light, axis=1)).mean() + np.square(np.diff(light, axis=0)).mean()
    two = np.square(light[:, 2:] - light[:, :-2]).mean() + np.square(light[2:] - light[:-2]).mean()
    return float(one / two) if two > 0.0 else float("nan")
