"""What is shown of a restoration."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from k3dn import TrainingObjective, box, build_model, deblur, explain
from k3dn.explain import CONTRAST_PERIOD_PX, contrast_left
from synth import PSF_FAMILIES
from synth.convolve import convolve_views
from synth.sources.patterns import random_pattern


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
    block = model.psf_blocks[0]
    if "dense_kernels" in options:
        expected = block.kernel_set().mean(dim=1)
    else:
        expected = block.kernel_set.deblurring_kernels()
    np.testing.assert_allclose(shown.kernels, expected.detach())
    assert shown.kernels_deblur == ("dense_kernels" not in options)
    assert shown.kernels.shape == (kernels, 9, 9)
    np.testing.assert_allclose(shown.kernels, shown.kernels[..., ::-1], atol=1e-6)
    assert shown.kernel_weights.shape == (*grid, kernels)
    assert shown.in_focus.shape == (40, 70)
    assert shown.in_focus.min() >= 0
    assert shown.in_focus.max() <= 1


def test_without_a_trained_readout_the_map_is_the_change_of_features(views):
    """The network is made to leave features as they are, to double them, to raise them eightfold:
    1 / (1 + c), whatever the rest of the picture is."""
    model = small()
    restore = model.restore

    def changed(left, right):
        found = restore(left, right)
        deblurred = found.features.clone()
        deblurred[..., 3:6] *= 2
        deblurred[..., 6:] *= 8
        return replace(found, deblurred_features=deblurred)

    model.restore = changed
    shown = explain(model, *views)
    assert shown.coc_px is None
    np.testing.assert_allclose(shown.in_focus[:, :20], 1.0, atol=1e-5)
    np.testing.assert_allclose(shown.in_focus[:, 29:44], 0.5, atol=1e-5)
    np.testing.assert_allclose(shown.in_focus[:, 53:], 0.125, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"window_px": 32}, {"pad_to_grid": False}], ids=str)
def test_a_radius_and_its_contrast_are_shown_at_the_size_of_the_picture(views, options):
    """The readout is made to say -2 px everywhere: negative in sign, and as sharp as 2 px are."""
    model = small(**options)
    torch.nn.init.constant_(model.coc_readout.bias, -2.0)
    shown = explain(model, *views)
    np.testing.assert_allclose(shown.coc_px, np.full((40, 70), -2.0), rtol=1e-6)
    np.testing.assert_allclose(shown.in_focus, disk_contrast(2.0), rtol=1e-3)


def disk_contrast(radius_px):
    """What a disk leaves of a sine's amplitude at its middle, by adding up over the disk."""
    x = (np.arange(2000) + 0.5) / 1000 - 1
    chord = np.sqrt(1 - x**2)
    wave = np.cos(2 * np.pi * radius_px * x / CONTRAST_PERIOD_PX)
    return float((chord * wave).sum() / chord.sum())


@given(st.floats(-12, 12))
def test_contrast_left_is_a_disks_and_never_rises_with_the_radius(radius_px):
    found = contrast_left(torch.tensor([0.0, abs(radius_px), -radius_px, abs(radius_px) + 0.1]))
    assert found[0] == 1
    assert found[1] == found[2] >= found[3]
    expected = disk_contrast(radius_px) if abs(radius_px) < 4.87 else 0.0
    assert float(found[1]) == pytest.approx(expected, abs=1e-3)


