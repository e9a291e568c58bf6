"""The cost volume's two sides, and the SRP block against the equations (Eq. 11-16)."""

import torch
import torch.nn.functional as F

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu
from k3dn.network.disparity import two_sided_cost_volume
from k3dn.network.srp import SRPBlock


def test_cost_volume_looks_both_ways():
    left, right = torch.randn(2, 1, 2, 3, 7)
    volume = two_sided_cost_volume(left, right, 2)
    assert volume.shape == (1, 4, 5, 3, 7)
    for index, shift in enumerate((-2, -1, 0, 1, 2)):
        for x in range(7):
            assert torch.equal(volume[:, :2, index, :, x], left[..., x])
            inside = 0 <= x + shift < 7
            expected = right[..., x + shift] if inside else torch.zeros(1, 2, 3)
            assert torch.equal(volume[:, 2:, index, :, x], expected)


def test_srp_block_is_equations_11_to_16():
    torch.manual_seed(0)
    block = SRPBlock(4, K3DNConfig(attention_window=3, srp_residual_blocks=1)).double()
    x = torch.randn(1, 4, 5, 6).double()
    query, key = block.query(x), block.key(x)
    scores = torch.zeros(1, 9, 5, 6).double()
    for y in range(5):
        for column in range(6):
            for index in range(9):
                ky, kx = y + index // 3 - 1, column + index % 3 - 1
                if 0 <= ky < 5 and 0 <= kx < 6:
                    scores[0, index, y, column] = query[0, :, y, column] @ key[0, :, ky, kx] / 4
    values = block.values
    gate = 2 / (1 + torch.exp(-F.conv2d(scores, values.weight, values.bias, padding=1)))
    expected = x + block.feed_forward(leaky_relu(gate * x))
    torch.testing.assert_close(block(x), expected)
