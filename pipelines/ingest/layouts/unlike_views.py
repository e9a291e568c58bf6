"""Sets whose left and right pictures have no name in common: told once, not picture by picture."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from unicodedata import normalize

import numpy as np

from pipelines.dataset.names import escaped
from pipelines.errors import UserError
from pipelines.ingest.layouts.gathered import Rows
from pipelines.listing import Listing

_EXCHANGED = (("r", "right"), ("l", "left"))
"""Ends of names in the folders of left and right pictures that are of the other ones."""


def check_views_share_names(splits: Sequence[Rows], listing: Listing, source: str) -> None:
    """Raise UserError where no left picture has the name of a right one."""
    example: tuple[PurePosixPath, PurePosixPath] | None = None
    for rows in splits:
        left, right = rows.files["left"], rows.files["right"]
        if np.any((left >= 0) & (right >= 0)):
            return
        if example is None and np.any(left >= 0) and np.any(right >= 0):
            first = [listing.paths[int(files[files >= 0].min())] for files in (left, right)]
            example = PurePosixPath(first[0]), PurePosixPath(first[1])
    if example is None:
        return
    named = " and ".join(map(str, example))
    said = f"{source}: no left picture has the name of a right one (e.g. {named})"
    raise UserError(escaped(said + _hint(*example)))


def _hint(left: PurePosixPath, right: PurePosixPath) -> str:
    if len({normalize("NFC", path.stem).casefold() for path in (left, right)}) == 1:
        return ", but for capitals, or the form of its accents; these count"
    both = zip(left.stem, right.stem, strict=False)
    common = left.stem[: next((n for n, (a, b) in enumerate(both) if a != b), None)].rstrip("_-.")
    ends = left.stem[len(common) :], right.stem[len(common) :]
    if all(end.lower().strip("_-.") in name for end, name in zip(ends, _EXCHANGED, strict=True)):
        return "; by these names left and right are exchanged: state which is which by patterns"
    if not common:
        return ""
    forms = [
        f"{view}='{path.parent}/*{end}{path.suffix}'"
        for view, path, end in zip(("left", "right"), (left, right), ends, strict=True)
    ]
    return f"; if they belong together, say so: {' '.join(forms)}"
