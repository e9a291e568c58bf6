"""The dense reading of Eq. 9: mixtures of whole kernels, inverted window by window."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from k3dn.network.config import K3DNConfig
from k3dn.network.dense import (
    WIENER_FLOOR,
    DenseKernelSet,
    DensePSFBlock,
    convolve_windows,
    mix_kernels,
    wiener_inverse,
)

CONFIG = K3DNConfig(width=1, disparity_channels=6, dense_kernels=5, window_px=32)


def test_kernels_are_symmetric_and_sum_to_one_also_after_training():
    kernels = DenseKernelSet(CONFIG)
    optimiser = torch.optim.SGD(kernels.parameters(), lr=0.001)
    for _ in range(3):
        optimiser.zero_grad()
        (kernels() - torch.randn(5, 4, 9, 9)).square().sum().backward()
        optimiser.step()
    made = kernels()
    assert torch.equal(made, made.flip(-1))
    torch.testing.assert_close(made.sum((-2, -1)), torch.ones(5, 4))


def test_mixture_is_equation_9():
    kernels, weights = torch.randn(5, 4, 9, 9), torch.rand(2, 5, 3, 2)
    mixed = mix_kernels(weights, kernels)
    for b, y, x in ((0, 0, 0), (1, 2, 1)):
        expected = sum(weights[b, j, y, x] * kernels[j] for j in range(5))
        torch.testing.assert_close(mixed[b, y, x], expected)


def test_windows_have_their_own_kernels():
    rng = np.random.default_rng(0)
    x, kernels = rng.standard_normal((3, 8, 12)), rng.standard_normal((2, 3, 3, 5, 5))
    found = convolve_windows(
        torch.from_numpy(x)[None], torch.from_numpy(kernels)[None], shared=True
    )
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)), mode="edge")
    for row in range(2):
        for column in range(3):
            for c in range(3):
                whole = convolve2d(padded[c], kernels[row, column, c], mode="valid")
                at = (slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
                np.testing.assert_allclose(found[0, c][at], whole[at], atol=1e-10)


def test_kernel_and_inverse_undo_each_other():
    """Mildly blurring kernels, as at the start of training: within 10% of the impulse."""
    torch.manual_seed(0)
    kernels = DenseKernelSet(CONFIG)().detach()
    inverse = wiener_inverse(kernels, WIENER_FLOOR, 13)
    for j in range(5):
        both = convolve2d(kernels[j, 0].numpy(), inverse[j, 0].numpy())
        both[both.shape[0] // 2, both.shape[1] // 2] -= 1
        assert np.linalg.norm(both) < 0.1


@pytest.mark.parametrize("shape", ["box", "disk"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_inverse_of_kernels_with_zeros_in_their_spectrum_stays_bounded(shape, precision):
    y, x = np.mgrid[-4:5, -4:5]
    inside = (abs(x) <= 3) & (abs(y) <= 3) if shape == "box" else x**2 + y**2 <= 12
    kernel = torch.tensor(inside / inside.sum(), dtype=torch.float32, requires_grad=True)
    assert np.abs(np.fft.fft2(inside / inside.sum(), (64, 64))).min() < 0.01
    with torch.autocast("cpu", dtype=precision, enabled=precision is torch.bfloat16):
        inverse = wiener_inverse(kernel, WIENER_FLOOR, 32)
        gain = torch.fft.rfft2(inverse).abs()
    assert gain.max() <= 0.5 / WIENER_FLOOR**0.5 + 1e-3
    inverse.square().sum().backward()
    assert torch.isfinite(kernel.grad).all()
    assert kernel.grad.abs().max() < 1 / WIENER_FLOOR**1.5


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def test_block_deblurs_by_equation_10_and_reblurs_by_equation_17():
    """Window by window, each with the mixture of its own weights, by numpy's transforms."""
    torch.manual_seed(0)
    block = DensePSFBlock(CONFIG).double()
    with torch.no_grad():
        block.kernel_set.half_kernels.add_(0.05 * torch.randn(5, 4, 9, 5))
    x = torch.randn(4, 8, 12).double().numpy()
    a = np.random.default_rng(0).random((5, 2, 3))
    a /= a.sum(0)
    features, weights = torch.from_numpy(x)[None], torch.from_numpy(a)[None]
    kernels = block.kernel_set().detach().numpy()
    mixing = block.mixing.weight().detach().numpy()

    def by_windows(picture, filter_of):
        found = np.zeros_like(picture)
        for row in range(2):
            for column in range(3):
                mixture = sum(a[j, row, column] * kernels[j] for j in range(5))  # Eq. 9
                at = (slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
                for c in range(4):
                    kernel = filter_of(mixture[c])
                    padded = np.pad(picture[c], len(kernel) // 2, mode="edge")
                    found[c][at] = convolve2d(padded, kernel, mode="valid")[at]
        return found

    def inverse(kernel):
        grid = np.zeros((32, 32))
        grid[:9, :9] = kernel
        spectrum = np.fft.fft2(np.roll(grid, (-4, -4), (0, 1)))
        spatial = np.fft.ifft2(spectrum.conj() / (abs(spectrum) ** 2 + 1e-3)).real
        return np.roll(spatial, (6, 6), (0, 1))[:13, :13]

    mixed = np.einsum("dc,chw->dhw", mixing, leaky(by_windows(x, inverse)))
    deblurred = block(features, weights)[0].detach()
    np.testing.assert_allclose(deblurred, x + leaky(mixed), atol=1e-9)

    unmixed = leaky(np.einsum("dc,chw->dhw", np.linalg.inv(mixing), x))
    blurred = by_windows(unmixed, lambda kernel: kernel)
    reblurred = block(features, weights, reblur=True)[0].detach()
    np.testing.assert_allclose(reblurred, x + leaky(blurred), atol=1e-9)


def test_linear_part_run_forwards_and_back_is_nearly_the_identity():
    torch.manual_seed(0)
    block = DensePSFBlock(CONFIG)
    x = torch.randn(1, 4, 16, 16)
    even = torch.full((1, 5, 4, 4), 0.2)  # one kernel everywhere: windows do not matter
    back = block.inverse_linear(block.linear(x, even), even)
    inner = slice(6, -6)
    error = (back - x)[..., inner, inner].norm() / x[..., inner, inner].norm()
    assert error < 0.05, "stated tolerance: the regularisation and the crop"
