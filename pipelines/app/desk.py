"""What lies on the page's desk: two views that were dropped, and the one job at work."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pipelines.app.config import AppConfig
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.jobs import find_work
from pipelines.deblur.metadata import FORMATS
from pipelines.deblur.progress import Progress
from pipelines.deblur.restore import Sharpener
from pipelines.deblur.run import sharpen
from pipelines.deblur.show import Page
from pipelines.errors import BusyError, UserError
from pipelines.report.compare import compare

Side = Literal["left", "right"]
READ = (*FORMATS, ".pgm")
_CHUNK_BYTES = 1 << 20
_LONGEST_NAME = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """How far the job is, for the page."""

    busy: bool = False
    share: float = 0.0
    """Of the work, 0 to 1."""
    notices: tuple[str, ...] = ()
    error: str = ""
    name: str = ""
    """What the sharp picture is called; '' before there is one."""
    described: str = ""


class Desk:
    """Keeps views and answers in a folder; one job at a time, in a thread of its own."""

    def __init__(self, config: AppConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._lock = threading.Lock()
        self._views: dict[str, Path] = {}
        self._state = State()
        self._thread: threading.Thread | None = None
        self._count = 0
        self._output: Path | None = None
        self._figure = ""
        self.made = 0
        """Pictures so far."""
        self._sharpener = Sharpener(self._deblur("", "", ""))

    @property
    def state(self) -> State:
        """How far the job is."""
        with self._lock:
            return self._state

    @property
    def output(self) -> Path | None:
        """The sharp picture of the last job."""
        with self._lock:
            return self._output

    @property
    def figure(self) -> str:
        """Before and after of the last job, as HTML."""
        with self._lock:
            return self._figure

    def take(self, side: Side, name: str, chunks: Iterator[bytes]) -> None:
        """Take a view. Raises UserError for a name of no picture, BusyError while one is made."""
        name = PurePosixPath(name.replace("\\", "/")).name.replace("\0", "")[-_LONGEST_NAME:]
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in READ:
            raise UserError(
                f"{name or 'a file'} is not read: {', '.join(READ)} are; k3dn split reads raw files"
            )
        with self._lock:
            if self._state.busy:
                raise BusyError("a picture is being sharpened; wait for it")
            place = self._folder / side
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            self._views.pop(side, None)
        path = place / name.lstrip(".")
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        with self._lock:
            self._views[side] = path

    def start(self, left: Side = "left") -> None:
        """Begin to sharpen the two views; left: which of them is taken for the left one.

        Raises UserError where a view is missing, BusyError while another picture is made.
        """
        other = "right" if left == "left" else "left"
        with self._lock:
            if self._state.busy:
                raise BusyError("a picture is being sharpened; wait for it")
            if set(self._views) != {"left", "right"}:
                raise UserError("give both views")
            views = self._views[left], self._views[other]
            self._state, self._output, self._figure = State(busy=True), None, ""
            self._count += 1
            self._thread = threading.Thread(target=self._work, args=views, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End what holds a model."""
        self._sharpener.__exit__(None, None, None)

    def _work(self, left: Path, right: Path) -> None:
        try:
            place = self._folder / f"answer-{self._count}"
            for old in self._folder.glob("answer-*"):
                shutil.rmtree(old, ignore_errors=True)
            place.mkdir()
            (job,) = find_work(self._deblur(str(left), str(right), f"{place}/")).jobs
            page = Page()
            made = sharpen(job, self._sharpener, _Told(self), page, overwrite=True).picture
            size = f"{made.width} x {made.height} px, {made.bit_depth} bit, by {made.model}"
            figure = compare(page.comparisons[0])
            with self._lock:
                self._output, self._figure = job.output.local_path(), figure
                self.made += 1
            self.tell(busy=False, share=1.0, name=job.output.name, described=size)
        except (UserError, OSError, ValueError) as error:
            self.tell(busy=False, error=str(error))
        except BaseException as error:  # a thread's error is seen by nobody else
            self.tell(busy=False, error=f"{type(error).__name__}: {error}")
            raise

    def tell(self, *, notice: str = "", **change: object) -> None:
        """Change what the page is told; paths of the folder are no matter there."""
        with self._lock:
            values = {key: getattr(self._state, key) for key in State.__slots__}
            values |= change
            if notice:
                values["notices"] = (*values["notices"], self._named(notice))
            values["error"] = self._named(values["error"])
            self._state = State(**values)

    def _named(self, text: str) -> str:
        for side in ("left", "right"):
            text = text.replace(f"{self._folder / side}/", "")
        return text

    def _deblur(self, left: str, right: str, output: str) -> DeblurConfig:
        config = self._config
        return DeblurConfig(
            root=config.root,
            tracking_uri=config.tracking_uri,
            left=left,
            right=right,
            output=output,
            model=config.model,
            precision=config.precision,
            passes=config.passes,
            memory=config.memory,
        )


class _Told(Progress):
    """Progress that the page shows."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(1)
        self._desk = desk

    def say(self, line: str) -> None:
        self._desk.tell(notice=line)

    def begin(self, what: str, by: str) -> None:
        self._desk.tell(described=f"{what}, by {by}")

    def tiles(self, done: int, total: int) -> None:
        self._desk.tell(share=done / total)
