"""Layouts of published dual-pixel sets: how left, right and target files are found.

A layout is a module with a function from file names to pairs, and a row in LAYOUTS.
"""

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pipelines.dataset.layouts import dpd_blur
from pipelines.dataset.layouts.files import Discovery
from pipelines.errors import UserError

Layout = Callable[[Mapping[str, int]], Discovery]
"""File names below the source, with sizes in bytes, to pairs. Empty where it is no such set."""

LAYOUTS: Mapping[str, Layout] = MappingProxyType({"dpd-blur": dpd_blur.discover})


def discover(files: Mapping[str, int], *, layout: str, source: str) -> tuple[str, Discovery]:
    """Return the layout's name and the pairs that it finds; ``auto`` tries each layout.

    source: named in messages. Raises UserError for an unknown layout and where nothing is found.
    """
    if not files:
        raise UserError(f"there are no files at {source}; check the path")
    if layout != "auto" and layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(LAYOUTS)}"
        raise UserError(f"layout '{layout}' is not known; {hint}")
    for name in LAYOUTS if layout == "auto" else (layout,):
        found = LAYOUTS[name](files)
        if found.pairs or found.rejects:
            return name, found
    raise UserError(
        f"no dual-pixel pairs found at {source}; known layouts: {', '.join(LAYOUTS)} "
        "(folders such as train_l/source, train_r/source, train_c/target)"
    )
