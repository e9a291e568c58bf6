"""One task for each of a list of items, on Ray Data; and what fails on Ray, in its own words."""

import logging
import pickle
import traceback
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pipelines.errors import AwayError, BusyError, UserError
from pipelines.failures import EXIT_BUSY, EXIT_UNAVAILABLE, EXIT_USER, explain_failure

T = TypeVar("T")
R = TypeVar("R")

_KINDS = {EXIT_USER: UserError, EXIT_BUSY: BusyError, EXIT_UNAVAILABLE: AwayError}


def each_on_ray(
    items: Iterable[T], work: Callable[[T], R], *, gpus: int = 0
) -> Generator[R, None, None]:
    """Yield what ``work`` makes of each item, as it comes; items and results are pickled.

    A task that dies with its worker is run again, as a whole. gpus: how many each task has. Raises
    what ``work`` raises; a service that is away and the like as UserError, in one line.
    """
    import ray.data

    # Its own lines and ours would say the same thing twice.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False

    def carry_out(row: dict[str, Any]) -> dict[str, Any]:
        found = attempt(lambda: work(pickle.loads(zlib.decompress(row["item"]))))
        return {"result": pickle.dumps(found)}

    rows = [{"item": packed(item)} for item in items]
    # One item, one row, one block, one task.
    blocks = ray.data.from_items(rows, override_num_blocks=len(rows))
    tasks = blocks.map(carry_out, num_cpus=1, num_gpus=gpus or None)
    # Closed while the cluster is there: left to the garbage collector, Ray would start another.
    with closing(cast("Generator[dict[str, Any], None, None]", iter(tasks.iter_rows()))) as done:
        for row in done:
            yield value_of(pickle.loads(row["result"]))


@dataclass(frozen=True, slots=True)
class Failed:
    """What a call raised, as a value: an exception that is raised in a task of Ray Data or in the
    constructor of an actor loses its words, since Ray raises one of its own in its place."""

    error: Exception


def attempt(call: Callable[[], R]) -> R | Failed:
    """Return what a call returns, or what it raises as a value that can leave the process."""
    try:
        return call()
    except Exception as error:
        found = _portable(error)
        there = "".join(traceback.format_exception(error))
        found.add_note(f"In another process of Ray:\n{there}")
        return Failed(found)


def value_of(found: R | Failed) -> R:
    """Return what a call returned somewhere else, or raise what it raised."""
    if isinstance(found, Failed):
        raise found.error
    return found


@contextmanager
def in_own_words() -> Iterator[None]:
    """Raise what the block raises as an exception that can leave the process."""
    try:
        yield
    except Exception as error:
        found = _portable(error)
        if found is error:
            raise
        raise found from error


def packed(item: object) -> bytes:
    """Return an item as it is handed out: small, for all are at once in this process and in Ray's
    store."""
    return zlib.compress(pickle.dumps(item), 1)


def _portable(error: Exception) -> Exception:
    """Return an exception that arrives whole elsewhere, with the line and exit code of this one."""
    failure = explain_failure(error)
    if not isinstance(error, UserError) and failure.exit_code in _KINDS:
        error = _KINDS[failure.exit_code](failure.message)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class that needs more than its words
        return RuntimeError(failure.message)
    return error
