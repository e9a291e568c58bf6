"""What K3DN found in a picture, as arrays to look at."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from k3dn.network.fitting import unfit
from k3dn.network.model import K3DN


@dataclass(frozen=True)
class Explanation:
    """The restored picture and the quantities behind it; ``None`` where a model has none."""

    image: NDArray[np.float32]
    """``(H, W, 3)`` in [0, 1]."""
    kernels: NDArray[np.float32] | None
    """``(N, k, k)``: blur kernels K of the first PSF block, in feature space (Eq. 9)."""
    kernel_weights: NDArray[np.float32] | None
    """``(h, w, N)``: a of Eq. 8 for them in each window, by default of 16 x 16 px."""
    in_focus: NDArray[np.float32] | None
    """``(H, W)`` in [0, 1]: how little the PSF blocks changed the features of a place."""


def explain(model: nn.Module, left: NDArray[np.float32], right: NDArray[np.float32]) -> Explanation:
    """Restore one pair, ``(H, W, 3)`` float in [0, 1], and show what was found on the way.

    The in-focus map follows Sec. 3.2: features of sharp regions stay similar before and after
    the PSF blocks. It is the relative change of F_B at each place, turned into ranks.
    """
    views = [
        torch.from_numpy(np.ascontiguousarray(view, np.float32)).movedim(-1, 0)[None]
        for view in (left, right)
    ]
    height, width = left.shape[:2]
    with torch.inference_mode():
        if not isinstance(model, K3DN):
            return Explanation(_picture(model(*views)), None, None, None)
        found = model.restore(*views)
        if not found.kernel_weights:
            return Explanation(_picture(found.image), None, None, None)
        change = (found.deblurred_features - found.features).norm(dim=1, keepdim=True)
        change = change / (found.features.norm(dim=1, keepdim=True) + 1e-6)
        ranks = change.flatten().argsort().argsort().reshape(change.shape)
        similar = 1.0 - ranks.float() / max(ranks.numel() - 1, 1)
        similar = F.interpolate(similar, scale_factor=8, mode="bilinear")
        similar = unfit(similar, height, width, pad=model.config.pad_to_grid)[0, 0].clamp(0, 1)
        kernels = model.psf_blocks[0].blur_kernels()  # type: ignore[operator]
        weights = found.kernel_weights[0][0].movedim(0, -1)
        return Explanation(_picture(found.image), kernels.numpy(), weights.numpy(), similar.numpy())


def _picture(image: torch.Tensor) -> NDArray[np.float32]:
    return image[0].clamp(0, 1).movedim(0, -1).numpy()
