"""Where reduced precision must not reach."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside: Fourier transforms and triangular solves have no bfloat16 form."""
    if device.type == "meta":  # which autocast does not know
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
