"""The disparity estimators, and the SRP block against the equations (Eq. 11-16)."""

import pytest
import torch
import torch.nn.functional as F

from k3dn.network.authors_disparity import AuthorsDisparityEstimator
from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu
from k3dn.network.disparity import (
    DisparityEstimator,
    SinglePictureEstimator,
    matching_scores,
)
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
def test_matching_scores_are_mean_squared_differences(first, last):
    torch.manual_seed(0)
    left, right = torch.randn(2, 1, 4, 3, 7).double()
    scores = matching_scores(left, right, first, last)
    pooled = torch.nn.functional.avg_pool3d(scores, (1, 2, 2))
    torch.testing.assert_close(matching_scores(left, right, first, last, side=2), pooled)
    assert scores.shape == (1, 2, last - first + 1, 3, 7)
    for index, shift in enumerate(range(first, last + 1)):
        for group in range(2):
            for x in range(7):
                there = min(max(x - shift, 0), 6)
                off = (
                    left[0, 2 * group : 2 * group + 2, :, x]
                    - right[0, 2 * group : 2 * group + 2, :, there]
                )
                torch.testing.assert_close(scores[0, group, index, :, x], -(off**2).mean(0))


@pytest.mark.parametrize("disparity", [-2, 0, 3])
def test_what_is_nearer_than_focus_matches_at_a_positive_shift(disparity):
    """x_L - x_R > 0 for near: the right view is the left one moved to the left."""
    torch.manual_seed(0)
    scene = torch.randn(1, 2, 5, 40)
    left, right = scene[..., 10:30], scene[..., 10 + disparity : 30 + disparity]
    scores = matching_scores(left, right, -4, 4)[..., 5:15].mean((0, 1, 3, 4))
    assert int(scores.argmax()) - 4 == disparity
    assert scores.max() == 0.0


def test_scores_are_alike_in_strong_and_in_weak_texture():
    """Where the match lies must be seen from the first step of training on, whatever the light."""
    torch.manual_seed(0)
    estimator = DisparityEstimator(K3DNConfig(disparity_width=8))
    features = torch.randn(2, 8, 64, 64)
    strong, _ = estimator._match(features, 0)
    weak, _ = estimator._match(0.05 * features, 0)
    for scores in (strong, weak):
        assert 0.5 < scores.square().mean() < 1.01
    assert torch.corrcoef(torch.stack((strong.flatten(), weak.flatten())))[0, 1] > 0.95


def test_a_one_sided_estimator_looks_for_what_is_nearer_than_focus():
    config = K3DNConfig(width=2, two_sided=False, disparity_channels=5)
    for first, last in DisparityEstimator(config).shifts:
        assert first == 0
        assert last > 0


def test_a_flat_pair_gives_finite_vectors_and_gradients():
    estimator = DisparityEstimator(K3DNConfig(width=4, disparity_width=8))
    flat = torch.full((1, 3, 32, 32), 0.2, requires_grad=True)
    vectors = estimator(flat, flat)
    vectors.sum().backward()
    assert vectors.isfinite().all()
    assert flat.grad.isfinite().all()


def test_mirrored_and_swapped_views_give_mirrored_vectors():
    torch.manual_seed(0)
    estimator = DisparityEstimator(K3DNConfig(width=4, disparity_width=8)).double()
    left, right = torch.rand(2, 1, 3, 48, 64).double()
    mirrored = estimator(right.flip(-1), left.flip(-1)).flip(-1)
    torch.testing.assert_close(mirrored, estimator(left, right))


def test_vectors_have_one_size_whatever_the_features_do():
    """Features that grow would saturate the query."""
    torch.manual_seed(0)
    estimator = DisparityEstimator(K3DNConfig(width=4, disparity_width=8))
    with torch.no_grad():
        estimator.project.weight.mul_(1e4)
    assert estimator(*torch.rand(2, 1, 3, 32, 32)).std(dim=1).max() < 1.01


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
