"""Local correlation (Eq. 11) against a loop over positions."""

import pytest
import torch

from k3dn.network import correlation
from k3dn.network.config import K3DNConfig
from k3dn.network.correlation import by_offsets, correlate, local_correlation, surround
from k3dn.network.srp import SRPBlock

WAYS = {"offsets": by_offsets, "tiles": local_correlation}
LAYOUTS = {"plain": torch.contiguous_format, "channels_last": torch.channels_last}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Each of the two ways; tiles in strips of one row of tiles, so that strips are joined."""
    monkeypatch.setattr(correlation, "_STRIP_VALUES", 1)
    return WAYS[request.param]


@pytest.fixture(params=LAYOUTS)
def laid_out(request):
    """Puts a tensor into a layout."""
    return lambda x: x.contiguous(memory_format=LAYOUTS[request.param])


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
    ("height", "width", "window"), [(7, 9, 3), (5, 4, 9), (11, 8, 5), (9, 17, 9), (8, 16, 1)]
)
@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.02)]
)
def test_feature_equals_the_loop_over_positions(
    way, laid_out, height, width, window, dtype, within
):
    query, key = (laid_out(x.to(dtype)) for x in torch.randn(2, 2, 3, height, width))
    expected = scores_by_position(query.double(), key.double(), window)
    found = way(query, key, window)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=within, rtol=within)


def test_feature_sums_to_masked_full_attention(way):
    query, key = torch.randn(2, 1, 4, 6, 7, dtype=torch.float64)
    ours = way(query, key, 5).sum(1)
    torch.testing.assert_close(ours, full_attention_masked(query, key, 5).sum((-2, -1)))


@pytest.mark.parametrize(("height", "width", "window"), [(5, 4, 3), (9, 10, 5), (6, 21, 9)])
def test_gradients_are_those_of_the_definition(laid_out, monkeypatch, height, width, window):
    monkeypatch.setattr(correlation, "_STRIP_VALUES", 1)
    pair = torch.randn(2, 2, 3, height, width, dtype=torch.float64)
    weight = torch.randn(2, window**2, height, width, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((way(*leaves, window) * weight).sum(), leaves)
        for way in (local_correlation, by_offsets)
        for leaves in [[laid_out(x).requires_grad_() for x in pair]]
    )
    torch.testing.assert_close(found, expected)


def test_gradcheck(way):
    query, key = (torch.randn(1, 2, 9, 10, dtype=torch.float64, requires_grad=True) for _ in "qk")
    assert torch.autograd.gradcheck(lambda q, k: way(q, k, 5), (query, key), fast_mode=True)


def test_a_part_has_the_scores_that_it_has_in_the_whole(laid_out):
    query, key = (laid_out(x) for x in torch.randn(2, 1, 16, 20, 24))
    surrounded = surround(key, 5)
    part = correlate(query[:, :, 6:13], surrounded[:, :, 6 : 13 + 4], 5)
    torch.testing.assert_close(part, by_offsets(query, key, 5)[:, :, 6:13])


def test_scores_of_channels_that_lie_together_lie_together():
    """Else the convolution behind them would copy them into the other layout."""
    views = torch.randn(2, 1, 16, 8, 16)
    query, key = (x.contiguous(memory_format=torch.channels_last) for x in views)
    scores = local_correlation(query, key, 5)
    assert scores.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("value_kernel", [1, 3, 5])
@pytest.mark.parametrize("gated", [True, False])
def test_srp_block_in_strips_equals_the_whole(monkeypatch, laid_out, value_kernel, gated):
    """Strips of one row, whose values see the scores of their neighbours."""
    monkeypatch.setattr("k3dn.network.srp._STRIP_SCORES", 1)
    torch.manual_seed(0)
    config = K3DNConfig(attention_window=5, value_kernel=value_kernel, gated_values=gated)
    block = SRPBlock(6, config).double()
    x = laid_out(torch.randn(2, 6, 9, 13, dtype=torch.float64))
    whole = block(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(block(x), whole)
