"""The kernel set and its query (Eq. 2, 8, 9) and the inverse filter (Eq. 7, 10)."""

import math

import numpy as np
import pytest
import torch

from k3dn.network.config import K3DNConfig
from k3dn.network.kernels import KernelQuery, KernelSet

CONFIG = K3DNConfig(width=2, disparity_channels=6)


@pytest.fixture
def kernel_set():
    torch.manual_seed(0)
    return KernelSet(CONFIG)


def test_kernels_stay_symmetric_under_training(kernel_set):
    optimiser = torch.optim.SGD(kernel_set.parameters(), lr=1.0)
    target = torch.randn(8, 9, 9)  # not symmetric at all
    before = kernel_set.blurring_kernels().detach().clone()
    for _ in range(5):
        optimiser.zero_grad()
        (kernel_set.blurring_kernels() - target).square().sum().backward()
        optimiser.step()
    for kernels in (kernel_set.blurring_kernels(), kernel_set.deblurring_kernels()):
        assert torch.equal(kernels, kernels.flip(-1))
    assert not torch.allclose(before, kernel_set.blurring_kernels())


def test_spectrum_is_that_of_a_real_kernel(kernel_set):
    """numpy's full inverse FFT of the hermitian completion has no imaginary part."""
    half = kernel_set.spectra().detach().numpy()
    size = CONFIG.spectrum_size
    full = np.zeros((half.shape[0], size, size), complex)
    full[..., : size // 2 + 1] = half
    for ky in range(size):
        for kx in range(size // 2 + 1, size):
            full[:, ky, kx] = half[:, -ky % size, size - kx].conj()
    spatial = np.fft.ifft2(full)
    assert np.abs(spatial.imag).max() < 1e-6
    reach = CONFIG.kernel_size // 2
    rows = (np.arange(CONFIG.kernel_size) - reach) % size
    expected = spatial.real[:, rows][:, :, rows]
    np.testing.assert_allclose(kernel_set.deblurring_kernels().detach(), expected, atol=1e-6)


def test_blurring_and_deblurring_kernels_are_inverse_filters(kernel_set):
    """Before the crop, exactly: the product of the two spectra is one (Eq. 7)."""
    spectra = kernel_set.spectra()
    torch.testing.assert_close(spectra * spectra.reciprocal(), torch.ones_like(spectra))
    size = 64
    blur = torch.fft.rfft2(kernel_set.blurring_kernels(), s=(size, size))
    deblur = torch.fft.rfft2(kernel_set.deblurring_kernels(), s=(size, size))
    both = torch.fft.irfft2(blur * deblur, s=(size, size))
    impulse = torch.zeros_like(both)
    impulse[:, 8, 8] = 1.0
    error = (both - impulse).flatten(1).norm(dim=1)
    assert error.max() < 0.05, "what the crop to 9 x 9 costs at the start of training"


def test_gain_and_gradient_stay_bounded_for_spectra_with_zeros():
    """A box filter has zeros: its inverse is unbounded, ours has a gain of at most ten."""
    kernels = KernelSet(CONFIG)
    box = np.zeros((16, 16))
    box[:4, :4] = 1 / 16
    wanted = np.log(np.abs(np.fft.fft2(box))[:9, :9] + 1e-12)
    assert wanted.min() < -25
    with torch.no_grad():
        kernels.log_gain.copy_(torch.tensor(-wanted, dtype=torch.float32).expand(8, 9, 9))
    spectra = kernels.spectra().abs()
    assert spectra.max() <= 10.0 + 1e-4
    kernels.deblurring_kernels().square().sum().backward()
    assert torch.isfinite(kernels.log_gain.grad).all()
    assert kernels.log_gain.grad.abs().max() < 1e3


def test_query_is_equation_8_place_by_place(kernel_set):
    torch.manual_seed(1)
    query = KernelQuery(CONFIG)
    kernels = kernel_set.deblurring_kernels()
    disparity = torch.randn(2, 6, 3, 4)
    ours = query(disparity, kernels)
    w_r, w_v = query.from_disparity, query.to_weights
    for b in range(2):
        for y in range(3):
            for x in range(4):
                r = disparity[b, :, y, x]
                key = torch.stack(
                    [
                        (query.key_weights[j] * kernels[j, :, :5]).sum() + query.key_bias[j]
                        for j in range(8)
                    ]
                )
                refined = key * (w_r.weight[:, :, 0, 0] @ r + w_r.bias)
                logits = w_v.weight[:, :, 0, 0] @ refined + w_v.bias
                logits = math.log(10) / 2 * torch.tanh(logits / (math.log(10) / 2))
                expected = logits.exp() / logits.exp().sum() * 8
                torch.testing.assert_close(ours[b, :, y, x], expected)
    torch.testing.assert_close(ours.mean(1), torch.ones(2, 3, 4))


def test_weights_of_a_place_differ_by_at_most_a_factor_of_ten(kernel_set):
    query = KernelQuery(CONFIG)
    weights = query(1e4 * torch.randn(1, 6, 5, 5), kernel_set.deblurring_kernels())
    ratio = weights.amax(1) / weights.amin(1)
    assert ratio.max() <= 10 + 1e-4
    assert ratio.max() > 9, "the bound is reached"
