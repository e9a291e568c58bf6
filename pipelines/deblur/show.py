"""The page of before and after: slider, zoom, and what the network found."""

import os
import sys
import threading
import webbrowser
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur.jobs import Job, Work
from pipelines.deblur.notices import Noticed
from pipelines.deblur.photograph import Photograph, read_photograph
from pipelines.deblur.restore import Sharpener
from pipelines.errors import UserError
from pipelines.report import Comparison, Findings, PageData, Place, render_page
from pipelines.report.compare import ZOOM_PX
from pipelines.report.document import GENERATOR
from pipelines.report.pictures import fit
from pipelines.storage import Location
from synth.pictures.picture import upright

_MOST = 12
"""Pictures on the page: what a browser opens without a wait."""
_FOUND_PX = 1024
_NAME = "before-and-after.html"
_LONGEST_NAME = 200
"""Bytes; what is written has a longer name until it is whole."""


class Page:
    """Gathers what is shown while pictures are made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: list[Comparison] = []
        self._outputs: list[Place] = []
        self._views: list[NDArray[np.float32]] = []
        self._looked_at = ""
        self._turn = 1
        self._turned = False

    @property
    def comparisons(self) -> list[Comparison]:
        """Before and after of what was taken."""
        return self._pairs

    def add(
        self,
        job: Job,
        left: Photograph,
        views: list[NDArray[Any]],
        sharp: NDArray[Any],
        noticed: Noticed,
    ) -> None:
        """Take a picture for the page, made smaller. views: as they were given to the network.

        From any thread.
        """
        with self._lock:
            if len(self._pairs) >= _MOST:
                return
            if not self._views:
                self._views = [
                    np.asarray(fit(view, _FOUND_PX) / np.float32(255), np.float32) for view in views
                ]
                self._turn, self._turned = left.orientation, noticed.vertical
                self._looked_at = job.name
            self._take(job, left.orientation, views, sharp, noticed)

    def add_kept(self, job: Job) -> None:
        """Take a picture that was made before; nothing, where its files cannot be read. From any
        thread."""
        with self._lock:
            if len(self._pairs) >= _MOST:
                return
            places = [place for place in (job.left, job.right) if place is not None]
            try:
                photographs = [read_photograph(place, place.name) for place in places]
                sharp = read_photograph(job.output, job.output.name).colours
            except (UserError, OSError, ValueError):
                return
            views = [photograph.colours for photograph in photographs]
            if {view.shape for view in views} == {sharp.shape}:
                self._take(job, photographs[0].orientation, views, sharp, Noticed())

    def _take(
        self,
        job: Job,
        orientation: int,
        views: list[NDArray[Any]],
        sharp: NDArray[Any],
        noticed: Noticed,
    ) -> None:
        small = np.stack([fit(view, ZOOM_PX) for view in views])
        blurred = np.rint(small.mean(axis=0, dtype=np.float32)).astype(np.uint8)
        if noticed.vertical:
            blurred = np.rot90(blurred, -1)
        self._pairs.append(
            Comparison(
                title=job.name,
                input=upright(blurred, orientation),
                output=upright(fit(np.ascontiguousarray(sharp), ZOOM_PX), orientation),
                note="; ".join(noticed.lines),
                zoom=True,
            )
        )
        self._outputs.append(Place(job.name, str(job.output)))

    def write(self, work: Work, sharpeners: Iterable[Sharpener]) -> str:
        """Write the page beside the pictures, open it where there is a screen; return its place."""
        where, found = page_of(work), self._findings(sharpeners)
        lead = (
            f"{len(self._pairs)} of {len(work.jobs)} pictures. Colours are shown as if they were "
            "sRGB; the files keep their profiles."
        )
        if found is not None and len(self._pairs) > 1:
            lead += f" What the network found is of {self._looked_at}."
        page = render_page(
            PageData(
                title="Before and after",
                lead=lead,
                own=self._pairs,
                findings=found,
                places=self._outputs,
            )
        )
        where.write_bytes(page.encode(errors="replace"))  # names that are not UTF-8
        path = where.local_path()
        if path is not None and has_screen():
            webbrowser.open(path.as_uri())
        return where.url

    def _findings(self, sharpeners: Iterable[Sharpener]) -> Findings | None:
        """What the network found in the first pair, made smaller to be looked at whole."""
        networks = (sharpener.network() for sharpener in sharpeners)
        network = next((network for network in networks if network is not None), None)
        if network is None or not self._views:
            return None
        from k3dn import explain

        found = explain(network, *self._views)

        def as_shown(values: NDArray[Any] | None) -> NDArray[Any] | None:
            if values is None:
                return None
            return upright(np.rot90(values, -1) if self._turned else values, self._turn)

        picture = as_shown(np.stack(self._views).mean(axis=0))
        assert picture is not None
        return Findings(
            picture=picture, in_focus=as_shown(found.in_focus), coc_px=as_shown(found.coc_px)
        )


def page_of(work: Work) -> Location:
    """Where the page of some work lies."""
    if work.folder is not None:
        return work.folder.child(_NAME)
    output = work.jobs[0].output
    name = str(PurePosixPath(output.name).with_suffix(".html"))
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = _NAME
    return Location(output.url.removesuffix(output.name) + name)


def refuse_other_page(work: Work) -> None:
    """Raise UserError where the page would take the place of a file that is not such a page."""
    place = page_of(work)
    if place.exists() and GENERATOR.encode() not in place.read_bytes():
        raise UserError(
            f"{place} is there already and is not a page of before and after; move it, or give "
            "another output by -o"
        )


def has_screen() -> bool:
    """Tell whether a browser would be seen."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)
