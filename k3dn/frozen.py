"""A network for inference alone: what depends on parameters only is computed once."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from k3dn.network.dense import DenseKernelSet
from k3dn.network.kernels import KernelSet
from k3dn.network.mixing import InvertibleMixing, mix

Module = TypeVar("Module", bound=nn.Module)


class FixedKernels(KernelSet):
    """The kernels of a set as numbers, ``(C, K, K)``, in place of their spectra."""

    deblurring: Tensor
    blurring: Tensor
    queried: Tensor

    def __init__(self, kernels: KernelSet) -> None:
        super().__init__()
        self.register_buffer("deblurring", kernels.deblurring_kernels())
        self.register_buffer("blurring", kernels.blurring_kernels())
        self.register_buffer("queried", kernels.query_kernels())

    def deblurring_kernels(self) -> Tensor:
        return self.deblurring

    def blurring_kernels(self) -> Tensor:
        return self.blurring

    def query_kernels(self) -> Tensor:
        return self.queried


class FixedDenseKernels(nn.Module):
    """The kernels of the dense reading as numbers, ``(N, C, K, K)``."""

    kernels: Tensor

    def __init__(self, kernels: DenseKernelSet) -> None:
        super().__init__()
        self.register_buffer("kernels", kernels())

    def forward(self) -> Tensor:
        """K of Eq. 9, ``(N, C, K, K)``."""
        return self.kernels


class FixedMixing(nn.Module):
    """W and W^-1 as numbers, ``(C, C)``, in place of their factors."""

    weight: Tensor
    inverse_weight: Tensor

    def __init__(self, mixing: InvertibleMixing) -> None:
        super().__init__()
        self.register_buffer("weight", mixing.weight())
        self.register_buffer("inverse_weight", mixing.inverse_weight())

    def forward(self, x_BCHW: Tensor, *, inverse: bool = False) -> Tensor:
        """W x at each position, or W^-1 x; ``(B, C, H, W)`` kept."""
        return mix(x_BCHW, self.inverse_weight if inverse else self.weight)


FIXED = (FixedKernels, FixedDenseKernels, FixedMixing)
"""What holds numbers in place of parameters."""


@torch.no_grad()
def freeze(model: Module) -> Module:
    """Return a copy in evaluation mode, without gradients, that gives the same pictures.

    Kernels and mixing weights of K3DN are numbers in it: no Fourier transform of a spectrum and
    no triangular solve is left. Somebody else's module is copied as it is. The copy has other
    names in its ``state_dict``; ``model`` is not touched.
    """
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    for name, part in list(frozen.named_modules()):
        if isinstance(part, KernelSet):
            frozen.set_submodule(name, FixedKernels(part))
        elif isinstance(part, DenseKernelSet):
            frozen.set_submodule(name, FixedDenseKernels(part))
        elif isinstance(part, InvertibleMixing):
            frozen.set_submodule(name, FixedMixing(part))
    return frozen
