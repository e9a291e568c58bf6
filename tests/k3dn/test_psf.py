"""The PSF block (Eq. 9, 10, 17), its windows, and the invertible mixing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from k3dn.network.config import K3DNConfig
from k3dn.network.dense import DensePSFBlock
from k3dn.network.mixing import InvertibleMixing
from k3dn.network.psf import SparsePSFBlock, depthwise, depthwise_in_windows
from k3dn.network.query import KernelQuery
from k3dn.network.windows import align_to_features, cut_windows, join_windows

CONFIG = K3DNConfig(width=2, disparity_channels=6)
PAPER = K3DNConfig(
    width=2,
    disparity_channels=6,
    bounded_inverse=False,
    shared_windows=False,
    scaled_softmax=False,
    window_px=64,
)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def convolve_edge(picture, kernel):
    """scipy's convolution, border values repeated outwards."""
    return convolve2d(np.pad(picture, len(kernel) // 2, mode="edge"), kernel, mode="valid")


def test_depthwise_is_a_convolution_per_channel():
    """scipy flips the kernel, as a convolution does; borders repeat the edge value."""
    x, kernels = torch.randn(1, 3, 12, 15).double(), torch.randn(3, 5, 5).double()
    ours = depthwise(x, kernels)
    for c in range(3):
        expected = convolve_edge(x[0, c].numpy(), kernels[c].numpy())
        np.testing.assert_allclose(ours[0, c], expected, atol=1e-10)


def test_windows_of_the_authors_form_end_in_zeros():
    x, kernels = torch.randn(2, 3, 12, 15).double(), torch.randn(3, 5, 5).double()
    ours = depthwise_in_windows(x, kernels, (2, 3))
    for top in (0, 6):
        for left in (0, 5, 10):
            window = x[1, 2, top : top + 6, left : left + 5].numpy()
            expected = convolve2d(window, kernels[2].numpy(), mode="same")
            found = ours[1, 2, top : top + 6, left : left + 5]
            np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("shared", [True, False])
def test_windows_join_to_what_they_were_cut_from(shared):
    x = torch.randn(2, 3, 8, 12)
    windows = cut_windows(x, (2, 4), 2, shared=shared)
    assert windows.shape == (2, 2, 4, 3, 8, 7)
    torch.testing.assert_close(join_windows(windows[..., 2:-2, 2:-2]), x)
    inner = windows[1, 0, 1, :, 2:, :]  # columns 3-2 .. 6+2 of rows 0 .. 4+2
    expected = x[1, :, 0:6, 1:8]
    assert torch.equal(inner, expected) == shared


def test_impulse_leaves_features_unchanged():
    x = torch.randn(1, 3, 12, 15)
    impulse = torch.zeros(3, 9, 9)
    impulse[:, 4, 4] = 1
    assert torch.equal(depthwise(x, impulse), x)
    assert torch.equal(depthwise_in_windows(x, impulse, (3, 3)), x)


def test_each_vector_governs_its_own_block_of_features():
    grid = torch.arange(6.0).reshape(1, 1, 2, 3)
    aligned = align_to_features(grid, 4, 6)
    for y in range(4):
        for x in range(6):
            assert aligned[0, 0, y, x] == grid[0, 0, y // 2, x // 2]


@pytest.mark.parametrize("bounded", [True, False])
def test_mixing_inverts_itself_and_equals_its_factors(bounded):
    torch.manual_seed(0)
    mixing = InvertibleMixing(8, bounded=bounded)
    with torch.no_grad():
        mixing.upper.add_(0.1 * torch.randn(8, 8))
        mixing.log_diagonal.add_(0.2 * torch.randn(8))
    torch.testing.assert_close(mixing.inverse_weight() @ mixing.weight(), torch.eye(8))
    x = torch.randn(2, 8, 4, 5)
    torch.testing.assert_close(mixing(mixing(x), inverse=True), x, atol=1e-4, rtol=1e-4)


def test_linear_part_run_forwards_and_back_is_the_identity():
    torch.manual_seed(0)
    block = SparsePSFBlock(CONFIG)
    x, weights = torch.randn(1, 8, 40, 40), torch.rand(1, 8, 20, 20) + 0.5
    back = block.inverse_linear(block.linear(x, weights), weights)
    inner = slice(8, -8)
    error = (back - x)[..., inner, inner].norm() / x[..., inner, inner].norm()
    assert error < 0.05, "stated tolerance: the crop of the kernels to 9 x 9"


def test_weights_that_sum_to_one_are_inverted_as_well():
    """1 / a is clipped at ten times its mean, whatever the mean is."""
    torch.manual_seed(0)
    block = SparsePSFBlock(replace(CONFIG, width=24, scaled_softmax=False))
    x = torch.randn(1, 96, 24, 24)
    weights = torch.rand(1, 96, 12, 12).add(0.5).softmax(1).requires_grad_()
    back = block.inverse_linear(block.linear(x, weights), weights)
    inner = slice(8, -8)
    assert (back - x)[..., inner, inner].norm() < 0.05 * x[..., inner, inner].norm()
    block.inverse_linear(x, weights).square().sum().backward()
    assert (weights.grad != 0).all()


def test_linear_part_is_the_kernel_mixture_of_equation_9():
    """With weights a in a window, the block convolves channel c with a_c K_c, then mixes."""
    torch.manual_seed(0)
    block = SparsePSFBlock(CONFIG).double()
    x, a = torch.randn(1, 8, 20, 20).double(), torch.rand(8).double() + 0.5
    kernels = block.kernel_set.deblurring_kernels().detach()
    filtered = np.stack(
        [convolve_edge(x[0, c].numpy(), (a[c] * kernels[c]).numpy()) for c in range(8)]
    )
    expected = np.einsum("dc,chw->dhw", block.mixing.weight().detach().numpy(), filtered)
    ours = block.linear(x, a[None, :, None, None].expand(1, 8, 10, 10))
    np.testing.assert_allclose(ours[0].detach(), expected, atol=1e-9)


def test_block_deblurs_by_equation_10_and_reblurs_by_equation_17():
    """Written out for one window: kernel, a, mixing; and their inverses in reverse order."""
    torch.manual_seed(0)
    block = SparsePSFBlock(CONFIG).double()
    x, a = torch.randn(8, 12, 14).double().numpy(), np.random.default_rng(0).random(8) + 0.5
    weights = torch.from_numpy(a)[None, :, None, None]
    sharpen = block.kernel_set.deblurring_kernels().detach().numpy()
    blur = block.kernel_set.blurring_kernels().detach().numpy()
    mixing = block.mixing.weight().detach().numpy()

    filtered = leaky(np.stack([convolve_edge(x[c], sharpen[c]) for c in range(8)]))
    mixed = np.einsum("dc,chw->dhw", mixing, a[:, None, None] * filtered)
    deblurred = block(torch.from_numpy(x)[None], weights)[0].detach()
    np.testing.assert_allclose(deblurred, x + leaky(mixed), atol=1e-9)

    unmixed = leaky(np.einsum("dc,chw->dhw", np.linalg.inv(mixing), x) / a[:, None, None])
    blurred = leaky(np.stack([convolve_edge(unmixed[c], blur[c]) for c in range(8)]))
    reblurred = block(torch.from_numpy(x)[None], weights, reblur=True)[0].detach()
    np.testing.assert_allclose(reblurred, x + blurred, atol=1e-9)


def test_authors_block_window_by_window():
    """Zeros around each window; 1 / a clipped at 100 and scaled to unit norm over channels."""
    torch.manual_seed(0)
    block = SparsePSFBlock(PAPER).double()
    x = torch.randn(8, 12, 14).double().numpy()
    a = np.random.default_rng(0).random((8, 2, 2)) / 8
    a[0] = 0.0
    weights = torch.from_numpy(a)[None]
    sharpen = block.kernel_set.deblurring_kernels().detach().numpy()
    blur = block.kernel_set.blurring_kernels().detach().numpy()
    mixing = block.mixing.weight().detach().numpy()
    deblurred = block(torch.from_numpy(x)[None], weights)[0].detach()
    reblurred = block(torch.from_numpy(x)[None], weights, reblur=True)[0].detach()
    for row in range(2):
        for column in range(2):
            at = (slice(None), slice(6 * row, 6 * row + 6), slice(7 * column, 7 * column + 7))
            window, here = x[at], a[:, row, column, None, None]
            filtered = np.stack([convolve2d(window[c], sharpen[c], mode="same") for c in range(8)])
            mixed = np.einsum("dc,chw->dhw", mixing, here * leaky(filtered))
            np.testing.assert_allclose(deblurred[at], window + leaky(mixed), atol=1e-9)
            inverse = np.minimum(1 / (here + 1e-8), 100)
            inverse /= np.sqrt((inverse**2).sum() + 1e-8)
            unmixed = leaky(np.einsum("dc,chw->dhw", np.linalg.inv(mixing), window) * inverse)
            again = np.stack([convolve2d(unmixed[c], blur[c], mode="same") for c in range(8)])
            np.testing.assert_allclose(reblurred[at], window + leaky(again), atol=1e-9)


@pytest.mark.parametrize("config", [CONFIG, PAPER])
def test_gradients_reach_every_parameter_both_ways(config):
    block, query = SparsePSFBlock(config), KernelQuery(config)
    x, disparity = torch.randn(1, 8, 16, 16), torch.randn(1, 6, 8, 8)
    weights = query(disparity, block.query_kernels())
    (block(x, weights) + block(x, weights, reblur=True)).square().mean().backward()
    for name, parameter in [*block.named_parameters(), *query.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


SMALL = K3DNConfig(width=1, disparity_channels=3, kernel_size=3, spectrum_size=4)


@pytest.mark.parametrize(
    ("block_class", "config"),
    [
        (SparsePSFBlock, SMALL),
        (SparsePSFBlock, replace(SMALL, bounded_inverse=False, scaled_softmax=False)),
        (DensePSFBlock, replace(SMALL, dense_kernels=2, window_px=32)),
    ],
)
def test_gradcheck_in_float64(block_class, config):
    torch.manual_seed(0)
    block, query = block_class(config).double(), KernelQuery(config).double()
    x = torch.randn(1, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    disparity = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    trained = [*block.parameters(), *query.parameters()]

    def run(x, disparity, *_):
        weights = query(disparity, block.query_kernels())
        return block(x, weights), block(x, weights, reblur=True)

    assert torch.autograd.gradcheck(run, (x, disparity, *trained), fast_mode=True)


@pytest.mark.parametrize("config", [CONFIG, PAPER])
def test_gradients_stay_finite_where_a_kernel_has_no_weight(config):
    block = SparsePSFBlock(config)
    weights = torch.zeros(1, 8, 8, 8, requires_grad=True)
    block(torch.randn(1, 8, 16, 16), weights, reblur=True).square().mean().backward()
    assert torch.isfinite(weights.grad).all()
