"""One task for each of a list of items, on Ray Data."""

import logging
import pickle
import traceback
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Any, TypeVar, cast

from pipelines.errors import BusyError, UnavailableError, UserError
from pipelines.failures import EXIT_BUSY, EXIT_UNAVAILABLE, EXIT_USER, explain_failure

T = TypeVar("T")
R = TypeVar("R")

_KINDS = {EXIT_USER: UserError, EXIT_BUSY: BusyError, EXIT_UNAVAILABLE: UnavailableError}


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
        # An exception would lose its words: Ray Data raises one of its own in its place.
        try:
            return {
                "result": pickle.dumps(work(pickle.loads(zlib.decompress(row["item"])))),
                "failed": False,
            }
        except Exception as error:
            return {"result": pickle.dumps(_portable(error)), "failed": True}

    rows = [{"item": packed(item)} for item in items]
    # One item, one row, one block, one task.
    blocks = ray.data.from_items(rows, override_num_blocks=len(rows))
    tasks = blocks.map(carry_out, num_cpus=1, num_gpus=gpus or None)
    # Closed while the cluster is there: left to the garbage collector, Ray would start another.
    with closing(cast("Generator[dict[str, Any], None, None]", iter(tasks.iter_rows()))) as done:
        for row in done:
            result = pickle.loads(row["result"])
            if row["failed"]:
                raise result
            yield result


def packed(item: object) -> bytes:
    """Return an item as it is handed out: small, for all are at once in this process and in Ray's
    store."""
    return zlib.compress(pickle.dumps(item), 1)


def _portable(error: Exception) -> Exception:
    """Return an exception that can leave the process, with its traceback as a note."""
    there = "".join(traceback.format_exception(error))
    failure = explain_failure(error)
    if not isinstance(error, UserError) and failure.exit_code in _KINDS:
        error = _KINDS[failure.exit_code](failure.message)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class that needs more than its words
        error = RuntimeError(failure.message)
    error.add_note(f"In a task of Ray:\n{there}")
    return error
