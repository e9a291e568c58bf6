"""The trainable kernel set K and its query by disparity features (Eq. 8, 9).

Reading of Sec. 3.2's "sparse representation": N = C_f kernels, the j-th of which is non-zero
in channel j only. Eq. 9 then gives channel c the kernel a_c * K^c: one trained kernel a
channel, weighted at each place by a.

Letters: C channels (= N kernels), K kernel side, G side of the spectrum, h w the grid of R.
"""

import math

import torch
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.precision import full_precision

MAX_LOG_GAIN = math.log(10.0)
"""No frequency is amplified or damped by more than a factor of ten."""


class KernelSet(nn.Module):
    """C real kernels, each symmetric left-right (Eq. 2), held as bounded log spectra.

    The spectrum is exp(gain + i phase), so that the inverse filter of Eq. 7 and 10,
    1 / F(K) = exp(-gain - i phase), needs no division and has a bounded gain whatever the
    training does. ``gain`` is even in both frequencies and ``phase`` even in the horizontal,
    odd in the vertical one: that makes the kernel real and symmetric by construction.
    Starts at the impulse plus a little noise.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        self.kernel_size = config.kernel_size
        self.spectrum_size = config.spectrum_size
        channels, half = config.num_kernels, config.spectrum_size // 2
        self.log_gain = nn.Parameter(0.1 * torch.randn(channels, half + 1, half + 1))
        self.phase = nn.Parameter(0.1 * torch.randn(channels, half - 1, half + 1))

    def deblurring_kernels(self) -> Tensor:
        """Kernels that deblur, ``(C, K, K)``: F'(1 / F(K)) of Eq. 10."""
        return self._spatial(1.0)

    def blurring_kernels(self) -> Tensor:
        """Kernels that blur, ``(C, K, K)``: K of Eq. 9 and 17."""
        return self._spatial(-1.0)

    def spectra(self) -> Tensor:
        """Spectra of the deblurring kernels, ``(C, G, G / 2 + 1)`` complex, origin first."""
        gain = MAX_LOG_GAIN * torch.tanh(self.log_gain.float() / MAX_LOG_GAIN)
        phase = self.phase.float()
        edge = torch.zeros_like(phase[:, :1])
        # Rows of a real FFT: 0, 1 .. G/2 - 1, Nyquist, then the negative frequencies upwards.
        gain = torch.cat((gain, gain[:, 1:-1].flip(1)), dim=1)
        phase = torch.cat((edge, phase, edge, -phase.flip(1)), dim=1)
        return torch.polar(gain.exp(), phase)

    def _spatial(self, direction: float) -> Tensor:
        with full_precision(self.log_gain.device):
            spectra = self.spectra()
            spectra = spectra if direction > 0 else spectra.reciprocal()
            kernels = torch.fft.irfft2(spectra, s=(self.spectrum_size, self.spectrum_size))
            reach = self.kernel_size // 2
            kernels = kernels.roll((reach, reach), dims=(-2, -1))
            kernels = kernels[:, : self.kernel_size, : self.kernel_size]
            return 0.5 * (kernels + kernels.flip(-1))  # exact symmetry in spite of rounding


class KernelQuery(nn.Module):
    """a^i = softmax(W_v (Sum(W_k . K) * (W_r r^i))), times N (Eq. 8).

    The factor N is ours: a plain softmax over N channels starts at 1 / N and all but switches
    the PSF block off. Before it, the weights of a place sum to one as in the paper. Also ours:
    logits are bounded, so that two weights of a place differ by at most a factor of ten and
    neither a nor 1 / a (Eq. 17) explodes.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        channels = config.num_kernels
        half_columns = config.kernel_size // 2 + 1
        # A symmetric kernel has K x (K + 1) / 2 distinct values; so has what weighs it.
        self.key_weights = nn.Parameter(
            torch.randn(channels, config.kernel_size, half_columns) / config.kernel_size
        )
        self.key_bias = nn.Parameter(torch.ones(channels))
        self.from_disparity = nn.Conv2d(config.disparity_channels, channels, 1)
        self.to_weights = nn.Conv2d(channels, channels, 1)

    def start_even(self) -> None:
        """Start with nearly equal weights of about one, whatever the disparity."""
        nn.init.normal_(self.to_weights.weight, std=0.1 * self.to_weights.in_channels**-0.5)

    def forward(self, disparity_BDhw: Tensor, kernels_CKK: Tensor) -> Tensor:
        """Weights of the kernels at each place of the disparity grid, ``(B, N, h, w)``."""
        half = kernels_CKK[..., : self.key_weights.shape[-1]]
        key_C = (self.key_weights * half).sum((-2, -1)) + self.key_bias
        query = self.from_disparity(disparity_BDhw) * key_C[:, None, None]
        bound = 0.5 * MAX_LOG_GAIN
        logits = bound * torch.tanh(self.to_weights(query) / bound)
        return logits.softmax(dim=1) * key_C.shape[0]
