"""Border values repeated outwards."""

import torch
import torch.nn.functional as F
from torch import Tensor


def repeat_borders(x_BCHW: Tensor, margin: tuple[int, int, int, int]) -> Tensor:
    """Pad by the border's values: ``margin`` more to the left, right, top and bottom.

    Compiled, by operators whose gradients are sums of slices. That of torch's own comes in the
    layout of its input on a CPU, where its shape function promises a contiguous one
    (``meta_pad2d_backward`` in torch 2.13), so that a compiled step with channels together ended
    there; on a GPU it adds up in no fixed order.
    """
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return F.pad(x_BCHW, margin, mode="replicate")
    left, right, top, bottom = margin
    return _repeat_ends(_repeat_ends(x_BCHW, 3, left, right), 2, top, bottom)


def _repeat_ends(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    length = x.shape[axis]
    parts = [x]
    if before:
        sizes = [before if one == axis else -1 for one in range(x.ndim)]
        parts.insert(0, x.narrow(axis, 0, 1).expand(sizes))
    if after:
        sizes = [after if one == axis else -1 for one in range(x.ndim)]
        parts.append(x.narrow(axis, length - 1, 1).expand(sizes))
    return torch.cat(parts, dim=axis) if len(parts) > 1 else x
