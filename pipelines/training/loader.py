"""Batches for a worker: the samples of its slice, in order, through Ray Data or in-process.

Each worker reads its own slice by a small Ray Data job of its own. The order is data (rows are
step numbers) and is kept; ``streaming_split`` would promise neither an order nor a position.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from numpy.typing import NDArray
from torch import Tensor

from k3dn.network.config import variant
from pipelines.training.config import TrainConfig
from pipelines.training.order import rank_slice
from pipelines.training.plan import RunPlan
from pipelines.training.reader import SampleReader

STEPS_PER_TASK = 4
"""Few enough that the first batch is there soon, enough that a task costs little."""
STEPS_PER_JOB = 8192
"""Steps that one Ray Data job reads; keeps its plan small in runs of any length."""
PREFETCH_BATCHES = 4
STORE_BYTES = 256 << 20
"""Object store that a worker's patches may take: readers wait when they are that far ahead."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A worker's part of one step; pictures ``(n, 3, P, P)`` float32 sRGB in [0, 1]."""

    index: list[int]
    """Positions in the global sequence."""
    pair_id: list[str]
    """Which pairs, as ``name@version/pair_id``."""
    left: Tensor
    right: Tensor
    target: Tensor
    coc: Tensor | None = None
    """Signed blur radius in px, ``(n, 1, P, P)`` float32, NaN where not known; None where the run
    has no ``disparity_loss``, or the network estimates none."""


class BatchSource(Protocol):
    """What gives a worker its batches of the steps ``start`` to ``stop``."""

    def __call__(
        self, plan: RunPlan, rank: int, world_size: int, start: int, stop: int
    ) -> Generator[Batch, None, None]: ...


def ray_batches(
    plan: RunPlan, rank: int, world_size: int, start: int, stop: int
) -> Generator[Batch, None, None]:
    """Yield the batches of a worker, read by Ray Data."""
    for first in range(start, stop, STEPS_PER_JOB):
        yield from _ray_job(plan, rank, world_size, first, min(first + STEPS_PER_JOB, stop))


def local_batches(
    plan: RunPlan, rank: int, world_size: int, start: int, stop: int
) -> Generator[Batch, None, None]:
    """Yield the same batches, read in this process."""
    reader = SampleReader(plan, rank, world_size, with_coc=wants_coc(plan.config))
    for step in range(start, stop):
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
    steps = [{"step": step} for step in range(start, stop)]
    samples = ray.data.from_items(
        steps, override_num_blocks=max(1, len(steps) // STEPS_PER_TASK)
    ).map_batches(
        SampleReader,
        fn_constructor_kwargs={
            "plan": plan,
            "rank": rank,
            "world_size": world_size,
            "with_coc": wants_coc(config),
        },
        batch_size=None,
        compute=ActorPoolStrategy(size=config.readers_per_worker),
        num_cpus=config.cpus_per_reader,
    )
    batches = samples.iter_torch_batches(
        batch_size=len(rank_slice(config.batch_size, rank, world_size)),
        collate_fn=collate,
        prefetch_batches=PREFETCH_BATCHES,
        device="cpu",
    )
    yield from cast(Iterator[Batch], batches)


def wants_coc(config: TrainConfig) -> bool:
    """Whether known blur radii are decoded: where they count, and the network estimates them.

    Somebody's factory may build a K3DN that does.
    """
    if config.disparity_loss == 0:
        return False
    return ":" in config.model or variant(config.model, config.network).reads_coc


def collate(columns: Mapping[str, NDArray[Any]]) -> Batch:
    """Turn the columns of a reader into tensors."""
    pictures = torch.from_numpy(columns["pictures"].astype("float32")) / 65535.0
    left, right, target = pictures.permute(1, 0, 4, 2, 3).contiguous().unbind(0)
    coc = torch.from_numpy(columns["coc"].astype("float32"))[:, None] if "coc" in columns else None
    return Batch(
        index=[int(index) for index in columns["index"]],
        pair_id=[str(name) for name in columns["pair_id"]],
        left=left,
        right=right,
        target=target,
        coc=coc,
    )
