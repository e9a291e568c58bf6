"""What the training loop needs of the world around it, with Ray Train or without."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn

Metrics = dict[str, float]


class WorkerContext(Protocol):
    """A worker among the workers of a run."""

    rank: int
    world_size: int
    device: torch.device
    node_rank: int
    """Number of its machine among those of the run."""
    local_rank: int
    """Its number among the workers of its machine."""

    def wrap(self, module: nn.Module, *, accumulates: bool) -> nn.Module:
        """Return the module with gradients averaged over the workers.

        accumulates: some backward passes will be made inside ``apart``.
        """
        ...

    def apart(self, wrapped: nn.Module) -> AbstractContextManager[object]:
        """Inside, gradients of a wrapped module add up on each worker; the next pass outside
        averages the sums."""
        ...

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over the workers, the same bits on each."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return the workers' values by rank, on each worker."""
        ...

    def report(self, metrics: Metrics) -> None:
        """Tell the outside; every worker must call it equally often."""
        ...


class ProcessContext:
    """A worker of a torch process group, or the only one where there is none."""

    def __init__(self, device: torch.device | None = None) -> None:
        alone = not dist.is_initialized()
        self.rank = 0 if alone else dist.get_rank()
        self.world_size = 1 if alone else dist.get_world_size()
        self.device = device or torch.device("cpu")
        self.node_rank, self.local_rank = 0, self.rank

    def wrap(self, module: nn.Module, *, accumulates: bool) -> nn.Module:
        """Return the module as it is where this worker is alone, else its DDP."""
        if self.world_size == 1:
            return module
        # Both let a network have parameters that its forward does not use. The static graph costs
        # less, but averages in the first backward pass also where it is told not to.
        return nn.parallel.DistributedDataParallel(
            module, static_graph=not accumulates, find_unused_parameters=accumulates
        )

    def apart(self, wrapped: nn.Module) -> AbstractContextManager[object]:
        """Return DDP's context for this; nothing is to be done where this worker is alone."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel):
            context: AbstractContextManager[object] = wrapped.no_sync()
            return context
        return nullcontext()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over the workers."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the values by rank."""
        values: list[Any] = [value]
        if self.world_size > 1:
            values = [None] * self.world_size
            dist.all_gather_object(values, value)
        return values

    def report(self, metrics: Metrics) -> None:
        """Nobody listens."""


class RayContext(ProcessContext):
    """A worker of Ray Train."""

    def __init__(self) -> None:
        import ray.train.torch

        super().__init__(ray.train.torch.get_device())
        here = ray.train.get_context()
        self.node_rank, self.local_rank = here.get_node_rank(), here.get_local_rank()

    def report(self, metrics: Metrics) -> None:
        """Report to the controller, and from there to Ray Tune where it asked."""
        import ray.train

        ray.train.report(dict(metrics))
