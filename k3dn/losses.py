"""The training loss (Eq. 18) and its terms."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.model import as_k3dn
from k3dn.network.precision import at_least_float32, full_precision
from k3dn.shapes import check_picture

EDGE_WEIGHT = 0.05
"""Share of the edge term; the paper's supplement cites MPRNet, where it is 0.05."""
EPSILON = 1e-3
"""Charbonnier: differences well below this count as squares."""


class Loss(NamedTuple):
    """Scalars of Eq. 18: ``total = deblur + lambda_1 * reblur``."""

    total: Tensor
    deblur: Tensor
    reblur: Tensor


def charbonnier(image: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + EPSILON^2), a smooth L1."""
    return ((image - target).square() + EPSILON**2).sqrt().mean()


def edges(image_BCHW: Tensor) -> Tensor:
    """A picture minus its 5-tap binomial blur: what is left are edges."""
    taps = image_BCHW.new_tensor([0.0625, 0.25, 0.375, 0.25, 0.0625])
    channels = image_BCHW.shape[1]
    kernel = torch.outer(taps, taps).expand(channels, 1, 5, 5)
    padded = F.pad(image_BCHW, (2, 2, 2, 2), mode="replicate")
    return image_BCHW - F.conv2d(padded, kernel, groups=channels)


def charbonnier_edge(image: Tensor, target: Tensor) -> Tensor:
    """Charbonnier plus an edge term. MPRNet, which the paper's supplement cites, has both; its
    edges come from a pyramid, these from one blur."""
    return charbonnier(image, target) + EDGE_WEIGHT * charbonnier(edges(image), edges(target))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "charbonnier_edge": charbonnier_edge,
    "charbonnier": charbonnier,
    "l1": F.l1_loss,
    "l2": F.mse_loss,
}
"""The two losses of Eq. 18 are in the supplement: readings of them, the first ours."""


def _compare(loss: Callable[[Tensor, Tensor], Tensor], image: Tensor, target: Tensor) -> Tensor:
    """In full precision: the differences that count at the end are below bfloat16's steps."""
    with full_precision(image.device):
        return loss(at_least_float32(image), at_least_float32(target))


class TrainingObjective(nn.Module):
    """A model and its loss in one module, so that data-parallel wrappers see one forward.

    ``forward(left, right, target)`` takes ``(B, 3, H, W)`` each, sRGB in [0, 1].
    model: a K3DN, or anybody's. One behind ``torch.compile`` reblurs uncompiled: compile the
    objective instead.
    lambda_1: weight of the reblurring loss (Eq. 18), 0 or more; 0 leaves reblurring out, and so
    does a model that has none: anybody else's, and K3DN without PSF blocks.
    deblur_loss, reblur_loss: names in ``LOSSES``. Raises ValueError for another one.
    """

    def __init__(
        self,
        model: nn.Module,
        lambda_1: float = 0.5,
        *,
        deblur_loss: str = "charbonnier_edge",
        reblur_loss: str = "charbonnier_edge",
    ) -> None:
        super().__init__()
        for name in (deblur_loss, reblur_loss):
            if name not in LOSSES:
                raise ValueError(f"unknown loss {name!r}; known are {', '.join(LOSSES)}")
        if not 0 <= lambda_1 < math.inf:
            raise ValueError(f"lambda_1 must be finite and not negative, got {lambda_1}")
        self.model = model
        self.lambda_1 = lambda_1
        self.deblur_loss, self.reblur_loss = LOSSES[deblur_loss], LOSSES[reblur_loss]

    def forward(self, left: Tensor, right: Tensor, target: Tensor, *, reblur: bool = True) -> Loss:
        """reblur: False leaves the reblurring pass, half of the work, out of this step.

        Raises ValueError for a target or views that are no pictures of one size.
        """
        check_picture("target", target)
        if target.shape != left.shape:
            raise ValueError(
                f"target must have the views' shape {tuple(left.shape)}, got {tuple(target.shape)}"
            )
        network = as_k3dn(self.model)
        if network is not None and network.psf_blocks and self.lambda_1 > 0 and reblur:
            restored = network.restore(left, right)
            blurred = network.reblur(target, restored.kernel_weights)
            deblurring = _compare(self.deblur_loss, restored.image, target)
            reblurring = _compare(self.reblur_loss, blurred, 0.5 * (left + right))
        else:
            deblurring = _compare(self.deblur_loss, self.model(left, right), target)
            reblurring = torch.zeros_like(deblurring)
        return Loss(deblurring + self.lambda_1 * reblurring, deblurring, reblurring)
