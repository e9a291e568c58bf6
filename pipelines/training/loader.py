"""Batches for a worker: the samples of its slice, in order, through Ray Data or in-process.

Each worker reads its own slice by a small Ray Data job of its own. The order is data (rows are
step numbers) and is kept; ``streaming_split`` would promise neither an order nor a position.
"""

import itertools
import pickle
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.ray_tasks import Failed, attempt, value_of
from pipelines.training.batch import Batch, collate, wants_coc
from pipelines.training.order import rank_slice
from pipelines.training.plan import RunPlan
from pipelines.training.reader import Columns, SampleReader
from pipelines.training.room import label_selector

STEPS_PER_TASK = 4
"""Few enough that the first batch is there soon, enough that a task costs little."""
STEPS_PER_JOB = 8192
"""Steps that one Ray Data job reads; keeps its plan small in runs of any length."""
STEPS_AHEAD = 256
"""Steps before its first that the next job is begun. Where no CPU is free for its readers, they
wait until those of the job before have read all, which is ahead of the training, too."""
PREFETCH_BATCHES = 4
STORE_BYTES = 256 << 20
"""Object store that a worker's patches may take: readers wait when they are that far ahead."""
_FAILED = "failed"
"""The column of a batch that was not read."""


def ray_batches(
    plan: RunPlan, rank: int, world_size: int, start: int, stop: int | None
) -> Generator[Batch, None, None]:
    """Yield the batches of a worker, read, or made, by Ray Data: by one job after the other, each
    begun some steps before it is needed, since its readers take seconds to start."""
    begun: deque[tuple[Generator[Batch, None, None], Future[Batch]]] = deque()

    def begin(first: int) -> None:
        last = first + STEPS_PER_JOB if stop is None else min(first + STEPS_PER_JOB, stop)
        if first < last:
            job = _ray_job(plan, rank, world_size, first, last)
            begun.append((job, ahead.submit(next, job)))

    with ThreadPoolExecutor(1, "k3dn-next-readers") as ahead:
        begin(start)
        try:
            for following in itertools.count(start + STEPS_PER_JOB, STEPS_PER_JOB):
                if not begun:
                    return
                job, batch = begun[0]
                yield batch.result()
                for number, later in enumerate(job, 1):
                    if number == STEPS_PER_JOB - STEPS_AHEAD:
                        begin(following)
                    yield later
                begun.popleft()
        finally:
            for job, batch in begun:
                wait([batch])
                job.close()


def local_batches(
    plan: RunPlan, rank: int, world_size: int, start: int, stop: int | None
) -> Generator[Batch, None, None]:
    """Yield the same batches, read in this process."""
    reader = SampleReader(plan, rank, world_size, with_coc=wants_coc(plan.config))
    for step in itertools.count(start) if stop is None else range(start, stop):
        yield collate(reader({"step": [step]}))  # type: ignore[dict-item]


def _ray_job(
    plan: RunPlan, rank: int, world_size: int, start: int, stop: int
) -> Generator[Batch, None, None]:
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext
    from ray.data._internal.execution.interfaces import ExecutionResources

    from pipelines.training.pace import PacedPlanning

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=STORE_BYTES
    )
    if PacedPlanning not in context.custom_execution_callback_classes:
        context.custom_execution_callback_classes.append(PacedPlanning)
    config = plan.config
    pairs = len(rank_slice(config.batch_size, rank, world_size))
    steps = [{"step": step} for step in range(start, stop)]
    samples = ray.data.from_items(
        steps, override_num_blocks=max(1, len(steps) // STEPS_PER_TASK)
    ).map_batches(
        _Reader,
        fn_constructor_args=(plan, rank, world_size),
        batch_size=None,
        compute=ActorPoolStrategy(size=config.readers_per_worker),
        num_cpus=config.cpus_per_reader,
        label_selector=label_selector(config.reader_label),
    )
    batches = samples.iter_torch_batches(
        batch_size=pairs,
        collate_fn=_received,
        prefetch_batches=PREFETCH_BATCHES,
        device="cpu",
    )
    for batch in batches:
        yield value_of(cast("Batch | Failed", batch))


class _Reader:
    """What runs in a reader's process: a failure is a batch, too, which is raised where it is due.

    The reader proper is made with the first batch, as a constructor that raises has its actor
    started again and its words lost.
    """

    def __init__(self, plan: RunPlan, rank: int, world_size: int) -> None:
        self._plan, self._rank, self._world_size = plan, rank, world_size
        self._read: Callable[[Mapping[str, NDArray[np.int64]]], Columns] | None = None

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Columns:
        found = attempt(lambda: self._samples(batch))
        if not isinstance(found, Failed):
            return found
        pairs = len(rank_slice(self._plan.config.batch_size, self._rank, self._world_size))
        return {_FAILED: np.array([pickle.dumps(found)] * pairs, dtype=object)}

    def _samples(self, batch: dict[str, NDArray[np.int64]]) -> Columns:
        plan, rank, world_size = self._plan, self._rank, self._world_size
        if self._read is None:
            reader: Any = SampleReader
            if plan.makes_pairs:
                from pipelines.training.live.source import LiveReader

                reader = LiveReader
            self._read = reader(plan, rank, world_size, with_coc=wants_coc(plan.config))
        return self._read(batch)


def _received(columns: Columns) -> Batch | Failed:
    if _FAILED not in columns:
        return collate(columns)
    failed: Failed = pickle.loads(columns[_FAILED][0])
    return failed
