"""Supervision of the disparity estimator by the known blur radius of synthetic pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k3dn import K3DNConfig, TrainingObjective, build_model
from k3dn.losses import COC_KNEE_PX, COC_SCALE_PX, coc_distance, coc_of_windows

NAN = math.nan


def small(**options):
    torch.manual_seed(0)
    model = build_model("nano", {"width": 4, "disparity_channels": 8, **options})
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.1)
    if model.coc_readout is not None:
        torch.nn.init.normal_(model.coc_readout.weight)
    return model


def batch(pairs=2, height=40, width=72):
    torch.manual_seed(1)
    left, right, target = torch.rand(3, pairs, 3, height, width)
    return left, right, target, 16 * torch.rand(pairs, 1, height, width) - 8


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(16, 70),
    width=st.integers(16, 70),
    unknown=st.floats(0, 1),
    window_px=st.sampled_from([16, 32]),
    seed=st.integers(0, 99),
)
def test_means_of_windows_are_those_of_a_loop(height, width, unknown, window_px, seed):
    rng = np.random.default_rng(seed)
    coc = rng.uniform(-8, 8, (1, 1, height, width))
    coc[rng.random(coc.shape) < unknown] = NAN
    found = coc_of_windows(torch.from_numpy(coc), K3DNConfig(window_px=window_px))
    expected = np.full((-(-height // window_px), -(-width // window_px)), NAN)
    for row, column in np.ndindex(expected.shape):
        part = coc[0, 0, row * window_px :, column * window_px :][:window_px, :window_px]
        known = part[np.isfinite(part)]
        if known.size >= window_px**2 / 2:
            expected[row, column] = known.mean()
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-9)


def test_windows_of_a_picture_that_is_resized():
    """144 x 112 px in a picture brought from 96 x 80 to 288 x 448: 48 x 20 of its own."""
    coc = torch.arange(4.0).reshape(1, 1, 2, 2).repeat_interleave(48, 2).repeat_interleave(40, 3)
    config = build_model("nano", {"form": "paper"}).config
    assert coc_of_windows(coc, config).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@given(st.floats(-50, 50), st.floats(-8, 8))
def test_the_term_of_one_window_by_hand(found, truth):
    term = coc_distance(torch.tensor([found]).double(), torch.tensor([truth]).double())
    expected = (math.hypot(found - truth, COC_KNEE_PX) - COC_KNEE_PX) / COC_SCALE_PX
    assert float(term) == pytest.approx(expected, abs=1e-6)


def test_what_is_not_known_gives_neither_loss_nor_gradient():
    model = small()
    left, right, target, coc = batch()
    loss = TrainingObjective(model, disparity_loss=1.0)(left, right, target, coc * NAN)
    assert loss.disparity == 0
    loss.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert not model.coc_readout.weight.grad.any()


def test_a_batch_is_the_mean_of_its_pairs_also_where_some_know_nothing():
    objective = TrainingObjective(small(), disparity_loss=0.3)
    left, right, target, coc = batch(3)
    coc[1] = NAN
    coc[2, :, 16:] = NAN
    whole = objective(left, right, target, coc)
    parts = [
        objective(*(x[i : i + 1] for x in (left, right, target, coc))).disparity for i in range(3)
    ]
    assert parts[1] == 0 and 0 < parts[2] < parts[0]
    torch.testing.assert_close(whole.disparity, sum(parts) / 3)
    expected = whole.deblur + 0.1 * whole.reblur + 0.3 * whole.disparity
    torch.testing.assert_close(whole.total, expected)


def test_it_reaches_the_estimator_and_the_readout_alone():
    model = small()
    TrainingObjective(model, disparity_loss=1.0)(*batch()).disparity.backward()
    reached = {n.partition(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert reached == {"disparity", "coc_readout"}
    assert all(p.grad.any() for p in model.disparity.parameters())


def test_it_is_full_precision_under_autocast():
    model = small()
    left, right, target, coc = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.restore(left, right)
        again = TrainingObjective(model, disparity_loss=1.0)(left, right, target, coc)
    weight, bias = model.coc_readout.weight[0, :, 0, 0], model.coc_readout.bias
    expected = torch.einsum("bdhw,d->bhw", found.disparity_features.float(), weight)[:, None] + bias
    torch.testing.assert_close(found.coc_px, expected)
    truth = coc_of_windows(coc, model.config)
    torch.testing.assert_close(again.disparity, coc_distance(found.coc_px, truth))


@pytest.mark.parametrize(
    "options", [{"psf": False}, {"single_picture": True}, {"coc_readout": False}], ids=str
)
def test_networks_that_estimate_no_radius_have_no_term(options):
    model = small(**options)
    left, right, target, coc = batch()
    assert model.restore(left, right).coc_px is None
    assert TrainingObjective(model, disparity_loss=1.0)(left, right, target, coc).disparity == 0


def test_at_the_start_no_radius_is_estimated_and_no_picture_depends_on_it():
    left, right, *_ = batch()
    torch.manual_seed(0)
    fresh = build_model("nano")
    assert not fresh.restore(left, right).coc_px.any()
    model = small()
    before = model.restore(left, right)
    torch.nn.init.normal_(model.coc_readout.weight)
    after = model.restore(left, right)
    assert torch.equal(before.image, after.image)
    assert not torch.equal(before.coc_px, after.coc_px)


def test_exception():
    left, right, target, coc = batch()
    with pytest.raises(ValueError, match=r"coc must be \(2, 1, 40, 72\).*got \(2, 1, 40, 71\)"):
        TrainingObjective(small())(left, right, target, coc[..., 1:])
    with pytest.raises(ValueError, match=r"coc must be floating point in px, got torch.int64"):
        TrainingObjective(small())(left, right, target, torch.zeros_like(coc, dtype=torch.int64))
    for weight in (-1.0, NAN, math.inf):
        with pytest.raises(ValueError, match="disparity_loss must be finite and not negative"):
            TrainingObjective(small(), disparity_loss=weight)
