"""Layouts of published dual-pixel sets: how left, right and target files are found.

A layout is a module with a function from a folder to what places its files, and a row in
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
from pipelines.ingest.layouts.assemble import assemble, views_of
from pipelines.ingest.layouts.files import Discovery, Layout, Place, Role
from pipelines.ingest.layouts.pattern import pattern_layout
from pipelines.ingest.layouts.placing import Survey, placed, survey
from pipelines.listing import Listing

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
    listing = Listing.of(files)
    chosen = _choose(listing.paths, layouts, source)
    _check_allowed(chosen, source)
    return chosen.name, assemble(
        placed(listing.paths, chosen),
        listing,
        chosen,
        source=source,
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
    paths = sorted(files)
    chosen = _choose(paths, _ROWS, source)
    _check_allowed(chosen, source)
    places = [(path, p) for _, path, p in placed(paths, chosen) if isinstance(p, Place)]
    return *views_of(places), {path for path, _ in places}


def _check_allowed(layout: Layout, source: str) -> None:
    if layout.refusal is not None:
        raise UserError(f"{source} is a set in the layout {layout.name}: {layout.refusal}")


def _choose(files: Sequence[str], layouts: Sequence[Layout], source: str) -> Layout:
    """Return the layout that the files are in: the one that has a place for the most of them."""
    if not files:
        raise UserError(f"there are no files at {source}; check the path")
    seen = survey(files, layouts)
    numbers = range(len(layouts))
    fitting = [n for n in numbers if seen.roles[n].issuperset(("left", "right"))] or [
        n for n in numbers if seen.roles[n].intersection(("left", "right"))
    ]
    if not fitting:
        raise UserError(_nothing_fits(files, seen, source))
    best = max(fitting, key=seen.count)
    for other in fitting:
        if not seen.all_in(other, best):
            raise UserError(
                f"{source} holds sets in the layouts {layouts[best].name} ({seen.count(best)} "
                f"pictures) and {layouts[other].name} ({seen.count(other)}); name one with "
                "layout=, or a folder below"
            )
    return layouts[best]


def _nothing_fits(files: Sequence[str], found: Survey, source: str) -> str:
    """Say what was seen, and which layouts come nearest. files: in order."""
    folders = Counter(
        (str(PurePosixPath(path).parent), PurePosixPath(path).suffix.lower()) for path in files
    )
    seen = ", ".join(
        f"{count} {suffix or 'without suffix'} in {escaped(folder)}/"
        for (folder, suffix), count in folders.most_common(4)
    )
    none = f"no dual-pixel pairs found at {source}: there are {seen}"
    if (packed := next(filter(is_archive, files), None)) is not None:
        if is_archive(source):
            return f"{none}. An archive within an archive is not read: unpack the outer one"
        return f"{none}. An archive is read by itself: source={source}/{escaped(packed)}"
    if any("\\" in path for path in files):
        return (
            f"{none}. Their names hold backslashes in place of folders, as of an archive made on "
            "Windows that was unpacked elsewhere: unpack it again with a program that knows them"
        )
    counts = {layout.name: found.count(n) for n, layout in enumerate(found.layouts)}
    near = sorted(found.layouts, key=lambda layout: -counts[layout.name])[:2]
    if not counts[near[0].name]:  # nothing has a place: by the look of the names
        example = files[0]
        near = sorted(
            found.layouts,
            key=lambda layout: -difflib.SequenceMatcher(None, example, layout.form).ratio(),
        )[:2]
    forms = "; ".join(f"{layout.name} is {layout.form}" for layout in near)
    return (
        f"{none}. The nearest layouts: {forms}. "
        "State your own with left='l/*.png' right='r/*.png' target='t/*.png'"
    )
