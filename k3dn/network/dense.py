"""The dense reading of Eq. 9: each window has a mixture of whole kernels, inverted by itself.

The other reading of the paper (``dense_kernels=N``): K^j is C_f kernels at once, a^i weighs N of
them, and the inverse of Eq. 7 and 10 is taken of the mixture. N is then free of the width; the
price is one kernel and one transform a window and channel.

Letters: B batch, N kernels, C channels, K kernel side, J side of the inverse kernel, h w windows.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.mixing import InvertibleMixing
from k3dn.network.precision import at_least_float32, full_precision
from k3dn.network.psf import PSFBlock
from k3dn.network.windows import cut_windows, join_windows

_GRID = 32
"""Side of the grid on which a mixture is inverted; its wrap-around is far from the kernel."""
EXTRA_REACH = 2
"""The inverse kernel reaches this much further to each side than the kernel."""
WIENER_FLOOR = 1e-3
"""Smallest regularisation of the inverse: its gain is at most 1 / (2 sqrt(floor)), 16."""


class DenseKernelSet(nn.Module):
    """N kernels of C channels each, symmetric left-right (Eq. 2), each with sum one."""

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        side = config.kernel_size
        shape = (config.num_kernels, config.channels, side, side // 2 + 1)
        half = 0.01 * torch.randn(shape)
        half[..., side // 2, side // 2] += 1.0
        self.half_kernels = nn.Parameter(half)

    def forward(self) -> Tensor:
        """K of Eq. 9, ``(N, C, K, K)``."""
        half = at_least_float32(self.half_kernels)
        kernels = torch.cat((half, half[..., :-1].flip(-1)), dim=-1)
        # A blur keeps the mean; divided by the sum it might explode, so the centre takes the rest.
        impulse = torch.zeros_like(kernels)
        impulse[..., kernels.shape[-2] // 2, kernels.shape[-1] // 2] = 1.0
        return kernels + impulse * (1.0 - kernels.sum((-2, -1), keepdim=True))


def mix_kernels(weights_BNhw: Tensor, kernels_NCKK: Tensor) -> Tensor:
    """Eq. 9: K-hat^i = Sum_j a^i_j K^j, ``(B, h, w, C, K, K)``."""
    return torch.einsum("bnhw,ncyx->bhwcyx", weights_BNhw, kernels_NCKK)


def wiener_inverse(kernels: Tensor, floor: float, side: int) -> Tensor:
    """Regularised inverse filter, conj(F) / (|F|^2 + floor) (Eq. 7), of ``(..., K, K)``.

    Returns ``(..., side, side)``. The regularisation costs floor / (|F|^2 + floor) of a
    frequency; cropping to ``side`` costs more where a kernel has small frequencies.
    """
    if torch.compiler.is_exporting():
        return _wiener_inverse_by_matrices(kernels, floor, side)
    size, reach = kernels.shape[-1], kernels.shape[-1] // 2
    with full_precision(kernels.device):
        padded = F.pad(kernels, (0, _GRID - size, 0, _GRID - size))
        spectrum = torch.fft.rfft2(padded.roll((-reach, -reach), dims=(-2, -1)))
        inverse = spectrum.conj() / (spectrum.abs().square() + floor)
        spatial = torch.fft.irfft2(inverse, s=(_GRID, _GRID))
        return spatial.roll((side // 2, side // 2), dims=(-2, -1))[..., :side, :side]


def _wiener_inverse_by_matrices(kernels: Tensor, floor: float, side: int) -> Tensor:
    """The same for an exported graph, whose numbers are real: sums of cosines and sines."""
    size = kernels.shape[-1]
    frequencies = (2.0 * math.pi / _GRID) * torch.arange(_GRID)

    def waves(length: int) -> tuple[Tensor, Tensor]:
        angles = (torch.arange(length) - length // 2)[:, None] * frequencies
        return angles.cos().to(kernels), angles.sin().to(kernels)

    cos, sin = waves(size)
    real = cos.T @ kernels @ cos - sin.T @ kernels @ sin
    imaginary = -(sin.T @ kernels @ cos + cos.T @ kernels @ sin)
    power = real.square() + imaginary.square() + floor
    real, imaginary = real / power, imaginary / power
    cos, sin = waves(side)
    spatial = cos @ real @ cos.T - sin @ real @ sin.T
    return (spatial + sin @ imaginary @ cos.T + cos @ imaginary @ sin.T) / _GRID**2


def convolve_windows(x_BCHW: Tensor, kernels_BhwCKK: Tensor, *, shared: bool) -> Tensor:
    """Convolve the features of each window by its own kernels, ``(B, C, H, W)``."""
    batch, down, across, channels, side, _ = kernels_BhwCKK.shape
    windows = cut_windows(x_BCHW, (down, across), side // 2, shared=shared)
    if torch.compiler.is_exporting():
        return join_windows(_filter_by_rows(windows, kernels_BhwCKK.flip((-2, -1)).to(windows)))
    stacked = windows.reshape(1, -1, *windows.shape[-2:])
    weight = kernels_BhwCKK.flip((-2, -1)).reshape(-1, 1, side, side).to(x_BCHW.dtype)
    filtered = F.conv2d(stacked, weight, groups=stacked.shape[1])
    shape = (batch, down, across, channels, *filtered.shape[-2:])
    return join_windows(filtered.reshape(shape))


def _filter_by_rows(windows_BhwCYX: Tensor, weight_BhwCKK: Tensor) -> Tensor:
    """Correlate windows for an exported graph, where a convolution has a fixed number of groups."""
    side = weight_BhwCKK.shape[-1]
    rows = [slice(first, first + 1 - side or None) for first in range(side)]
    return sum(
        (
            (windows_BhwCYX[..., cut, :].unfold(-1, side, 1) * weight[..., None, None, :]).sum(-1)
            for cut, weight in zip(rows, weight_BhwCKK.unbind(-2), strict=True)
        ),
        start=torch.zeros(()).to(windows_BhwCYX),
    )


class DensePSFBlock(PSFBlock):
    """The PSF block with Eq. 9 read densely; a weighs blur kernels, deblurring inverts.

    The weights of a place sum to one. ``bounded_inverse`` concerns the mixing of channels alone:
    the inverse of a mixture is always the regularised one.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        self.shared_windows = config.shared_windows
        self.kernel_set = DenseKernelSet(config)
        self.mixing = InvertibleMixing(config.channels, bounded=config.bounded_inverse)

    def query_kernels(self) -> Tensor:
        """The kernels that Eq. 8 looks at, ``(N, K, K)``: their mean over the channels."""
        return self.kernel_set().mean(dim=1)

    def blur_kernels(self) -> Tensor:
        """The kernels that blur, to look at, ``(N, K, K)``: their mean over the channels."""
        return self.query_kernels()

    def sharpen(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        mixed = self._mixed_kernels(weights_BNhw)
        side = mixed.shape[-1] + 2 * EXTRA_REACH
        inverse = wiener_inverse(mixed, WIENER_FLOOR, side)
        return convolve_windows(x_BCHW, inverse, shared=self.shared_windows)

    def blur(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        mixed = self._mixed_kernels(weights_BNhw)
        return convolve_windows(x_BCHW, mixed, shared=self.shared_windows)

    def mix(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        return self.mixing(x_BCHW)

    def unmix(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        return self.mixing(x_BCHW, inverse=True)

    def _mixed_kernels(self, weights_BNhw: Tensor) -> Tensor:
        with full_precision(weights_BNhw.device):
            return mix_kernels(at_least_float32(weights_BNhw), self.kernel_set())
