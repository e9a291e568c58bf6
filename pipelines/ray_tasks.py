"""One task for each of a list of items, on Ray Data."""

import logging
import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


def each_on_ray(
    items: Sequence[T], work: Callable[[T], R], *, gpus: int = 0
) -> Generator[R, None, None]:
    """Yield what ``work`` makes of each item, as it comes; items and results are pickled.

    A task that dies with its worker is run again, as a whole. gpus: how many each task has.
    """
    import ray.data

    # Its own lines and ours would say the same thing twice.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False

    def carry_out(row: dict[str, Any]) -> dict[str, Any]:
        return {"result": pickle.dumps(work(pickle.loads(row["item"])))}

    rows = [{"item": pickle.dumps(item)} for item in items]
    # One item, one row, one block, one task.
    blocks = ray.data.from_items(rows, override_num_blocks=len(rows))
    tasks = blocks.map(carry_out, num_cpus=1, num_gpus=gpus or None)
    # Closed while the cluster is there: left to the garbage collector, Ray would start another.
    with closing(cast("Generator[dict[str, Any], None, None]", iter(tasks.iter_rows()))) as done:
        for row in done:
            yield pickle.loads(row["result"])
