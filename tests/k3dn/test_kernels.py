"""The kernel set, its inverse filters and its query (Eq. 2, 6, 7, 8)."""

import math

import numpy as np
import pytest
import torch

from k3dn.network.config import K3DNConfig
from k3dn.network.kernels import AuthorsKernels, BoundedKernels, kernel_set
from k3dn.network.psf import depthwise
from k3dn.network.query import KernelQuery

CONFIG = K3DNConfig(width=2, disparity_channels=6)
PAPER = K3DNConfig(
    width=2,
    disparity_channels=6,
    bounded_inverse=False,
    scaled_softmax=False,
    refined_query=True,
    extra_biases=False,
)
DENSE = K3DNConfig(width=2, disparity_channels=6, dense_kernels=8, window_px=32)


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
    product = spectra * bounded.spectra(blurring=True)
    torch.testing.assert_close(product, torch.ones_like(spectra))
    size = 64
    blur = torch.fft.rfft2(bounded.blurring_kernels(), s=(size, size))
    deblur = torch.fft.rfft2(bounded.deblurring_kernels(), s=(size, size))
    both = torch.fft.irfft2(blur * deblur, s=(size, size))
    impulse = torch.zeros_like(both)
    impulse[:, 8, 8] = 1.0
    error = (both - impulse).flatten(1).norm(dim=1)
    assert error.max() < 0.05, "what the crop to 9 x 9 costs at the start of training"


def test_a_layered_scene_is_blurred_and_restored_by_equations_5_and_7(bounded):
    """Layers that partition a picture, each blurred by its own kernel and each deblurred by that
    kernel's inverse, sum to the picture again; both by the network's own convolution."""
    torch.manual_seed(1)
    sharp = torch.zeros(1, 8, 40, 40)
    sharp[..., 12:28, 12:28] = torch.rand(16, 16)
    depth = torch.randint(0, 8, (40, 40))
    layers = sharp * (depth == torch.arange(8)[:, None, None])  # channel i holds layer i
    torch.testing.assert_close(layers.sum(1), sharp[:, 0])  # Eq. 3, 4
    blurred = depthwise(layers, bounded.blurring_kernels())
    naive = torch.zeros(40, 40)  # Eq. 5 by loops over the positions of the kernel
    for i, kernel in enumerate(bounded.blurring_kernels()):
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                naive += kernel[dy + 4, dx + 4] * layers[0, i].roll((dy, dx), (0, 1))
    torch.testing.assert_close(blurred.sum(1)[0], naive, atol=1e-5, rtol=0)
    assert (naive - sharp[0, 0]).abs().max() > 0.05, "the kernels must blur"
    restored = depthwise(blurred, bounded.deblurring_kernels()).sum(1)  # Eq. 7
    assert (restored - sharp[:, 0]).norm() < 0.05 * sharp[:, 0].norm(), "the crop to 9 x 9"


def test_layers_are_restored_exactly_before_the_crop():
    """Eq. 5 by loops with the network's blurring spectra as kernels in space, Eq. 7 by numpy's
    transforms with its deblurring spectra: two sides that only the network ties together."""
    torch.manual_seed(0)
    bounded = BoundedKernels(CONFIG).double()
    with torch.no_grad():
        bounded.log_gain.mul_(5.0)  # far from the impulse of the start
    blurring, deblurring = (
        bounded.spectra(blurring=side).detach().numpy() for side in (True, False)
    )
    rng = np.random.default_rng(0)
    sharp = rng.random((16, 16))
    depth = rng.integers(0, 3, (16, 16))
    layers = [sharp * (depth == i) for i in range(3)]
    np.testing.assert_array_equal(sum(layers), sharp)  # Eq. 3, 4
    blurred = []
    for layer, spectrum in zip(layers, blurring, strict=False):
        kernel = np.fft.irfft2(spectrum, s=(16, 16))
        shifts = [(dy, dx) for dy in range(16) for dx in range(16)]
        blurred.append(sum(kernel[at] * np.roll(layer, at, (0, 1)) for at in shifts))  # Eq. 5
    assert np.abs(sum(blurred) - sharp).max() > 0.3, "the kernels must blur"
    restored = sum(
        np.fft.irfft2(np.fft.rfft2(layer) * spectrum, s=(16, 16))
        for layer, spectrum in zip(blurred, deblurring, strict=False)
    )
    np.testing.assert_allclose(restored, sharp, atol=1e-9)  # Eq. 7


