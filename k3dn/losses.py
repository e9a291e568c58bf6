"""The training loss (Eq. 18) and its terms."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.borders import repeat_borders
from k3dn.network.config import K3DNConfig
from k3dn.network.fitting import fitted_size
from k3dn.network.model import as_k3dn
from k3dn.network.precision import at_least_float32, full_precision
from k3dn.shapes import check_picture

EDGE_WEIGHT = 0.05
"""Share of the edge term; the paper's supplement cites MPRNet, where it is 0.05."""
EPSILON = 1e-3
"""Charbonnier: differences well below this count as squares."""

COC_KNEE_PX = 0.5
"""Errors of the blur radius well below this count as squares, larger ones by their size."""
COC_SCALE_PX = 8.0
"""An error of the blur radius of so many px counts as one, about the largest in common use."""
LEAST_KNOWN = 0.5
"""Share of a window's pixels whose blur radius must be known for the window to count."""


class Loss(NamedTuple):
    """Scalars: ``total = deblur + lambda_1 * reblur`` (Eq. 18) ``+ disparity_loss * disparity``."""

    total: Tensor
    deblur: Tensor
    reblur: Tensor
    disparity: Tensor


def charbonnier(image: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + EPSILON^2), a smooth L1."""
    return ((image - target).square() + EPSILON**2).sqrt().mean()


def edges(image_BCHW: Tensor) -> Tensor:
    """A picture minus its 5-tap binomial blur: what is left are edges."""
    taps = image_BCHW.new_tensor([0.0625, 0.25, 0.375, 0.25, 0.0625])
    channels = image_BCHW.shape[1]
    kernel = torch.outer(taps, taps).expand(channels, 1, 5, 5)
    padded = repeat_borders(image_BCHW, (2, 2, 2, 2))
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


def coc_of_windows(coc_B1HW: Tensor, config: K3DNConfig) -> Tensor:
    """Mean signed blur radius of each window of R, in px, ``(B, 1, h, w)``.

    coc_B1HW: signed radius at each pixel in px, NaN where it is not known. NaN where it is known
    at less than ``LEAST_KNOWN`` of a window's pixels; what pads a picture is not known.
    """
    height, width = coc_B1HW.shape[-2:]
    fitted = fitted_size((height, width), config.grid_px, config.smallest_px)
    grid = (fitted[0] // config.vector_px[0], fitted[1] // config.vector_px[1])
    if config.pad_to_grid:
        margin = (0, fitted[1] - width, 0, fitted[0] - height)
        coc_B1HW = F.pad(coc_B1HW, margin, value=math.nan)
    known = coc_B1HW.isfinite()
    share = F.adaptive_avg_pool2d(known.to(coc_B1HW.dtype), grid)
    mean = F.adaptive_avg_pool2d(coc_B1HW.where(known, 0.0), grid) / share
    return mean.where(share >= LEAST_KNOWN, math.nan)


def coc_distance(found_px: Tensor, coc_px: Tensor) -> Tensor:
    """Robust distance of estimated blur radii from the true ones, both ``(B, 1, h, w)`` in px.

    sqrt(e^2 + COC_KNEE_PX^2) - COC_KNEE_PX, over COC_SCALE_PX, of the error e of each window. The
    mean is over all windows, those whose truth is NaN counting zero: a batch's loss is the mean
    of its pairs', however it is divided, and zero where nothing is known.
    """
    known = coc_px.isfinite()
    # Before the root, not behind it: the gradient of what is left out would be NaN.
    error = (found_px - coc_px).where(known, 0.0)
    return ((error.square() + COC_KNEE_PX**2).sqrt() - COC_KNEE_PX).mean() / COC_SCALE_PX


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
    disparity_loss: weight of the distance of the estimated blur radius from the true one, where
    that is known; 0 or more. Not in the paper. 0 leaves it out, and so does a model that
    estimates none: anybody else's, and K3DN without ``coc_readout``. It teaches the disparity
    estimator and the readout alone.
    """

    def __init__(
        self,
        model: nn.Module,
        lambda_1: float = 0.1,
        *,
        deblur_loss: str = "charbonnier_edge",
        reblur_loss: str = "charbonnier_edge",
        disparity_loss: float = 0.0,
    ) -> None:
        super().__init__()
        for name in (deblur_loss, reblur_loss):
            if name not in LOSSES:
                raise ValueError(f"unknown loss {name!r}; known are {', '.join(LOSSES)}")
        for name, weight in (("lambda_1", lambda_1), ("disparity_loss", disparity_loss)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {weight}")
        self.model = model
        self.lambda_1, self.disparity_loss = lambda_1, disparity_loss
        self.deblur_loss, self.reblur_loss = LOSSES[deblur_loss], LOSSES[reblur_loss]

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        target: Tensor,
        coc: Tensor | None = None,
        *,
        reblur: bool = True,
    ) -> Loss:
        """coc: signed radius of the circle of confusion in px, positive nearer than focus,
        ``(B, 1, H, W)``, NaN where it is not known (all of a real pair); None: nowhere.
        reblur: False leaves the reblurring pass, half of the work, out of this step.

        Raises ValueError for a target or views that are not pictures of one size, and for coc of
        another size.
        """
        check_picture("target", target)
        if target.shape != left.shape:
            raise ValueError(
                f"target must have the views' shape {tuple(left.shape)}, got {tuple(target.shape)}"
            )
        if coc is not None and coc.shape != (left.shape[0], 1, *left.shape[-2:]):
            raise ValueError(
                f"coc must be {(left.shape[0], 1, *left.shape[-2:])}, as the views, got "
                f"{tuple(coc.shape)}"
            )
        network = as_k3dn(self.model)
        if network is None:
            return self._total(_compare(self.deblur_loss, self.model(left, right), target))
        reblurs = bool(network.psf_blocks) and self.lambda_1 > 0 and reblur
        estimates = network.coc_readout is not None and self.disparity_loss > 0 and coc is not None
        if not (reblurs or estimates):
            return self._total(_compare(self.deblur_loss, self.model(left, right), target))
        restored = network.restore(left, right)
        reblurring = disparity = None
        if reblurs:
            blurred = network.reblur(target, restored.kernel_weights)
            reblurring = _compare(self.reblur_loss, blurred, 0.5 * (left + right))
        if estimates:
            assert coc is not None and restored.coc_px is not None
            disparity = _compare(coc_distance, restored.coc_px, coc_of_windows(coc, network.config))
        deblurring = _compare(self.deblur_loss, restored.image, target)
        return self._total(deblurring, reblurring, disparity)

    def _total(
        self, deblur: Tensor, reblur: Tensor | None = None, disparity: Tensor | None = None
    ) -> Loss:
        zero = torch.zeros_like(deblur)
        reblur, disparity = (zero if term is None else term for term in (reblur, disparity))
        total = deblur + self.lambda_1 * reblur + self.disparity_loss * disparity
        return Loss(total, deblur, reblur, disparity)
