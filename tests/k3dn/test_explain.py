"""What is shown of a restoration."""

import numpy as np
import pytest
import torch

from k3dn import build_model, deblur, explain


def small(**options):
    torch.manual_seed(0)
    model = build_model("nano", {"width": 4, "disparity_channels": 8, **options})
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)
    return model.eval()


@pytest.fixture
def views():
    return np.random.default_rng(0).random((2, 40, 70, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "grid", "kernels"),
    [
        ({}, (3, 5), 16),
        ({"dense_kernels": 6, "window_px": 32}, (2, 3), 6),
        ({"mirror_whole": True}, (3, 5), 16),
    ],
    ids=str,
)
def test_the_picture_and_what_is_behind_it(views, options, grid, kernels):
    model = small(**options)
    shown = explain(model, *views)
    np.testing.assert_allclose(shown.image, deblur(model, *views, precision="fp32"), atol=1e-6)
    assert shown.kernels.shape == (kernels, 9, 9)
    np.testing.assert_allclose(shown.kernels, shown.kernels[..., ::-1], atol=1e-6)
    assert shown.kernel_weights.shape == (*grid, kernels)
    assert shown.in_focus.shape == (40, 70)
    assert shown.in_focus.min() >= 0
    assert shown.in_focus.max() <= 1


def test_features_that_the_blocks_leave_alone_are_in_focus(views):
    """In the left half the network is made to find no change, in the right half some."""
    model = small()
    restore = model.restore

    def half_changed(left, right):
        found = restore(left, right)
        changed = found.features.clone()
        changed[..., changed.shape[-1] // 2 :] *= 2
        return found.__class__(found.image, found.kernel_weights, found.features, changed)

    model.restore = half_changed
    in_focus = explain(model, *views).in_focus
    assert in_focus[:, :32].min() > in_focus[:, 48:].max()


def test_models_that_have_less_to_show(views):
    assert explain(small(psf=False), *views).kernels is None

    class Mean(torch.nn.Module):
        def forward(self, left, right):
            return 0.5 * (left + right)

    shown = explain(Mean(), *views)
    np.testing.assert_allclose(shown.image, views.mean(0), atol=1e-6)
    assert shown.in_focus is None


def test_a_single_picture(views):
    model = small(single_picture=True)
    np.testing.assert_allclose(
        explain(model, views[0]).image, deblur(model, views[0], precision="fp32"), atol=1e-6
    )


def test_a_model_in_training_is_shown_as_it_answers_and_left_as_it_was(views):
    model = small(local_norm=False)
    expected = explain(model, *views).image
    model.train()
    statistics = [buffer.clone() for buffer in model.buffers()]
    np.testing.assert_array_equal(explain(model, *views).image, expected)
    assert model.training
    assert all(map(torch.equal, model.buffers(), statistics))


def test_a_network_held_in_bfloat16(views):
    shown = explain(small().bfloat16(), *views)
    assert shown.kernels.dtype == shown.kernel_weights.dtype == shown.in_focus.dtype == np.float32


def test_exception(views):
    integers = np.rint(255 * views).astype(np.uint8)
    with pytest.raises(ValueError, match=r"floating point in \[0, 1\], got .* of uint8"):
        explain(small(), *integers)
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        explain(small(), views[0][..., 0], views[1][..., 0])
    with pytest.raises(ValueError, match="one shape"):
        explain(small(), views[0], views[1][:32])
