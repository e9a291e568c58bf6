"""What lies on the page's desk: two views that were dropped, and the one job at work."""

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
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
_LONGEST_NAME_BYTES = 120


@dataclass(frozen=True, slots=True)
class _View:
    """A file that was dropped."""

    number: int
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """How far the job is, for the page."""

    job: int = 0
    """Its number; another page may have begun another one."""
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
        self._views: dict[Side, _View] = {}
        self._state = State()
        self._thread: threading.Thread | None = None
        self._taken = 0
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

    def output_of(self, job: int) -> Path | None:
        """The sharp picture of a job; None before there is one, and after the next has begun."""
        with self._lock:
            return self._output if job == self._state.job else None

    def figure_of(self, job: int) -> str:
        """Before and after of a job, as HTML; '' where there is no picture of it."""
        with self._lock:
            return self._figure if job == self._state.job else ""

    def take(self, side: Side, name: str, chunks: Iterator[bytes]) -> int:
        """Take a view, and return its number; of several for one side the one that is whole last
        stays.

        Raises UserError for a name of no picture, BusyError while one is made."""
        name = PurePosixPath(name.replace("\\", "/")).name.replace("\0", "")
        name = name.encode(errors="replace")[-_LONGEST_NAME_BYTES:].decode(errors="ignore")
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in READ:
            raise UserError(
                f"{name or 'a file'} is not read: {', '.join(READ)} are; k3dn split reads raw files"
            )
        with self._lock:
            if self._state.busy:
                raise BusyError("a picture is being sharpened; wait for it")
            self._forget(side)
            self._folder.mkdir(parents=True, exist_ok=True)
            # Of its own: another file may come for the same side at the same time.
            place = Path(tempfile.mkdtemp(prefix=f"{side}-", dir=self._folder))
        try:
            path = place / name.lstrip(".")
            with path.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            with self._lock:
                if self._state.busy:
                    raise BusyError("a picture is being sharpened; wait for it")
                self._forget(side)
                self._taken += 1
                self._views[side] = _View(self._taken, path)
                return self._taken
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def _forget(self, side: Side) -> None:
        """Delete a view that another one takes the place of."""
        if (old := self._views.pop(side, None)) is not None:
            shutil.rmtree(old.path.parent, ignore_errors=True)

    def start(self, left: Side = "left", given: Mapping[Side, int] | None = None) -> int:
        """Begin to sharpen the two views, and return the job's number.

        left: which of them is taken for the left one. given: their numbers as the page knows them.
        Raises UserError where a view is missing, BusyError while another picture is made, and
        where another page has given other views meanwhile.
        """
        other: Side = "right" if left == "left" else "left"
        with self._lock:
            if self._state.busy:
                raise BusyError("a picture is being sharpened; wait for it")
            if self._views.keys() != {"left", "right"}:
                raise UserError("give both views")
            if any(self._views[side].number != number for side, number in (given or {}).items()):
                raise BusyError("another page has given other views meanwhile; sharpen once more")
            views = self._views[left].path, self._views[other].path
            job = self._state.job + 1
            self._state, self._output, self._figure = State(job=job, busy=True), None, ""
            self._thread = threading.Thread(target=self._work, args=(job, *views), daemon=True)
        self._thread.start()
        return job

    def close(self) -> None:
        """End what holds a model."""
        self._sharpener.close()

    def _work(self, number: int, left: Path, right: Path) -> None:
        try:
            place = self._folder / f"answer-{number}"
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
        for view in self._views.values():
            text = text.replace(f"{view.path.parent}/", "")
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
