"""PSF block: deblur features by queried kernels (Eq. 10) or blur them again (Eq. 17)."""

import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu
from k3dn.network.kernels import KernelSet
from k3dn.network.mixing import InvertibleMixing

MAX_INVERSE_WEIGHT = 10.0
"""1 / a is clipped here, at the bound of the kernels' own gain (the authors' form clips at 100)."""


def align_to_features(grid_BNhw: Tensor, height: int, width: int) -> Tensor:
    """Give each feature the value of its place on the disparity grid, by nearest neighbour.

    Footnote 2 of the paper: anything smoother would be wrong at a disparity edge.
    """
    return F.interpolate(grid_BNhw, size=(height, width), mode="nearest")


def depthwise(x_BCHW: Tensor, kernels_CKK: Tensor) -> Tensor:
    """Convolve each channel with its own kernel; border values are repeated outwards.

    A convolution, not a correlation: the kernel is an image of a point.
    """
    reach = kernels_CKK.shape[-1] // 2
    padded = F.pad(x_BCHW, (reach, reach, reach, reach), mode="replicate")
    weight = kernels_CKK.flip((-2, -1))[:, None].to(x_BCHW.dtype)
    return F.conv2d(padded, weight, groups=x_BCHW.shape[1])


def inverse_weights(weights_BCHW: Tensor) -> Tensor:
    """1 / a, clipped. Clipping a first keeps the gradient finite where a is zero."""
    return weights_BCHW.clamp(min=1.0 / MAX_INVERSE_WEIGHT).reciprocal()


class PSFBlock(nn.Module):
    """One kernel set and the invertible mixing of channels behind it.

    a weights the deblurring kernels and 1 / a the blurring ones. The paper says it the other
    way round; a is a positive trained quantity, so it is the same family read backwards.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        self.kernel_set = KernelSet(config)
        self.mixing = InvertibleMixing(config.num_kernels)

    def linear(self, x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
        """The linear part of deblurring alone: kernel, weight a, mixing."""
        return self.mixing(weights_BCHW * depthwise(x_BCHW, self.kernel_set.deblurring_kernels()))

    def inverse_linear(self, x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
        """The inverse operators of ``linear`` in reverse order."""
        unmixed = self.mixing(x_BCHW, inverse=True) * inverse_weights(weights_BCHW)
        return depthwise(unmixed, self.kernel_set.blurring_kernels())

    def forward(self, x_BCHW: Tensor, weights_BCHW: Tensor, *, reblur: bool = False) -> Tensor:
        """Deblur features (Eq. 10), or blur those of a sharp picture by the same kernels."""
        return self._reblur(x_BCHW, weights_BCHW) if reblur else self._deblur(x_BCHW, weights_BCHW)

    def _deblur(self, x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
        """Eq. 10."""
        filtered = leaky_relu(depthwise(x_BCHW, self.kernel_set.deblurring_kernels()))
        return x_BCHW + leaky_relu(self.mixing(weights_BCHW * filtered))

    def _reblur(self, x_BCHW: Tensor, weights_BCHW: Tensor) -> Tensor:
        """Eq. 17."""
        unmixed = self.mixing(x_BCHW, inverse=True) * inverse_weights(weights_BCHW)
        unmixed = leaky_relu(unmixed)
        return x_BCHW + leaky_relu(depthwise(unmixed, self.kernel_set.blurring_kernels()))
