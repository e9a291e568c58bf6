"""The PSF block (Eq. 9, 10, 17), its alignment, and the invertible mixing."""

import numpy as np
import torch
from scipy.signal import convolve2d

from k3dn.network.config import K3DNConfig
from k3dn.network.kernels import KernelQuery
from k3dn.network.mixing import InvertibleMixing
from k3dn.network.psf import PSFBlock, align_to_features, depthwise

CONFIG = K3DNConfig(width=2, disparity_channels=6)


def test_depthwise_is_a_convolution_per_channel():
    """scipy flips the kernel, as a convolution does; borders repeat the edge value."""
    x, kernels = torch.randn(1, 3, 12, 15).double(), torch.randn(3, 5, 5).double()
    ours = depthwise(x, kernels)
    for c in range(3):
        padded = np.pad(x[0, c].numpy(), 2, mode="edge")
        expected = convolve2d(padded, kernels[c].numpy(), mode="valid")
        np.testing.assert_allclose(ours[0, c], expected, atol=1e-10)


def test_impulse_leaves_features_unchanged():
    x = torch.randn(1, 3, 12, 15)
    impulse = torch.zeros(3, 9, 9)
    impulse[:, 4, 4] = 1
    assert torch.equal(depthwise(x, impulse), x)


def test_each_vector_governs_its_own_block_of_features():
    grid = torch.arange(6.0).reshape(1, 1, 2, 3)
    aligned = align_to_features(grid, 4, 6)
    for y in range(4):
        for x in range(6):
            assert aligned[0, 0, y, x] == grid[0, 0, y // 2, x // 2]


def test_mixing_inverts_itself_and_equals_its_factors():
    torch.manual_seed(0)
    mixing = InvertibleMixing(8)
    with torch.no_grad():
        mixing.upper.add_(0.1 * torch.randn(8, 8))
        mixing.log_diagonal.add_(0.2 * torch.randn(8))
    torch.testing.assert_close(mixing.inverse_weight() @ mixing.weight(), torch.eye(8))
    x = torch.randn(2, 8, 4, 5)
    torch.testing.assert_close(mixing(mixing(x), inverse=True), x, atol=1e-4, rtol=1e-4)


def test_linear_part_run_forwards_and_back_is_the_identity():
    torch.manual_seed(0)
    block = PSFBlock(CONFIG)
    x, weights = torch.randn(1, 8, 40, 40), torch.rand(1, 8, 40, 40) + 0.5
    weights = align_to_features(weights[..., :20, :20], 40, 40)
    back = block.inverse_linear(block.linear(x, weights), weights)
    inner = slice(8, -8)
    error = (back - x)[..., inner, inner].norm() / x[..., inner, inner].norm()
    assert error < 0.05, "stated tolerance: the crop of the kernels to 9 x 9"


def test_linear_part_is_the_kernel_mixture_of_equation_9():
    """At one place with weights a, the block convolves channel c with a_c K_c, then mixes."""
    torch.manual_seed(0)
    block = PSFBlock(CONFIG).double()
    x = torch.randn(1, 8, 20, 20).double()
    a = torch.rand(8).double() + 0.5
    kernels = block.kernel_set.deblurring_kernels().double()
    filtered = np.stack(
        [
            convolve2d(
                np.pad(x[0, c].numpy(), 4, mode="edge"),
                (a[c] * kernels[c]).detach().numpy(),
                mode="valid",
            )
            for c in range(8)
        ]
    )
    expected = np.einsum("dc,chw->dhw", block.mixing.weight().detach().numpy(), filtered)
    ours = block.linear(x, a[None, :, None, None].expand(1, 8, 20, 20))
    np.testing.assert_allclose(ours[0].detach(), expected, atol=1e-6)


def test_gradients_reach_every_parameter_both_ways():
    block, query = PSFBlock(CONFIG), KernelQuery(CONFIG)
    x, disparity = torch.randn(1, 8, 16, 16), torch.randn(1, 6, 8, 8)
    weights = query(disparity, block.kernel_set.deblurring_kernels())
    weights = align_to_features(weights, 16, 16)
    (block(x, weights) + block(x, weights, reblur=True)).square().mean().backward()
    for name, parameter in [*block.named_parameters(), *query.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_gradients_stay_finite_where_a_kernel_has_no_weight():
    block = PSFBlock(CONFIG)
    weights = torch.zeros(1, 8, 16, 16, requires_grad=True)
    block(torch.randn(1, 8, 16, 16), weights, reblur=True).square().mean().backward()
    assert torch.isfinite(weights.grad).all()
