"""The disparity estimators, and the SRP block against the equations (Eq. 11-16)."""

import pytest
import torch
import torch.nn.functional as F

from k3dn.network.authors_disparity import AuthorsDisparityEstimator
from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu
from k3dn.network.disparity import DisparityEstimator, SinglePictureEstimator, cost_volume
from k3dn.network.encoder import Encoder
from k3dn.network.srp import SRPBlock

AUTHORS = K3DNConfig(
    disparity_channels=7,
    authors_disparity=True,
    two_sided=False,
    local_norm=False,
    mirror_disparity=False,
)


@pytest.mark.parametrize(("first", "last"), [(-2, 2), (0, 3), (-1, 0)])
def test_cost_volume_looks_where_it_is_told(first, last):
    left, right = torch.randn(2, 1, 2, 3, 7)
    volume = cost_volume(left, right, first, last)
    assert volume.shape == (1, 4, last - first + 1, 3, 7)
    for index, shift in enumerate(range(first, last + 1)):
        for x in range(7):
            assert torch.equal(volume[:, :2, index, :, x], left[..., x])
            inside = 0 <= x + shift < 7
            expected = right[..., x + shift] if inside else torch.zeros(1, 2, 3)
            assert torch.equal(volume[:, 2:, index, :, x], expected)


def test_a_one_sided_estimator_looks_for_what_is_nearer_than_focus():
    """Near is x_L - x_R > 0: the right view has it further left, whichever weights there are."""
    torch.manual_seed(0)
    config = K3DNConfig(width=2, two_sided=False, mirror_disparity=False, disparity_channels=5)
    first, last = DisparityEstimator(config).shifts
    right = torch.rand(1, 2, 3, 9)
    for shift in range(-4, 5):  # left(x) = right(x - shift)
        volume = cost_volume(right.roll(shift, -1), right, first, last)
        found = [(volume[:, :2, i] == volume[:, 2:, i])[..., 4:-4].all() for i in range(5)]
        assert any(found) == (shift >= 0)


def test_a_larger_window_has_the_mean_of_its_vectors():
    config = {"width": 2, "disparity_width": 4, "disparity_channels": 5}
    torch.manual_seed(0)
    fine = DisparityEstimator(K3DNConfig(**config))
    coarse = DisparityEstimator(K3DNConfig(**config, window_px=64))
    coarse.load_state_dict(fine.state_dict())
    views = torch.rand(2, 1, 3, 128, 192)
    vectors = fine(*views)
    assert vectors.shape == (1, 5, 8, 12)
    expected = vectors[:, :, 4:8, 8:12].mean((-2, -1))
    torch.testing.assert_close(coarse(*views)[:, :, 1, 2], expected)


def _where_from(picture, value):
    """Centre of what moves a value in a picture, in px down and across."""
    (gradient,) = torch.autograd.grad(value.square().sum(), picture)
    energy = gradient.square().sum((0, 1))
    down, across = energy.sum(1), energy.sum(0)
    rows, columns = torch.arange(len(down)), torch.arange(len(across))
    return torch.stack(((down * rows).sum(), (across * columns).sum())) / energy.sum()


@pytest.mark.parametrize("mirror", [True, False])
def test_a_vector_comes_from_the_place_of_the_features_that_it_governs(mirror):
    """To less than half a window in the mean over first weights, each of which looks askew."""
    config = K3DNConfig(width=4, disparity_width=8, mirror_disparity=mirror)
    gaps = []
    for seed in range(5):
        torch.manual_seed(seed)
        estimator, encoder = DisparityEstimator(config), Encoder(config)
        view = torch.rand(1, 3, 160, 192, requires_grad=True)
        vectors, features = estimator(view, view), encoder(torch.cat((view, view), dim=1))[2]
        assert (vectors.shape[-2:], features.shape[-2:]) == ((10, 12), (20, 24))
        ours = _where_from(view, vectors[0, :, 4, 6])
        theirs = _where_from(view, features[0, :, 8:10, 12:14])
        gaps.append(ours - theirs)
    assert torch.stack(gaps).mean(0).abs().max() < 8


def test_authors_estimator_has_a_vector_for_144_x_112_px():
    estimator = AuthorsDisparityEstimator(AUTHORS).eval()
    views = torch.rand(2, 1, 3, 288, 448)
    assert estimator(*views).shape == (1, 7, 2, 4)


def test_authors_estimator_depends_on_both_views():
    torch.manual_seed(0)
    estimator = AuthorsDisparityEstimator(AUTHORS).eval()
    left, right = torch.rand(2, 1, 3, 288, 448)
    assert not torch.equal(estimator(left, right), estimator(left, left))
    assert not torch.equal(estimator(left, right), estimator(right, right))


def test_one_picture_has_a_vector_for_each_window():
    estimator = SinglePictureEstimator(K3DNConfig(disparity_channels=7, window_px=32))
    assert estimator(torch.rand(1, 3, 64, 96)).shape == (1, 7, 2, 3)


@pytest.mark.parametrize("gated", [True, False])
def test_srp_block_is_equations_11_to_16(gated):
    torch.manual_seed(0)
    config = K3DNConfig(attention_window=3, srp_residual_blocks=1, gated_values=gated)
    block = SRPBlock(4, config).double()
    x = torch.randn(1, 4, 5, 6).double()
    query, key = block.query(x), block.key(x)
    scores = torch.zeros(1, 9, 5, 6).double()
    for y in range(5):
        for column in range(6):
            for index in range(9):
                ky, kx = y + index // 3 - 1, column + index % 3 - 1
                if 0 <= ky < 5 and 0 <= kx < 6:
                    scores[0, index, y, column] = query[0, :, y, column] @ key[0, :, ky, kx] / 4
    phi_v = F.conv2d(scores, block.values.weight, block.values.bias, padding=1)
    values = leaky_relu(2 / (1 + torch.exp(-phi_v)) * x) if gated else phi_v * x
    torch.testing.assert_close(block(x), x + block.feed_forward(values))
