"""Layouts of published dual-pixel sets: how left, right and target files are found.

A layout is a module with a function from a file's name to its place in a pair, and a row in
LAYOUTS.
"""

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pipelines.dataset.layouts import dpd_blur
from pipelines.dataset.layouts.assemble import Seen, assemble, place_files
from pipelines.dataset.layouts.files import Discovery, Layout
from pipelines.errors import UserError

_ROWS = (dpd_blur.LAYOUT,)

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ROWS})


def discover(
    files: Mapping[str, int],
    *,
    layout: str,
    source: str,
    offsets: Sequence[int] | None = None,
    fractions: Mapping[str, float] | None = None,
) -> tuple[str, Discovery]:
    """Return the layout's name and the pairs that it finds; ``auto`` looks which one it is.

    files: names below the source, with sizes in bytes. source: named in messages. offsets: allowed
    differences of number between source and target. fractions: val_fraction and test_fraction,
    for sets without splits. Raises UserError for an unknown layout and where nothing is found, more
    than one set, or names that can be read in two ways.
    """
    if not files:
        raise UserError(f"there are no files at {source}; check the path")
    if layout != "auto" and layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(LAYOUTS)}"
        raise UserError(f"layout '{layout}' is not known; {hint}")
    chosen, seen = choose(files, LAYOUTS if layout == "auto" else (layout,), source)
    found = assemble(seen, chosen, source=source, offsets=offsets, fractions=fractions)
    return chosen.name, found


def choose(
    files: Mapping[str, int], names: Sequence[str] | Mapping[str, Layout], source: str
) -> tuple[Layout, Seen]:
    """Return the layout that the files are in. Raises UserError where it is none, or two."""
    views = [(LAYOUTS[name], place_files(files, LAYOUTS[name])) for name in names]
    fitting = [v for v in views if v[1].has("left", "right")] or [
        v for v in views if v[1].has("left") or v[1].has("right")
    ]
    if not fitting:
        raise UserError(
            f"no dual-pixel pairs found at {source}; known layouts: {', '.join(LAYOUTS)}"
        )
    return max(fitting, key=lambda view: len(view[1].placed))
