"""The trainable kernel set K (Sec. 3.2) and its inverse filters (Eq. 6, 7).

Reading of Sec. 3.2's "sparse representation": N = C_f kernels, the j-th of which is non-zero
in channel j only. Eq. 9 then gives channel c the kernel a_c * K^c: one trained kernel a
channel, weighted at each place by a. ``BoundedKernels`` and ``AuthorsKernels`` are two
parametrisations of that; ``dense`` holds the other reading.

Letters: C channels (= N kernels), K kernel side, G side of the spectrum.
"""

import math

import torch
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.precision import at_least_float32, full_precision

MAX_LOG_GAIN = math.log(10.0)
"""No frequency of a spectrum is amplified or damped by more than a factor of ten."""
AUTHORS_EPSILON = 1e-8
"""What the authors add before they divide."""


class KernelSet(nn.Module):
    """C real kernels, each symmetric left-right (Eq. 2), and their inverses.

    What is trained is a spectrum. It becomes kernels once the training is over, so its numbers
    do not count in a network's size.
    """

    def query_kernels(self) -> Tensor:
        """The kernels that Eq. 8 looks at, ``(C, K, K)``: K, those that blur."""
        return self.blurring_kernels()

    def deblurring_kernels(self) -> Tensor:
        """Kernels that deblur, ``(C, K, K)``: F'(1 / F(K)) of Eq. 7 and 10."""
        raise NotImplementedError

    def blurring_kernels(self) -> Tensor:
        """Kernels that blur, ``(C, K, K)``: K of Eq. 6, 9 and 17."""
        raise NotImplementedError


class BoundedKernels(KernelSet):
    """Kernels held as bounded log spectra.

    The spectrum is exp(gain + i phase), so that the inverse filter of Eq. 7 and 10,
    1 / F(K) = exp(-gain - i phase), needs no division and has a bounded gain and gradient whatever
    the training does. ``gain`` is even in both frequencies and ``phase`` even in the horizontal,
    odd in the vertical one: that makes the kernel real and symmetric by construction.

    Exact before the crop to K x K; how far the cropped kernels undo each other depends on how far
    training has moved them from the impulse where they start (docs/readings.md has figures). Along
    the horizontal frequencies the spectrum is positive: the negative lobes that a box or a disk
    has there cannot be represented, and past a zero there is nothing to invert.
    """

    def __init__(self, config: K3DNConfig, channels: int | None = None) -> None:
        super().__init__()
        self.kernel_size = config.kernel_size
        self.spectrum_size = config.spectrum_size
        channels, half = channels or config.channels, config.spectrum_size // 2
        self.log_gain = nn.Parameter(0.1 * torch.randn(channels, half + 1, half + 1))
        self.phase = nn.Parameter(0.1 * torch.randn(channels, half - 1, half + 1))

    def deblurring_kernels(self) -> Tensor:
        return self._spatial(self.spectra())

    def blurring_kernels(self) -> Tensor:
        return self._spatial(self.spectra(blurring=True))

    def spectra(self, *, blurring: bool = False) -> Tensor:
        """Spectra of the deblurring kernels, ``(C, G, G / 2 + 1)`` complex, origin first.

        blurring: those of the blurring kernels, their reciprocals.
        """
        gain = MAX_LOG_GAIN * torch.tanh(at_least_float32(self.log_gain) / MAX_LOG_GAIN)
        phase = at_least_float32(self.phase)
        edge = torch.zeros_like(phase[:, :1])
        # Rows of a real FFT: 0, 1 .. G/2 - 1, Nyquist, then the negative frequencies upwards.
        gain = torch.cat((gain, gain[:, 1:-1].flip(1)), dim=1)
        phase = torch.cat((edge, phase, edge, -phase.flip(1)), dim=1)
        sign = -1.0 if blurring else 1.0
        return torch.polar((sign * gain).exp(), sign * phase)

    def _spatial(self, spectra: Tensor) -> Tensor:
        with full_precision(spectra.device):
            kernels = torch.fft.irfft2(spectra, s=(self.spectrum_size, self.spectrum_size))
            reach = self.kernel_size // 2
            kernels = kernels.roll((reach, reach), dims=(-2, -1))
            kernels = kernels[:, : self.kernel_size, : self.kernel_size]
            return 0.5 * (kernels + kernels.flip(-1))  # exact symmetry in spite of rounding


class AuthorsKernels(KernelSet):
    """Kernels of the authors' form: a free spectrum, and its reciprocal.

    The (K + 1) x (K + 1) transform is cropped to its first K rows and (K + 1) / 2 columns, those
    mirrored, and the kernel scaled to unit norm. Crop and norm spoil the inverse: blurring and
    deblurring kernel are related, but do not undo each other. The authors correlate by what they
    crop; here a kernel is the image of a point, which is the same upside down. Their query looks
    at the kernels that deblur, the spectrum itself.
    """

    def __init__(self, config: K3DNConfig, channels: int | None = None) -> None:
        super().__init__()
        self.kernel_size = config.kernel_size
        side = config.kernel_size + 1
        self.spectrum = nn.Parameter(
            torch.randn(channels or config.channels, side, side // 2 + 1, 2)
        )

    def query_kernels(self) -> Tensor:
        return self.deblurring_kernels()

    def deblurring_kernels(self) -> Tensor:
        return self._spatial(self._complex())

    def blurring_kernels(self) -> Tensor:
        return self._spatial((self._complex() + AUTHORS_EPSILON).reciprocal())

    def _complex(self) -> Tensor:
        # A network in channels_last has torn real and imaginary parts apart.
        return torch.view_as_complex(at_least_float32(self.spectrum).contiguous())

    def _spatial(self, spectrum: Tensor) -> Tensor:
        side = self.kernel_size + 1
        with full_precision(spectrum.device):
            half = torch.fft.irfft2(spectrum, s=(side, side))[:, : side - 1, : side // 2]
            kernels = torch.cat((half, half[..., :-1].flip(-1)), dim=-1).flip(-2)
            energy = kernels.square().sum((-2, -1), keepdim=True)
            return kernels * (energy + AUTHORS_EPSILON).rsqrt()


def kernel_set(config: K3DNConfig, channels: int | None = None) -> KernelSet:
    """The kernels that a configuration asks for. channels: of the features; None: at 1/8."""
    kind = BoundedKernels if config.bounded_inverse else AuthorsKernels
    return kind(config, channels)
