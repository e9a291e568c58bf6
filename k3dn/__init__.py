"""K3DN: disparity-aware kernel estimation for dual-pixel defocus deblurring (CVPR 2023).

``sharp = deblur(left, right)`` restores a pair with the weights in the box. Needs torch, numpy and
safetensors.
"""

from k3dn import box
from k3dn.deblurring import deblur
from k3dn.explain import Explanation, explain
from k3dn.factory import build_model
from k3dn.losses import Loss, TrainingObjective
from k3dn.network.config import VARIANTS, K3DNConfig
from k3dn.network.model import K3DN, Restoration
from k3dn.tiling import Restorer
from k3dn.weights import load_weights, save_weights

__all__ = [
    "K3DN",
    "VARIANTS",
    "Explanation",
    "K3DNConfig",
    "Loss",
    "Restoration",
    "Restorer",
    "TrainingObjective",
    "box",
    "build_model",
    "deblur",
    "explain",
    "load_weights",
    "save_weights",
]
