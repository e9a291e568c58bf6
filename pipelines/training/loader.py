"""Batches for a worker: the samples of its slice, in order, through Ray Data or in-process.

Each worker reads its own slice by a small Ray Data job of its own. The order is data (rows are
step numbers) and is kept; ``streaming_split`` would promise neither an order nor a position.
"""

import itertools
from collections.abc import Generator, Iterator
from typing import cast

from pipelines.training.batch import Batch, collate, wants_coc
from pipelines.training.order import rank_slice
from pipelines.training.plan import RunPlan
from pipelines.training.reader import SampleReader
from pipelines.training.room import label_selector

STEPS_PER_TASK = 4
"""Few enough that the first batch is there soon, enough that a task costs little."""
STEPS_PER_JOB = 8192
"""Steps that one Ray Data job reads; keeps its plan small in runs of any length."""
PREFETCH_BATCHES = 4
STORE_BYTES = 256 << 20
"""Object store that a worker's patches may take: readers wait when they are that far ahead."""


def ray_batches(
    plan: RunPlan, rank: int, world_size: int, start: int, stop: int | None
) -> Generator[Batch, None, None]:
    """Yield the batches of a worker, read, or made, by Ray Data."""
    for first in itertools.count(start, STEPS_PER_JOB):
        last = first + STEPS_PER_JOB if stop is None else min(first + STEPS_PER_JOB, stop)
        if first >= last:
            return
        yield from _ray_job(plan, rank, world_size, first, last)


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
    reader: type = SampleReader
    if plan.makes_pairs:
        from pipelines.training.live.source import LiveReader

        reader = LiveReader
    steps = [{"step": step} for step in range(start, stop)]
    samples = ray.data.from_items(
        steps, override_num_blocks=max(1, len(steps) // STEPS_PER_TASK)
    ).map_batches(
        reader,
        fn_constructor_kwargs={
            "plan": plan,
            "rank": rank,
            "world_size": world_size,
            "with_coc": wants_coc(config),
        },
        batch_size=None,
        compute=ActorPoolStrategy(size=config.readers_per_worker),
        num_cpus=config.cpus_per_reader,
        label_selector=label_selector(config.reader_label),
    )
    batches = samples.iter_torch_batches(
        batch_size=len(rank_slice(config.batch_size, rank, world_size)),
        collate_fn=collate,
        prefetch_batches=PREFETCH_BATCHES,
        device="cpu",
    )
    yield from cast(Iterator[Batch], batches)
