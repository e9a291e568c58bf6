"""Where both views are equal, a pair tells nothing: the picture stays as it is.

Blur moves the views apart, and noise is each view's own. Values that are equal over a whole
neighbourhood come from clipped light, or from a file that is not a pair; a network would sharpen or
smooth there by guess.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK_PX = 8
"""Equality is looked at in blocks of so many pixels a side."""


def keep_equal(restored: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return ``restored`` with the views' own values where these are equal 40 px around.

    restored: ``(B, C, H, W)``, the picture in its first three channels. left, right:
    ``(B, 3, H, W)``. From there to where the views differ, the one goes over into the other.
    """
    differ = (left != right).any(dim=1, keepdim=True).to(restored.dtype)
    differ = F.max_pool2d(differ, _BLOCK_PX, ceil_mode=True)
    if bool(differ.all()):
        return restored
    near = F.max_pool2d(differ, 5, stride=1, padding=2)
    share = F.avg_pool2d(near, 3, stride=1, padding=1, count_include_pad=False)
    height, width = restored.shape[-2:]
    share = F.interpolate(share, scale_factor=float(_BLOCK_PX), mode="bilinear")
    picture = torch.lerp(left, restored[:, :3], share[..., :height, :width])
    return torch.cat((picture, restored[:, 3:]), dim=1)
