"""Local correlation: each position's scores against its neighbourhood (Eq. 11)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def local_correlation(query_BCHW: Tensor, key_BCHW: Tensor, window: int) -> Tensor:
    """score(p, d) = mean over channels of q(p) . k(p + d), for d in a window x window square.

    No softmax, as in the authors' form; keys outside the picture are zero. Returns
    ``(B, window^2, H, W)``, offsets row by row, top left first.
    """
    scores: Tensor = _LocalCorrelation.apply(query_BCHW, key_BCHW, window)
    return scores


class _LocalCorrelation(torch.autograd.Function):
    """A loop over the offsets, with its own backward pass.

    Autograd's would fill one array of the size of all keys with zeros for each of the offsets,
    which took a third of a training step on the CPU.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.window = window
        padded = _pad(key, window)
        batch, _, height, width = query.shape
        scores = query.new_empty(batch, window * window, height, width)
        for index, (rows, columns) in enumerate(_offsets(window, height, width)):
            torch.mean(query * padded[..., rows, columns], dim=1, out=scores[:, index])
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key = ctx.saved_tensors
        height, width = query.shape[-2:]
        reach = ctx.window // 2
        padded = _pad(key, ctx.window)
        grad_query, grad_padded = torch.zeros_like(query), torch.zeros_like(padded)
        grad_scores = grads[0] / query.shape[1]
        for index, (rows, columns) in enumerate(_offsets(ctx.window, height, width)):
            grad = grad_scores[:, index, None]
            grad_query.addcmul_(grad, padded[..., rows, columns])
            grad_padded[..., rows, columns].addcmul_(grad, query)
        grad_key = grad_padded[..., reach : reach + height, reach : reach + width]
        return grad_query, grad_key, None


def _pad(key: Tensor, window: int) -> Tensor:
    reach = window // 2
    return F.pad(key, (reach, reach, reach, reach))


def _offsets(window: int, height: int, width: int) -> list[tuple[slice, slice]]:
    return [
        (slice(dy, dy + height), slice(dx, dx + width))
        for dy in range(window)
        for dx in range(window)
    ]