def test_authors_kernels_by_explicit_transforms():
    """The mirrored crop of the inverse transform, unit norm; blurring by the reciprocal. As an
    image of a point it is upside down: the authors correlate."""
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
                    expected[8 - y, x] = half[y, min(x, 8 - x)]
            expected /= np.sqrt((expected**2).sum() + 1e-8)
            np.testing.assert_allclose(made[channel].detach(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", ["box", "disk"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gain_and_gradient_stay_bounded_for_spectra_with_zeros(shape, precision):
    """A box and a disk have zeros: their inverse is unbounded, ours has a gain of at most ten."""
    kernels = BoundedKernels(CONFIG)
    y, x = np.mgrid[-8:8, -8:8]
    inside = (abs(x) < 4) & (abs(y) < 4) if shape == "box" else x**2 + y**2 <= 12
    size = np.abs(np.fft.fft2(inside / inside.sum()))[:9, :9]
    assert size.min() < 0.02
    wanted = np.log(size + 1e-12)
    with torch.no_grad():
        kernels.log_gain.copy_(torch.tensor(-wanted, dtype=torch.float32).expand(8, 9, 9))
    with torch.autocast("cpu", dtype=precision, enabled=precision is torch.bfloat16):
        assert kernels.spectra().abs().max() <= 10.0 + 1e-4
        assert kernels.spectra(blurring=True).abs().max() <= 10.0 + 1e-4
        made = kernels.deblurring_kernels()
        assert torch.fft.rfft2(made, s=(64, 64)).abs().max() < 20.0  # the crop may overshoot
        (made.square().sum() + kernels.blurring_kernels().square().sum()).backward()
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
    bias = torch.zeros(8) if query.key_bias is None else query.key_bias
    batch, _, height, width = disparity.shape
    weights = torch.zeros(batch, 8, height, width)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                r = disparity[b, :, y, x]
                key = torch.stack(
                    [(query.key_weights[j] * kernels[j, :, :5]).sum() + bias[j] for j in range(8)]
                )
                found = key * (w_r.weight[:, :, 0, 0] @ r + w_r.bias)
                if query.to_disparity is not None:
                    w_v = query.to_disparity
                    back = w_v.weight[:, :, 0, 0] @ found + w_v.bias
                    found = r + torch.where(back > 0, back, 0.2 * back)
                logits = w_a.weight[:, :, 0, 0] @ found + w_a.bias
                if query.scaled:
                    logits = logits - sum(logits) / len(logits)
                    logits = logits / math.sqrt(1 + sum(x * x for x in logits) / len(logits))
                    logits = math.log(10) / 2 * torch.tanh(logits)
                weights[b, :, y, x] = logits.exp() / logits.exp().sum()
                if query.scaled:
                    weights[b, :, y, x] *= 8
    return weights


@pytest.mark.parametrize("config", [CONFIG, PAPER, DENSE])
def test_query_is_equation_8_place_by_place(config):
    torch.manual_seed(1)
    query, kernels = KernelQuery(config), kernel_set(config).deblurring_kernels()
    if config.refined_query:  # all but zero at the start
        for parameter in query.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    disparity = torch.randn(2, 6, 3, 4)
    ours = query(disparity, kernels)
    torch.testing.assert_close(ours, _query_by_loops(query, disparity, kernels))
    expected_sum = torch.full((2, 3, 4), 8.0 if config is CONFIG else 1.0)
    torch.testing.assert_close(ours.sum(1), expected_sum)


def test_the_query_looks_at_k_and_the_authors_at_what_deblurs():
    """Eq. 8 says K, the kernels that blur; in the authors' form it is the trained spectrum's."""
    torch.manual_seed(0)
    ours, authors = kernel_set(CONFIG), kernel_set(PAPER)
    assert torch.equal(ours.query_kernels(), ours.blurring_kernels())
    assert torch.equal(authors.query_kernels(), authors.deblurring_kernels())
    assert not torch.allclose(ours.query_kernels(), ours.deblurring_kernels())


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_weights_of_a_place_differ_by_at_most_a_factor_of_ten(bounded, size):
    query = KernelQuery(CONFIG)
    weights = query(size * torch.randn(1, 6, 5, 5), bounded.deblurring_kernels())
    ratio = weights.amax(1) / weights.amin(1)
    assert ratio.max() <= 10 + 1e-4
    assert size == 1.0 or ratio.max() > 5, "the bound is neared"


def test_the_query_learns_on_however_large_its_logits_are(bounded):
    """A bound that saturates has no gradient and is dead for ever."""
    torch.manual_seed(0)
    query = KernelQuery(CONFIG)
    with torch.no_grad():
        query.to_weights.weight.mul_(1e4)
    disparity = torch.randn(1, 6, 5, 5, requires_grad=True)
    weights = query(disparity, bounded.deblurring_kernels())
    (weights * torch.randn_like(weights)).sum().backward()
    direction = query.to_weights.weight.grad.norm() * query.to_weights.weight.norm()
    assert direction > 1.0, "turning the logits by a radian changes the weights"