def planes(seed, pairs, size=(32, 64)):
    """Pairs of two planes each, side by side: left, right, target, signed radius.

    A quarter of the planes is in focus, the others up to 6 px before or behind it.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    margin, made = 12, []
    for _ in range(pairs):
        sharp = np.moveaxis(random_pattern(rng, (height + 24, width + 24)), -1, 0)
        parts = []
        for _ in range(2):
            radius_px = 0.0 if rng.random() < 0.25 else rng.uniform(-6, 6)
            kernels = PSF_FAMILIES["translating_disk"](radius_px)
            cut = margin - kernels[0].shape[0] // 2
            views = convolve_views(sharp, *kernels)[..., cut : cut + height, cut : cut + width]
            parts.append((views, np.full((1, height, width), radius_px)))
        in_first = np.arange(width) < width // 2
        views, coc = (np.where(in_first, *both) for both in zip(*parts, strict=True))
        made.append((*views, sharp[:, margin:-margin, margin:-margin], coc))
    return [torch.from_numpy(np.stack(x)).float() for x in zip(*made, strict=True)]


@pytest.fixture(scope="module")
def trained():
    """A narrow nano after a few seconds of training with known radii, near as often as far."""
    torch.manual_seed(0)
    steps, data = 100, planes(0, 96)
    options = {"width": 4, "psf_blocks": 1, "disparity_channels": 32, "srp": False}
    model = build_model("nano", options)
    objective = TrainingObjective(model, disparity_loss=0.3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(96, (8,))
        left, right, target, coc = (values[chosen] for values in data)
        if step % 2:
            left, right, coc = right, left, -coc
        optimizer.zero_grad()
        objective(left, right, target, coc, reblur=False).total.backward()
        optimizer.step()
        schedule.step()
    held_out = planes(1, 24)
    shown = [
        explain(model, *(view.movedim(0, -1).numpy() for view in views))
        for views in zip(*held_out[:2], strict=True)
    ]
    return shown, held_out[3][:, 0].numpy()


@pytest.mark.slow
def test_a_trained_network_tells_near_from_far(trained):
    """0.94 in correlation when this was written."""
    shown, coc_px = trained
    found = np.stack([one.coc_px for one in shown])
    assert np.corrcoef(found.ravel(), coc_px.ravel())[0, 1] > 0.8


@pytest.mark.slow
def test_the_in_focus_map_of_a_trained_network_falls_with_blur(trained):
    """-0.86 in correlation when this was written."""
    shown, coc_px = trained
    in_focus = np.stack([one.in_focus for one in shown])
    assert np.corrcoef(in_focus.ravel(), np.abs(coc_px).ravel())[0, 1] < -0.6


@pytest.mark.slow
def test_the_query_of_a_trained_network_lives_on_disparity(trained):
    """Weights that are the same everywhere choose no kernel, and weights that vary with anything
    but disparity the wrong one: a linear readout of them must tell the signed blur radius.
    """
    shown, coc_px = trained
    weights = np.stack([one.kernel_weights for one in shown])
    places = weights.shape[1:3]
    radii = coc_px.reshape(len(shown), places[0], 16, places[1], 16).mean((2, 4))
    assert explained(weights, radii) > 0.6


def explained(found, radii):
    """R^2 of a linear readout of (pairs, h, w, N), fitted on every second pair, for the others."""
    readout = np.concatenate((found, np.ones_like(found[..., :1])), axis=-1)
    fitted, tested = slice(None, None, 2), slice(1, None, 2)
    columns = readout.shape[-1]
    solved = np.linalg.lstsq(readout[fitted].reshape(-1, columns), radii[fitted].ravel())[0]
    error = readout[tested] @ solved - radii[tested]
    return 1 - error.var() / radii[tested].var()


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_every_block_of_the_box_chooses_its_kernels_by_the_signed_radius(name):
    """The query lives after the longest trainings there are, on both sides of focus."""
    # So many that a readout of all kernels is not fitted to chance.
    left, right, _, coc_px = planes(2, 64, (64, 96))
    network = box.load(name)
    # Of an even number: a pair and itself with exchanged views are both fitted or both tested.
    with torch.inference_mode():
        found = network.restore(torch.cat((left, right)), torch.cat((right, left)))
    radii = F.avg_pool2d(torch.cat((coc_px, -coc_px)), 16)[:, 0].numpy()
    assert np.corrcoef(found.coc_px[:, 0].numpy().ravel(), radii.ravel())[0, 1] > 0.9
    for weights in found.kernel_weights:
        assert explained(weights.movedim(1, -1).numpy(), radii) > 0.9


def test_maps_lie_on_the_picture_where_it_is_padded_beyond_a_window():
    """The authors' estimator wants 288 x 448 px, two windows more than the grid asks for."""
    model = small(form="paper", pad_to_grid=True)
    views = np.random.default_rng(0).random((2, 100, 150, 3)).astype(np.float32)
    padded = np.pad(views, ((0, 0), (0, 188), (0, 298), (0, 0)), mode="edge")
    found, expected = explain(model, *views).in_focus, explain(model, *padded).in_focus
    np.testing.assert_allclose(found, expected[:100, :150], atol=1e-5)


def test_models_that_have_less_to_show(views):
    assert explain(small(psf=False), *views).kernels is None

    class Mean(torch.nn.Module):
        def forward(self, left, right):
            return 0.5 * (left + right)

    shown = explain(Mean(), *views)
    np.testing.assert_allclose(shown.image, views.mean(0), atol=1e-6)
    assert shown.in_focus is None
    assert shown.coc_px is None


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
    model = small()
    torch.nn.init.normal_(model.coc_readout.weight)
    shown = explain(model.bfloat16(), *views)
    for found in (shown.kernels, shown.kernel_weights, shown.in_focus, shown.coc_px):
        assert found.dtype == np.float32


def test_exception(views):
    integers = np.rint(255 * views).astype(np.uint8)
    with pytest.raises(ValueError, match=r"floating point in \[0, 1\], got .* of uint8"):
        explain(small(), *integers)
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        explain(small(), views[0][..., 0], views[1][..., 0])
    with pytest.raises(ValueError, match="one shape"):
        explain(small(), views[0], views[1][:32])
