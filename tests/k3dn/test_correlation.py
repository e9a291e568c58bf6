"""Local correlation (Eq. 11) against a loop over positions."""

import pytest
import torch

from k3dn.network import correlation
from k3dn.network.correlation import local_correlation

WAYS = {"offsets": correlation.ByOffsets, "tiles": correlation.ByTiles}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Each of the two ways; tiles in strips of one row of tiles, so that strips are joined."""
    monkeypatch.setattr(correlation, "_STRIP_VALUES", 1)
    return WAYS[request.param].apply


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


@pytest.mark.parametrize(
    ("height", "width", "window"), [(7, 9, 3), (5, 4, 9), (11, 8, 5), (19, 17, 9)]
)
def test_feature_equals_the_loop_over_positions(way, height, width, window):
    query, key = torch.randn(2, 2, 3, height, width, dtype=torch.float64)
    expected = scores_by_position(query, key, window)
    torch.testing.assert_close(way(query, key, window), expected)


def test_feature_sums_to_masked_full_attention(way):
    query, key = torch.randn(2, 1, 4, 6, 7, dtype=torch.float64)
    ours = way(query, key, 5).sum(1)
    torch.testing.assert_close(ours, full_attention_masked(query, key, 5).sum((-2, -1)))


@pytest.mark.parametrize(("height", "width", "window"), [(5, 4, 3), (9, 10, 5)])
def test_gradcheck(way, height, width, window):
    query, key = (
        torch.randn(1, 2, height, width, dtype=torch.float64, requires_grad=True) for _ in "qk"
    )
    assert torch.autograd.gradcheck(lambda q, k: way(q, k, window), (query, key), fast_mode=True)


@pytest.mark.parametrize("channels", [8, 32])
def test_both_ways_serve_the_public_function(channels):
    query, key = torch.randn(2, 1, channels, 9, 12)
    expected = scores_by_position(query, key, 5)
    torch.testing.assert_close(local_correlation(query, key, 5), expected)


def test_bfloat16_stays_near(way):
    query, key = torch.randn(2, 1, 32, 16, 16)
    expected = correlation.ByOffsets.apply(query, key, 9)
    found = way(query.bfloat16(), key.bfloat16(), 9).float()
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
