"""``k3dn deblur``: sharpen a dual-pixel pair, or many, or one picture."""

import errno
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.deblur import output as outputs
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.devices import devices_for, share_out
from pipelines.deblur.jobs import Job, Work, find_work, may_be_dataset
from pipelines.deblur.notices import OTHER_PROFILE, Noticed, look
from pipelines.deblur.photograph import Photograph, read_photograph
from pipelines.deblur.progress import Progress
from pipelines.deblur.restore import Libraries, ModelUnusable, Sharpener
from pipelines.deblur.result import DeblurResult, Failed, Seconds, Sharpened
from pipelines.errors import UserError
from pipelines.failures import Terminated, explain_failure
from pipelines.ray_job import refuse_lost_path
from pipelines.storage import Location

if TYPE_CHECKING:
    from pipelines.deblur.show import Page

_SMALLEST_PX = 16


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that was made."""

    picture: Sharpened
    begun_s: float
    """From the start of the process to its sharpening."""


def run(config: DeblurConfig) -> DeblurResult:
    """Read views, look at them, sharpen, write. What their files say is kept.

    Of many pairs, one that cannot be read or written is listed in the result and does not stop the
    others. Raises UserError for what stops all: nothing to do, an output that is an input or is
    there already, a folder that cannot be written, a model that is not there.
    """
    refuse_lost_path("output", config.output)
    if may_be_dataset(config):
        from pipelines.deblur.dataset import dataset_of, sharpen_dataset  # brings Ray's clients

        if (version := dataset_of(config)) is not None:
            return sharpen_dataset(config, version)
    work = find_work(config)
    inputs = outputs.Inputs(
        view for job in work.jobs for view in (job.left, job.right) if view is not None
    )
    for job in work.jobs:
        inputs.refuse(job.output)
    _prepare_folder(work)
    outcomes: dict[Job, Made | Failed | None] = {}
    page = None
    if config.show:
        from pipelines.deblur.show import Page, refuse_other_page  # which bring torch

        if work.jobs:
            refuse_other_page(work)
        page = Page()
    with (
        _truth_when_stopped(work, outcomes),
        ExitStack() as opened,
        Progress(len(work.jobs)) as progress,
    ):
        if work.others:
            progress.say(_of_others(work))
        devices = devices_for(config, len(work.jobs))
        libraries = Libraries()
        sharpeners = [
            opened.enter_context(
                Sharpener(config, device, at_once=len(devices), libraries=libraries)
            )
            for device in devices
        ]

        def make(job: Job, sharpener: Sharpener) -> None:
            outcomes[job] = _outcome(config, work, job, sharpener, progress, page)
            progress.end(made=isinstance(outcomes[job], Made))

        with closing(share_out(work.jobs, sharpeners, make)) as made:
            for _ in made:
                pass
        where = None
        if page is not None and page.comparisons:
            where = _page(page, work, sharpeners, progress)
    return _result(work, outcomes, where)


def _page(
    page: "Page", work: Work, sharpeners: Sequence[Sharpener], progress: Progress
) -> str | None:
    """Write the page; where that fails, say why: the pictures are there all the same."""
    try:
        return page.write(work, sharpeners)
    except (UserError, OSError, ValueError, RuntimeError, MemoryError) as error:
        progress.say(f"there is no page: {explain_failure(error).message}")
        return None


def _of_others(work: Work) -> str:
    count, first = len(work.others), work.others[0]
    if count == 1:
        return f"left out: {first}, whose name says no side"
    return f"left out: {count} pictures whose names say no side, such as {first}"


def _outcome(
    config: DeblurConfig,
    work: Work,
    job: Job,
    sharpener: Sharpener,
    progress: Progress,
    page: "Page | None",
) -> Made | Failed | None:
    """Make one picture; None where it was there already. What stops all is raised."""
    if _is_kept(config, work, job):
        if page is not None:
            page.add_kept(job)
        return None
    try:
        return sharpen(job, sharpener, progress, page, overwrite=config.overwrite)
    except outputs.AlreadyThere:
        if work.folder is None:
            raise
        return None
    except MemoryError as error:
        reason = "there is too little memory for this picture"
        if work.folder is None:
            raise UserError(f"{job.name}: {reason}; close other programs") from error
        progress.say(f"{job.name}: {reason}")
        return Failed(job.name, reason)
    except (UserError, OSError, ValueError) as error:
        if work.folder is None or _stops_all(error):
            raise
        reason = explain_failure(error).message if isinstance(error, OSError) else str(error)
        progress.say(f"{job.name}: {reason}")
        return Failed(job.name, reason)


def _made(work: Work, outcomes: Mapping[Job, Made | Failed | None]) -> list[Made]:
    """The pictures that were made now, in the order of the work."""
    return [made for job in work.jobs if isinstance(made := outcomes.get(job), Made)]


def _result(
    work: Work, outcomes: Mapping[Job, Made | Failed | None], page: str | None
) -> DeblurResult:
    made = _made(work, outcomes)
    failed = [Failed(path, reason) for path, reason in work.alone]
    failed += [found for job in work.jobs if isinstance(found := outcomes[job], Failed)]
    return DeblurResult(
        pictures=tuple(one.picture for one in made),
        kept=tuple(job.output.url for job in work.jobs if outcomes[job] is None),
        failed=tuple(failed),
        folder=None if work.folder is None else work.folder.url,
        page=page,
        begun_s=min((one.begun_s for one in made), default=None),
        exit_code=2 if failed else 0,
    )


def sharpen(
    job: Job,
    sharpener: Sharpener,
    progress: Progress,
    page: "Page | None",
    *,
    overwrite: bool = False,
) -> Made:
    """One picture, from its views to its file.

    Raises UserError, ValueError and OSError for what cannot be read, sharpened or written.
    """
    outputs.format_of(job.output.name)
    clock = _Clock()
    most = sharpener.memory_mib
    left = read_photograph(job.left, _shown(job.left), memory_mib=most)
    right = None
    if job.right is not None:
        right = read_photograph(job.right, _shown(job.right), memory_mib=most)
    _check(left, right)
    outputs.check_format(job.output.name, left)
    lost = outputs.lost_in(job.output.name, left.metadata)
    read_s = clock.lap()
    views = [left.colours, *([] if right is None else [right.colours])]
    noticed = Noticed()
    if right is not None and job.right is not None:
        noticed = look(views[0], views[1], (job.left.name, job.right.name))
        if left.metadata.icc != right.metadata.icc:
            noticed = replace(noticed, lines=(OTHER_PROFILE, *noticed.lines))
    of_files = dict.fromkeys((*left.notices, *(() if right is None else right.notices)))
    noticed = replace(noticed, lines=(*of_files, *noticed.lines))
    del right
    for line in noticed.lines:
        progress.say(f"{job.name}: {line}")
    if lost:
        progress.say(f"{job.name}: {job.output.name} does not hold {', '.join(lost)}")
    if noticed.vertical:
        views = [np.ascontiguousarray(np.rot90(view)) for view in views]
    look_s = clock.lap()
    label = sharpener.load(views[0], views[1] if len(views) > 1 else None)
    begun_s = _since_process_start()
    progress.begin(f"{job.name}, {left.described}", label)
    sharp = sharpener(views[0], views[1] if len(views) > 1 else None, progress.tiles)
    if noticed.vertical:
        sharp = np.rot90(sharp, -1)
    shown = views if page is not None else []
    del views
    sharpen_s = clock.lap()
    path = job.output.local_path()
    if path is not None and not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)  # another device may make it now, too
        progress.say(f"{job.name}: made the folder {path.parent}")
    outputs.write_photograph(job.output, left.filled(sharp), left.metadata, overwrite=overwrite)
    if page is not None:
        page.add(job, left, shown, sharp, noticed)
    picture = Sharpened(
        output=job.output.url,
        model=label,
        height=sharp.shape[0],
        width=sharp.shape[1],
        bit_depth=sharp.itemsize * 8,
        notices=noticed.lines,
        lost=lost,
        seconds=Seconds(read=read_s, look=look_s, sharpen=sharpen_s, write=clock.lap()),
    )
    return Made(picture, begun_s)


def _check(left: Photograph, right: Photograph | None) -> None:
    if right is not None and right.orientation != left.orientation:
        raise UserError(
            f"the views are turned differently: {left.where} has Orientation {left.orientation}, "
            f"{right.where} has {right.orientation}; give the two views of one exposure"
        )
    here, there = left.pixels, left.pixels if right is None else right.pixels
    if right is not None and (here.shape[2] < 3) != (there.shape[2] < 3):
        grey, colour = (left, right) if here.shape[2] < 3 else (right, left)
        raise UserError(
            f"the views do not fit: {grey.where} is grey, {colour.where} has colours; save both "
            "with the same settings"
        )
    if here.shape[:2] != there.shape[:2] or here.dtype != there.dtype:
        assert right is not None
        raise UserError(
            f"the views do not fit: {left.where} is {left.described}, {right.where} is "
            f"{right.described}; give the two views of one exposure"
        )
    if min(here.shape[:2]) < _SMALLEST_PX:
        raise UserError(f"{left.where}: {left.described}; a view needs at least 16 x 16 px")


def _prepare_folder(work: Work) -> None:
    """Look whether pictures can be written, and tidy what killed runs left half written."""
    if not work.jobs:
        return
    work.jobs[0].output.check_writable()
    places = [path for job in work.jobs if (path := job.output.local_path()) is not None]
    for folder, name in {(p.parent, p.name if work.folder is None else "") for p in places}:
        outputs.remove_unfinished(folder, name)


def _is_kept(config: DeblurConfig, work: Work, job: Job) -> bool:
    """Whether a picture is there already and stays. Raises UserError for a single one."""
    path = job.output.local_path()
    is_there = job.output.exists() if path is None else os.path.lexists(path)
    if config.overwrite or not is_there:
        return False
    if work.folder is None:
        raise UserError(
            f"{job.output} is there already and stays; --overwrite replaces it, or give another "
            "name"
        )
    return True


def _stops_all(error: Exception) -> bool:
    """A full disk, a model that is not there: no other picture would fare better."""
    if isinstance(error, OSError):
        return error.errno == errno.EROFS
    return isinstance(error, ModelUnusable | outputs.NoRoom)


@contextmanager
def _truth_when_stopped(work: Work, outcomes: Mapping[Job, Made | Failed | None]) -> Iterator[None]:
    """Say of a run that was interrupted what is there and what the same command would do."""
    before = None if work.folder is not None else outputs.identity(work.jobs[0].output)
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        done = _made(work, outcomes)
        if work.folder is None:
            output = work.jobs[0].output
            text = f"stopped; nothing was written to {output}, and the same command begins anew"
            if done or outputs.identity(output) not in (None, before):
                text = f"stopped; {output} is whole"
        else:
            text = (
                f"stopped; {len(done)} of {len(work.jobs)} pictures were made now and are whole in "
                f"{work.folder}; the same command goes on with the rest"
            )
        error.args = (text,)
        raise


class _Clock:
    def __init__(self) -> None:
        self._last_s = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call, or the start."""
        now_s = time.perf_counter()
        passed_s, self._last_s = now_s - self._last_s, now_s
        return round(passed_s, 3)


def _since_process_start() -> float:
    import psutil

    return round(time.time() - psutil.Process().create_time(), 2)


def _shown(location: Location) -> str:
    path = location.local_path()
    return location.url if path is None else str(path)
