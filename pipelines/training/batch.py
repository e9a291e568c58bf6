"""A worker's part of a step, and what gives it."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from k3dn.network.config import variant
from pipelines.training.config import TrainConfig

if TYPE_CHECKING:
    from pipelines.training.plan import RunPlan


@dataclass(frozen=True, slots=True)
class Batch:
    """A worker's part of one step; pictures ``(n, 3, P, P)``, sRGB, as ``as_float`` reads them."""

    index: list[int]
    """Positions in the global sequence."""
    pair_id: list[str]
    """Which pairs, as ``name@version/pair_id``."""
    left: Tensor
    right: Tensor
    target: Tensor
    coc: Tensor | None = None
    """Signed blur radius in px, ``(n, 1, P, P)`` float16 or float32, NaN where not known; None
    where the run has no ``disparity_loss``, or the network estimates none."""


class BatchSource(Protocol):
    """What gives a worker its batches of the steps ``start`` to ``stop``; None: without end."""

    def __call__(
        self, plan: "RunPlan", rank: int, world_size: int, start: int, stop: int | None
    ) -> Generator[Batch, None, None]: ...


def collate(columns: Mapping[str, NDArray[Any]]) -> Batch:
    """Turn the columns of a reader into tensors, as small as they came: floats are made of them
    where they are needed, which on a GPU halves what travels there."""
    # Each picture's channels lie together, as on a GPU they are wanted: nothing is moved about.
    pictures = np.ascontiguousarray(columns["pictures"].transpose(1, 0, 2, 3, 4))
    left, right, target = torch.from_numpy(pictures.view(np.int16)).permute(0, 1, 4, 2, 3)
    coc = torch.from_numpy(columns["coc"])[:, None] if "coc" in columns else None
    return Batch(
        index=[int(index) for index in columns["index"]],
        pair_id=[str(name) for name in columns["pair_id"]],
        left=left,
        right=right,
        target=target,
        coc=coc,
    )


def as_float(values: Tensor) -> Tensor:
    """Return pictures as floats in [0, 1], radii as floats: float32, or double as they came.

    int16 holds the bits of 16-bit values, of which 65535 is 1: few operators take torch's uint16.
    """
    if values.dtype == torch.int16:
        return values.to(torch.int32).bitwise_and_(0xFFFF).to(torch.float32).div_(65535.0)
    return values.to(torch.promote_types(values.dtype, torch.float32))


def wants_coc(config: TrainConfig) -> bool:
    """Whether known blur radii are decoded: where they count, and the network estimates them.

    Somebody's factory may build a K3DN that does.
    """
    if config.disparity_loss == 0:
        return False
    return ":" in config.model or variant(config.model, config.network).reads_coc
