"""Pictures of any size through a network that halves them several times."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def padded(network: Callable[[Tensor], Tensor], picture: Tensor, multiple: int) -> Tensor:
    """Run a network on ``(B, C, H, W)`` continued to a multiple of a number, and cut the answer.

    Continued by its border: reflection would mirror each view without exchanging them, which
    turns far into near.
    """
    height, width = picture.shape[-2:]
    more = (0, -width % multiple, 0, -height % multiple)
    return network(F.pad(picture, more, mode="replicate"))[..., :height, :width]
