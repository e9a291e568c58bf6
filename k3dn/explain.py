"""What K3DN found in a picture, as arrays to look at."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from k3dn.modes import evaluating
from k3dn.network.model import K3DN, as_k3dn
from k3dn.network.psf import SparsePSFBlock

CONTRAST_PERIOD_PX = 8.0
"""The in-focus map says how much contrast is left of lines that repeat after so many px."""


@dataclass(frozen=True)
class Explanation:
    """The restored picture and the quantities behind it; ``None`` where a model has none."""

    image: NDArray[np.float32]
    """``(H, W, 3)`` in [0, 1]."""
    kernels: NDArray[np.float32] | None
    """``(N, k, k)``: the kernels of the first PSF block that ``kernel_weights`` are for, in feature
    space. In the sparse reading of Eq. 9 they deblur, in the dense one they blur, each the mean
    over its channels."""
    kernels_deblur: bool
    """Whether ``kernels`` deblur; else they blur."""
    kernel_weights: NDArray[np.float32] | None
    """``(h, w, N)``: a of Eq. 8 for them in each window, by default of 16 x 16 px."""
    in_focus: NDArray[np.float32] | None
    """``(H, W)`` in [0, 1]. With ``coc_px`` the ``contrast_left`` by a blur of that radius: 1 is
    sharp, whatever else is in the picture. Without, 1 / (1 + c) of the relative change c that the
    PSF blocks make to the features of a place (Sec. 3.2): 1 where they change nothing, but no
    measure of blur."""
    coc_px: NDArray[np.float32] | None
    """``(H, W)``: estimated signed radius of the circle of confusion in px, positive nearer than
    focus. None where the network has no readout, or one that was never trained, or whose network
    was trained on without known radii since (``K3DN.coc_drifted``)."""


def explain(
    model: nn.Module, left: NDArray[np.float32], right: NDArray[np.float32] | None = None
) -> Explanation:
    """Restore one pair, ``(H, W, 3)`` float in [0, 1], and show what was found on the way.

    right: left out for a model of single pictures. The model works in evaluation mode and is left
    in the mode it came in. Raises ValueError for views that do not fit each other or are no
    pictures.
    """
    given = [left] if right is None else [left, right]
    device = next(model.parameters(), torch.empty(0)).device
    views = [_to_tensor(view).to(device) for view in given]
    height, width = left.shape[:2]
    with evaluating(model):
        network = as_k3dn(model)
        if network is None:
            return Explanation(_picture(model(*views)), None, False, None, None, None)
        found = network.restore(*views)
        if not found.kernel_weights:
            return Explanation(_picture(found.image), None, False, None, None, None)
        kernels, kernels_deblur = _weighted_kernels(network)
        coc_px = None
        if found.coc_px is not None and network.knows_coc:
            coc_px = network.enlarge(found.coc_px, height, width)[0, 0]
            in_focus = contrast_left(coc_px)
        else:
            change = (found.deblurred_features - found.features).float().norm(dim=1, keepdim=True)
            change = change / (found.features.float().norm(dim=1, keepdim=True) + 1e-6)
            in_focus = network.enlarge(1.0 / (1.0 + change), height, width)[0, 0].clamp(0, 1)
        return Explanation(
            image=_picture(found.image),
            kernels=_to_array(kernels),
            kernels_deblur=kernels_deblur,
            kernel_weights=_to_array(found.kernel_weights[0][0].movedim(0, -1)),
            in_focus=_to_array(in_focus),
            coc_px=None if coc_px is None else _to_array(coc_px),
        )


def contrast_left(coc_px: Tensor) -> Tensor:
    """Share of contrast that a uniform disk of a radius leaves at ``CONTRAST_PERIOD_PX``.

    2 J1(x) / x at x = 2 pi radius / period, the transform of a disk, up to its first zero (at a
    radius of 0.61 periods, 4.9 px), and 0 beyond: a larger blur is never nearer to focus. The
    sign of the radius does not count. 0.98 at 0.5 px, 0.92 at 1 px, 0.72 at 2 px, 0.18 at 4 px.
    """
    x = 2 * torch.pi * coc_px.abs() / CONTRAST_PERIOD_PX
    first_zero = 3.8317059702
    contrast = 2 * torch.special.bessel_j1(x) / x.clamp(min=1e-6)
    return contrast.where(x > 1e-4, 1.0).where(x < first_zero, 0.0).clamp(0, 1)


def _weighted_kernels(network: K3DN) -> tuple[Tensor, bool]:
    """The kernels that a weighs in the first block, and whether they deblur."""
    block = network.blocks()[0]
    if isinstance(block, SparsePSFBlock):
        return block.kernel_set.deblurring_kernels(), True
    return block.blur_kernels(), False


def _to_tensor(view: NDArray[np.float32]) -> Tensor:
    if view.ndim != 3 or view.shape[2] != 3 or not np.issubdtype(view.dtype, np.floating):
        raise ValueError(
            "views must be (H, W, 3), floating point in [0, 1], got "
            f"{tuple(view.shape)} of {view.dtype}"
        )
    return torch.from_numpy(np.ascontiguousarray(view, np.float32)).movedim(-1, 0)[None]


def _picture(image: Tensor) -> NDArray[np.float32]:
    return _to_array(image[0].clamp(0, 1).movedim(0, -1))


def _to_array(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
