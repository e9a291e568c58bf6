"""The kernel set, its inverse filters and its query (Eq. 2, 6, 7, 8)."""

import math

import numpy as np
import pytest
import torch

from k3dn.network.config import K3DNConfig
from k3dn.network.kernels import AuthorsKernels, BoundedKernels, kernel_set
from k3dn.network.query import KernelQuery

CONFIG = K3DNConfig(width=2, disparity_channels=6)
PAPER = K3DNConfig(
    width=2,
    disparity_channels=6,
    bounded_inverse=False,
    scaled_softmax=False,
    refined_query=True,
)


@pytest.fixture
def bounded():
    torch.manual_seed(0)
    return BoundedKernels(CONFIG)


@pytest.mark.parametrize("config", [CONFIG, PAPER])
def test_kernels_stay_symmetric_under_training(config):
    torch.manual_seed(0)
    kernels = kernel_set(config)
    optimiser = torch.optim.SGD(kernels.parameters(), lr=0.1)
    target = torch.randn(8, 9, 9)  # not symmetric at all
    before = kernels.blurring_kernels().detach().clone()
    for _ in range(5):
        optimiser.zero_grad()
        (kernels.blurring_kernels() - target).square().sum().backward()
        optimiser.step()
    for made in (kernels.blurring_kernels(), kernels.deblurring_kernels()):
        assert torch.equal(made, made.flip(-1))
    assert not torch.allclose(before, kernels.blurring_kernels())


def test_spectrum_is_that_of_a_real_kernel(bounded):
    """numpy's full inverse FFT of the hermitian completion has no imaginary part."""
    half = bounded.spectra().detach().numpy()
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
    np.testing.assert_allclose(bounded.deblurring_kernels().detach(), expected, atol=1e-6)


def test_blurring_and_deblurring_kernels_are_inverse_filters(bounded):
    """Before the crop, exactly: the product of the two spectra is one (Eq. 7)."""
    spectra = bounded.spectra()
    torch.testing.assert_close(spectra * spectra.reciprocal(), torch.ones_like(spectra))
    size = 64
    blur = torch.fft.rfft2(bounded.blurring_kernels(), s=(size, size))
    deblur = torch.fft.rfft2(bounded.deblurring_kernels(), s=(size, size))
    both = torch.fft.irfft2(blur * deblur, s=(size, size))
    impulse = torch.zeros_like(both)
    impulse[:, 8, 8] = 1.0
    error = (both - impulse).flatten(1).norm(dim=1)
    assert error.max() < 0.05, "what the crop to 9 x 9 costs at the start of training"


def test_a_layered_scene_is_blurred_and_restored_by_equations_4_to_7(bounded):
    """Layers that partition a picture, each blurred by its own kernel (Eq. 5), each deblurred by
    the inverse of that kernel (Eq. 7), sum to the picture again. Explicit FFTs of each kernel."""
    rng = np.random.default_rng(0)
    sharp = rng.random((16, 16))
    depth = rng.integers(0, 3, (16, 16))
    layers = [sharp * (depth == i) for i in range(3)]
    np.testing.assert_array_equal(sum(layers), sharp)  # Eq. 3, 4
    deblurring = bounded.spectra().detach().to(torch.complex128).numpy()
    full = [np.fft.fft2(np.fft.irfft2(deblurring[i], s=(16, 16))) for i in range(3)]
    blurred = [
        np.fft.ifft2(np.fft.fft2(i) / f).real for i, f in zip(layers, full, strict=True)
    ]  # Eq. 6
    assert np.abs(sum(blurred) - sharp).max() > 0.05, "the kernels must blur"
    naive = np.zeros((16, 16))  # Eq. 5 by loops: circular convolution with K in space
    for layer, f in zip(layers, full, strict=True):
        kernel = np.fft.ifft2(1 / f).real
        for dy in range(16):
            for dx in range(16):
                naive += kernel[dy, dx] * np.roll(layer, (dy, dx), (0, 1))
    np.testing.assert_allclose(sum(blurred), naive, atol=1e-9)
    restored = sum(
        np.fft.ifft2(np.fft.fft2(b) * f).real for b, f in zip(blurred, full, strict=True)
    )
    np.testing.assert_allclose(restored, sharp, atol=1e-9)  # Eq. 7


def test_authors_kernels_by_explicit_transforms():
    """The mirrored crop of the inverse transform, unit norm; blurring by the reciprocal."""
    torch.manual_seed(0)
    kernels = AuthorsKernels(PAPER)
    spectrum = torch.view_as_complex(kernels.spectrum).detach().numpy()
    for made, wanted in (
        (kernels.deblurring_kernels(), spectrum),
        (kernels.blurring_kernels(), 1 / (spectrum + 1e-8)),
    ):
        for channel in range(8):
            half = np.fft.irfft2(wanted[channel], s=(10, 10))[:9, :5]
            expected = np.zeros((9, 9))
            for y in range(9):
                for x in range(9):
                    expected[y, x] = half[y, min(x, 8 - x)]
            expected /= np.sqrt((expected**2).sum())
            np.testing.assert_allclose(made[channel].detach(), expected, atol=1e-5)


def test_gain_and_gradient_stay_bounded_for_spectra_with_zeros():
    """A box filter has zeros: its inverse is unbounded, ours has a gain of at most ten."""
    kernels = BoundedKernels(CONFIG)
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


def test_transforms_stay_in_float32_under_autocast(bounded):
    plain = bounded.blurring_kernels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = bounded.blurring_kernels()
    assert torch.equal(plain, cast)


def _query_by_loops(query, disparity, kernels):
    """Eq. 8, one place at a time, in the reading that the query has."""
    w_r, w_a = query.from_disparity, query.to_weights
    batch, _, height, width = disparity.shape
    weights = torch.zeros(batch, 8, height, width)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                r = disparity[b, :, y, x]
                key = torch.stack(
                    [
                        (query.key_weights[j] * kernels[j, :, :5]).sum() + query.key_bias[j]
                        for j in range(8)
                    ]
                )
                found = key * (w_r.weight[:, :, 0, 0] @ r + w_r.bias)
                if query.to_disparity is not None:
                    w_v = query.to_disparity
                    back = w_v.weight[:, :, 0, 0] @ found + w_v.bias
                    found = r + torch.where(back > 0, back, 0.2 * back)
                logits = w_a.weight[:, :, 0, 0] @ found + w_a.bias
                if query.scaled:
                    logits = math.log(10) / 2 * torch.tanh(logits / (math.log(10) / 2))
                weights[b, :, y, x] = logits.exp() / logits.exp().sum()
                if query.scaled:
                    weights[b, :, y, x] *= 8
    return weights


@pytest.mark.parametrize("config", [CONFIG, PAPER])
def test_query_is_equation_8_place_by_place(config):
    torch.manual_seed(1)
    query, kernels = KernelQuery(config), kernel_set(config).deblurring_kernels()
    disparity = torch.randn(2, 6, 3, 4)
    ours = query(disparity, kernels)
    torch.testing.assert_close(ours, _query_by_loops(query, disparity, kernels))
    expected_sum = torch.full((2, 3, 4), 8.0 if config.scaled_softmax else 1.0)
    torch.testing.assert_close(ours.sum(1), expected_sum)


def test_weights_of_a_place_differ_by_at_most_a_factor_of_ten(bounded):
    query = KernelQuery(CONFIG)
    weights = query(1e4 * torch.randn(1, 6, 5, 5), bounded.deblurring_kernels())
    ratio = weights.amax(1) / weights.amin(1)
    assert ratio.max() <= 10 + 1e-4
    assert ratio.max() > 9, "the bound is reached"
