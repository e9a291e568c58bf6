"""What is noticed about a pair before it is sharpened, one line each."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from numpy.typing import NDArray

from pipelines.content.likeness import small_grey
from pipelines.content.picture import of_light
from pipelines.content.views import look_at_views
from pipelines.deblur.names import side_of

_ADVICE = {
    "constant": "; give the two views of one exposure",
    "equal": "; give the two views of one exposure",
    "different": "; give the two views of one exposure",
    "stereo": "; it comes out little changed, or with echoes",
    "shifted": "; save both with the same settings",
    "scale": "; save both with the same settings",
    "sharp": ": it is sharp already",
}
"""What follows from a finding for who wants the picture."""


OTHER_PROFILE = (
    "the views have different colour profiles, so equal numbers mean different colours; save both "
    "with the same settings"
)


@dataclass(frozen=True, slots=True)
class Noticed:
    """The lines, and whether the views are to be turned so that parallax is horizontal."""

    lines: tuple[str, ...] = ()
    vertical: bool = False


def look(left: NDArray[Any], right: NDArray[Any], names: tuple[str, str]) -> Noticed:
    """Look at two views, ``(H, W, 3)`` of one size and type, and at their files' names."""
    lines = [*_of_names(names)]
    views = {"left": left, "right": right}
    light = [f for role, view in views.items() for f in of_light(role, view, small_grey(view))]
    lines += [f.text + _ADVICE.get(f.kind, "") for f in light]
    if any(f.fault for f in light):  # nothing is to be compared
        return Noticed(tuple(lines))
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
