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
from pipelines.deblur.photograph import Photograph
from pipelines.deblur.restore import Sharpener
from pipelines.report import Comparison, Findings, PageData, Place, render_page
from pipelines.report.compare import ZOOM_PX
from pipelines.report.pictures import fit
from pipelines.storage import Location
from synth.pictures.picture import upright

_MOST = 12
"""Pictures on the page: what a browser opens without a wait."""
_FOUND_PX = 1024


class Page:
    """Gathers what is shown while pictures are made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: list[Comparison] = []
        self._outputs: list[Place] = []
        self._views: list[NDArray[np.float32]] = []
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
            small = np.stack([fit(view, ZOOM_PX) for view in views])
            blurred = np.rint(small.mean(axis=0, dtype=np.float32)).astype(np.uint8)
            if noticed.vertical:
                blurred = np.rot90(blurred, -1)
            self._pairs.append(
                Comparison(
                    title=job.name,
                    input=upright(blurred, left.orientation),
                    output=upright(fit(np.ascontiguousarray(sharp), ZOOM_PX), left.orientation),
                    note="; ".join(noticed.lines),
                    zoom=True,
                )
            )
            self._outputs.append(Place(job.name, str(job.output)))

    def write(self, work: Work, sharpeners: Iterable[Sharpener]) -> str:
        """Write the page beside the pictures, open it where there is a screen; return its place."""
        where = _place(work)
        page = render_page(
            PageData(
                title="Before and after",
                lead=f"{len(self._pairs)} of {len(work.jobs)} pictures. Colours are shown as if "
                "they were sRGB; the files keep their profiles.",
                own=self._pairs,
                findings=self._findings(sharpeners),
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
        if network is None:
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


def _place(work: Work) -> Location:
    if work.folder is not None:
        return work.folder.child("before-and-after.html")
    output = work.jobs[0].output
    return Location(str(PurePosixPath(output.url).with_suffix(".html")))


def has_screen() -> bool:
    """Tell whether a browser would be seen."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)
