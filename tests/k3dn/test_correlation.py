"""Local correlation (Eq. 11) against a loop over positions."""

import pytest
import torch

from k3dn.network.correlation import local_correlation


def scores_by_position(query, key, window):
    """The definition, one position and one offset at a time."""
    batch, channels, height, width = query.shape
    reach = window // 2
    scores = torch.zeros(batch, window * window, height, width, dtype=query.dtype)
    for y in range(height):
        for x in range(width):
            for index in range(window * window):
                ky, kx = y + index // window - reach, x + index % window - reach
                if 0 <= ky < height and 0 <= kx < width:
                    product = query[:, :, y, x] * key[:, :, ky, kx]
                    scores[:, index, y, x] = product.sum(1) / channels
    return scores


def full_attention_masked(query, key, window):
    """All positions against all, then everything outside the window masked away."""
    _, channels, height, width = query.shape
    full = torch.einsum("bcyx,bcvu->byxvu", query, key) / channels
    rows, columns = torch.arange(height), torch.arange(width)
    near_rows = (rows[:, None] - rows).abs() <= window // 2
    near_columns = (columns[:, None] - columns).abs() <= window // 2
    return full * (near_rows[:, None, :, None] & near_columns[None, :, None, :])


@pytest.mark.parametrize(("height", "width", "window"), [(7, 9, 3), (5, 4, 9), (11, 8, 5)])
def test_feature_equals_the_loop_over_positions(height, width, window):
    query, key = torch.randn(2, 2, 3, height, width, dtype=torch.float64)
    expected = scores_by_position(query, key, window)
    torch.testing.assert_close(local_correlation(query, key, window), expected)


def test_feature_sums_to_masked_full_attention():
    query, key = torch.randn(2, 1, 4, 6, 7, dtype=torch.float64)
    ours = local_correlation(query, key, 5).sum(1)
    torch.testing.assert_close(ours, full_attention_masked(query, key, 5).sum((-2, -1)))


def test_gradcheck():
    query, key = (torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in "qk")
    assert torch.autograd.gradcheck(lambda q, k: local_correlation(q, k, 3), (query, key))
