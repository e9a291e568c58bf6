"""The training loss (Eq. 18) and its terms."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.model import K3DN
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


def laplacian_of_gaussian(image_BCHW: Tensor) -> Tensor:
    """A picture minus its 5-tap binomial blur: what is left are edges."""
    taps = image_BCHW.new_tensor([0.0625, 0.25, 0.375, 0.25, 0.0625])
    channels = image_BCHW.shape[1]
    kernel = torch.outer(taps, taps).expand(channels, 1, 5, 5)
    padded = F.pad(image_BCHW, (2, 2, 2, 2), mode="replicate")
    return image_BCHW - F.conv2d(padded, kernel, groups=channels)


def restoration_loss(image: Tensor, target: Tensor) -> Tensor:
    """Charbonnier plus an edge term: the reading taken for both losses of Eq. 18."""
    edges = charbonnier(laplacian_of_gaussian(image), laplacian_of_gaussian(target))
    return charbonnier(image, target) + EDGE_WEIGHT * edges


class TrainingObjective(nn.Module):
    """A model and its loss in one module, so that data-parallel wrappers see one forward.

    ``forward(left, right, target)`` takes ``(B, 3, H, W)`` each, sRGB in [0, 1].
    lambda_1: weight of the reblurring loss (Eq. 18); 0 leaves reblurring out, and so does a
    model that has none.
    """

    def __init__(self, model: nn.Module, lambda_1: float = 0.5) -> None:
        super().__init__()
        self.model = model
        self.lambda_1 = lambda_1

    def forward(self, left: Tensor, right: Tensor, target: Tensor, *, reblur: bool = True) -> Loss:
        """reblur: False leaves the reblurring pass, half of the work, out of this step."""
        check_picture("target", target)
        if isinstance(self.model, K3DN) and self.lambda_1 > 0 and reblur:
            restored = self.model.restore(left, right)
            blurred = self.model.reblur(target, restored.kernel_weights)
            deblur = restoration_loss(restored.image.float(), target)
            reblur_loss = restoration_loss(blurred.float(), 0.5 * (left + right))
        else:
            deblur = restoration_loss(self.model(left, right).float(), target)
            reblur_loss = torch.zeros_like(deblur)
        return Loss(deblur + self.lambda_1 * reblur_loss, deblur, reblur_loss)
