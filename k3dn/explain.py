"""What K3DN found in a picture, as arrays to look at."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from k3dn.modes import evaluating
from k3dn.network.fitting import unfit
from k3dn.network.model import as_k3dn


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


def explain(
    model: nn.Module, left: NDArray[np.float32], right: NDArray[np.float32] | None = None
) -> Explanation:
    """Restore one pair, ``(H, W, 3)`` float in [0, 1], and show what was found on the way.

    right: left out for a model of single pictures. The in-focus map follows Sec. 3.2: features of
    sharp regions stay similar before and after the PSF blocks. It is the relative change of F_B at
    each place, turned into ranks. The model works in evaluation mode and is left in the mode
    it came in. Raises ValueError for views that do not fit each other or are no pictures.
    """
    given = [left] if right is None else [left, right]
    device = next(model.parameters(), torch.empty(0)).device
    views = [_to_tensor(view).to(device) for view in given]
    height, width = left.shape[:2]
    with evaluating(model):
        network = as_k3dn(model)
        if network is None:
            return Explanation(_picture(model(*views)), None, None, None)
        found = network.restore(*views)
        if not found.kernel_weights:
            return Explanation(_picture(found.image), None, None, None)
        change = (found.deblurred_features - found.features).norm(dim=1, keepdim=True)
        change = change / (found.features.norm(dim=1, keepdim=True) + 1e-6)
        ranks = change.flatten().argsort().argsort().reshape(change.shape)
        similar = 1.0 - ranks.float() / max(ranks.numel() - 1, 1)
        similar = F.interpolate(similar, scale_factor=8, mode="bilinear")
        similar = unfit(similar, height, width, pad=network.config.pad_to_grid)[0, 0].clamp(0, 1)
        kernels = network.blocks()[0].blur_kernels()
        weights = found.kernel_weights[0][0].movedim(0, -1)
        return Explanation(
            _picture(found.image), _to_array(kernels), _to_array(weights), _to_array(similar)
        )


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
