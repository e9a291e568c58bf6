"""K3DN: disparity-aware kernel estimation for dual-pixel defocus deblurring (CVPR 2023).

Needs torch and numpy; safetensors only to save and load weights.
"""

from k3dn.explain import Explanation, explain
from k3dn.factory import build_model
from k3dn.losses import Loss, TrainingObjective
from k3dn.network.config import VARIANTS, K3DNConfig
from k3dn.network.model import K3DN, Restoration
from k3dn.tiling import Restorer, deblur
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
    "build_model",
    "deblur",
    "explain",
    "load_weights",
    "save_weights",
]
