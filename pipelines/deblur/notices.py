"""What is noticed about a pair before it is sharpened, one line each."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.content.views import look_at_views
from pipelines.deblur.names import side_of

_ADVICE = {
    "equal": "; give the two views of one exposure",
    "different": "; give the two views of one exposure",
    "stereo": "; it comes out little changed, or with echoes",
    "shifted": "; save both with the same settings",
    "scale": "; save both with the same settings",
    "sharp": ": it is sharp already",
}
"""What follows from a finding for who wants the picture."""
_BLACK = 0.002
"""Of white: a view whose mean is less shows nothing."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """The lines, and whether the views are to be turned so that parallax is horizontal."""

    lines: tuple[str, ...] = ()
    vertical: bool = False


def look(left: NDArray[Any], right: NDArray[Any], names: tuple[str, str]) -> Noticed:
    """Look at two views, ``(H, W, 3)`` of one size and type, and at their files' names."""
    lines = [*_of_names(names)]
    black = [side for side, view in (("left", left), ("right", right)) if _is_black(view)]
    if black:
        which = "both views are" if len(black) == 2 else f"the {black[0]} view is"
        return Noticed((*lines, f"{which} black; give the two views of one exposure"))
    found = look_at_views(left, right)
    vertical = found.axis == "columns"
    lines += [f.text for f in found.findings if f.kind == "exposure"]
    if vertical:
        lines.append(
            "parallax is vertical: the views are turned for it and the picture is turned back "
            "(near and far may be exchanged, which changes little)"
        )
    lines += [f.text + _ADVICE[f.kind] for f in found.findings if f.kind != "exposure"]
    return Noticed(tuple(lines), vertical)


def _is_black(view: NDArray[Any]) -> bool:
    return float(view[:: max(1, len(view) // 256)].mean()) < _BLACK * np.iinfo(view.dtype).max


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
