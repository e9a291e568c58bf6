"""Where reduced precision must not reach."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside: Fourier transforms and triangular solves have no bfloat16 form."""
    # Autocast does not know the meta device, and an exported graph would keep it as a node.
    if device.type == "meta" or torch.compiler.is_exporting():
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def autocasts(device: torch.device) -> bool:
    """Whether autocast chooses the type of what is computed on a device."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def at_least_float32(x: Tensor) -> Tensor:
    """A half-precision tensor as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
