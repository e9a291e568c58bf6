"""Layouts of published dual-pixel sets: how left, right and target files are found.

A layout is a module with a function from a file's name to its place in a pair, and a row in
LAYOUTS.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

from pipelines.dataset.names import escaped
from pipelines.errors import UserError
from pipelines.ingest.archive import is_archive
from pipelines.ingest.layouts import (
    canon_r6ii,
    ddd_syn,
    dpd_blur,
    google_dual_pixels,
    left_right_sharp,
    pixel4,
    rdpd,
    restormer,
    suffixes,
)
from pipelines.ingest.layouts.assemble import (
    Seen,
    assemble,
    place_files,
    views_of,
    without_place,
)
from pipelines.ingest.layouts.files import Discovery, Layout, Role
from pipelines.ingest.layouts.pattern import pattern_layout

_ROWS = (
    dpd_blur.LAYOUT,
    restormer.LAYOUT,
    restormer.CROPS,
    rdpd.LAYOUT,
    ddd_syn.LAYOUT,
    suffixes.NTIRE,
    suffixes.DPD_DISP,
    canon_r6ii.LAYOUT,
    left_right_sharp.LAYOUT,
    pixel4.LAYOUT,
    google_dual_pixels.LAYOUT,
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ROWS})


def discover(
    files: Mapping[str, int],
    *,
    layout: str,
    source: str,
    offsets: Sequence[int] | None = None,
    fractions: Mapping[str, float] | None = None,
    patterns: Mapping[Role, str] | None = None,
) -> tuple[str, Discovery]:
    """Return the layout's name and the pairs that it finds; ``auto`` looks which one it is.

    files: names below the source, with sizes in bytes. source: named in messages. offsets: allowed
    differences of number between source and target. fractions: val_fraction and test_fraction, for
    sets without splits. patterns: by role, for a layout of the user's own. Raises UserError for an
    unknown layout and where nothing is found, more than one set, or names that can be read in two
    ways.
    """
    if patterns:
        layouts: list[Layout] = [pattern_layout(patterns)]
    elif layout == "auto":
        layouts = list(_ROWS)
    elif layout in LAYOUTS:
        layouts = [LAYOUTS[layout]]
    else:
        near = difflib.get_close_matches(layout, LAYOUTS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(LAYOUTS)}"
        raise UserError(f"layout '{layout}' is not known; {hint}")
    chosen, seen = _choose(files, layouts, source)
    _check_allowed(chosen, source)
    return chosen.name, assemble(
        seen,
        chosen,
        source=source,
        strangers=without_place(files, seen),
        offsets=offsets,
        fractions=fractions or {"val_fraction": 0.1, "test_fraction": 0.1},
    )


def find_views(
    files: Mapping[str, int], *, source: str
) -> tuple[dict[str, tuple[str, str]], dict[str, str], set[str]]:
    """Return the views of each pair by its name, of files without a pair why they have none, and
    all files that have a place in the layout, targets among them.

    As ``discover`` with ``auto``, for who wants no targets and no splits. Raises UserError where no
    layout is found, more than one, or one whose views are none to be looked at.
    """
    chosen, seen = _choose(files, _ROWS, source)
    _check_allowed(chosen, source)
    return *views_of(seen), {file.path for file in seen.placed}


def _check_allowed(layout: Layout, source: str) -> None:
    if layout.refusal is not None:
        raise UserError(f"{source} is a set in the layout {layout.name}: {layout.refusal}")


def _choose(
    files: Mapping[str, int], layouts: Sequence[Layout], source: str
) -> tuple[Layout, Seen]:
    """Return the layout that the files are in: the one that has a place for the most of them."""
    if not files:
        raise UserError(f"there are no files at {source}; check the path")
    views = list(zip(layouts, place_files(files, layouts), strict=True))
    fitting = [v for v in views if v[1].has("left", "right")] or [
        v for v in views if v[1].has("left") or v[1].has("right")
    ]
    if not fitting:
        raise UserError(_nothing_fits(files, views, source))
    best = max(fitting, key=lambda view: len(view[1].placed))
    paths = best[1].paths
    for layout, seen in fitting:
        if not seen.paths <= paths:
            raise UserError(
                f"{source} holds sets in the layouts {best[0].name} ({len(paths)} pictures) and "
                f"{layout.name} ({len(seen.placed)}); name one with layout=, or a folder below"
            )
    return best


def _nothing_fits(
    files: Mapping[str, int], views: Sequence[tuple[Layout, Seen]], source: str
) -> str:
    """Say what was seen, and which layouts come nearest."""
    folders = Counter(
        (str(PurePosixPath(path).parent), PurePosixPath(path).suffix.lower()) for path in files
    )
    seen = ", ".join(
        f"{count} {suffix or 'without suffix'} in {escaped(folder)}/"
        for (folder, suffix), count in folders.most_common(4)
    )
    if (packed := next(filter(is_archive, sorted(files)), None)) is not None:
        return (
            f"no dual-pixel pairs found at {source}: there are {seen}. An archive is read by "
            f"itself: source={source}/{escaped(packed)}"
        )
    near = sorted(views, key=lambda view: -len(view[1].placed))[:2]
    if not near[0][1].placed:  # nothing has a place: by the look of the names
        example = min(files)
        near = sorted(
            views,
            key=lambda view: -difflib.SequenceMatcher(None, example, view[0].form).ratio(),
        )[:2]
    forms = "; ".join(f"{layout.name} is {layout.form}" for layout, _ in near)
    return (
        f"no dual-pixel pairs found at {source}: there are {seen}. The nearest layouts: {forms}. "
        "State your own with left='l/*.png' right='r/*.png' target='t/*.png'"
    )
