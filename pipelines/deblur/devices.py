"""On which devices pictures are made, and how many pictures are shared out to several."""

import queue
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.restore import Sharpener, by_process
from pipelines.errors import UserError

Job = TypeVar("Job")
Made = TypeVar("Made")


def devices_for(config: DeblurConfig, pictures: int) -> list[str | None]:
    """Return the devices for so many pictures, no more than these; None: as the model chooses.

    Raises UserError for a device that is not there, and for a model of a registry, whose process
    takes one by itself.
    """
    if by_process(config):
        if config.devices:
            raise UserError(
                f"devices= is for weights in the box and files; {config.model} answers in a "
                "process of its own, on one"
            )
        return [None]
    if config.devices:
        for name in config.devices:
            _check(name)
        found = config.devices
    elif pictures < 2:  # nothing to share out: torch is not asked before it is needed
        return [None]
    else:
        import torch

        found = tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return [*found[: max(pictures, 1)]] or [None]


def _check(name: str) -> None:
    import torch

    try:
        torch.ones(1, device=name).item()  # 'meta' takes everything and holds no values
    except (RuntimeError, AssertionError) as error:  # built without CUDA: an assertion
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise UserError(
            f"devices={name}: there is no such device to compute on; this machine has "
            f"{', '.join(there)}"
        ) from error


def share_out(
    jobs: Sequence[Job], sharpeners: Sequence[Sharpener], make: Callable[[Job, Sharpener], Made]
) -> Generator[Made]:
    """Yield what ``make`` returns for each job: in order with one sharpener, as they are done with
    several, each of which makes one picture at a time in a thread.

    What ``make`` raises is raised here. Whoever stops this iterator finds, when it is closed, that
    no picture is being made any more.
    """
    if len(sharpeners) == 1:
        for job in jobs:
            yield make(job, sharpeners[0])
        return
    free: queue.SimpleQueue[Sharpener] = queue.SimpleQueue()
    for sharpener in sharpeners:
        free.put(sharpener)

    def with_a_free_one(job: Job) -> Made:
        sharpener = free.get()
        try:
            return make(job, sharpener)
        finally:
            free.put(sharpener)

    with ThreadPoolExecutor(len(sharpeners), thread_name_prefix="k3dn-deblur") as pool:
        futures = [pool.submit(with_a_free_one, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
            for sharpener in sharpeners:
                sharpener.halt()
