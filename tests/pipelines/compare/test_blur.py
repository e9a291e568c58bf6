"""Radius and disparity against kernels that another program made, synth's."""

import numpy as np
import pytest
import torch

from pipelines.compare.blur import fit_blur
from pipelines.compare.kernel_fit import residuals
from tests.pipelines.compare.pictures import half_discs, kernels_of, patches_of

CAMERA_LIKE = {"order": 1, "cutoff_factor": 1.0, "beta": 0.6}
BRIGHT_RIM = {"order": 6, "cutoff_factor": 2.5, "beta": 0.1}


@pytest.mark.parametrize("coc", [2.5, -2.5, 6.0, -11.0])
@pytest.mark.parametrize(
    ("family", "parameters", "off", "off_ratio"),
    [
        ("butterworth", CAMERA_LIKE, 0.04, 0.05),
        # a ring nearly, with a soft edge outside of the radius
        ("butterworth", BRIGHT_RIM, 0.06, 0.07),
        # brighter in the middle than the fit allows for: taken for a smaller disc, and less apart
        ("translating_disk", {"travel": 1.0}, 0.13, 0.05),
    ],
)
def test_radius_disparity_and_their_ratio_are_those_of_the_kernels(
    family: str,
    parameters: dict[str, float],
    off: float,
    off_ratio: float,
    coc: float,
) -> None:
    radius = abs(coc)
    truth = patches_of(kernels_of(family, coc, **parameters))
    blur = fit_blur(*truth.patches)
    assert float(blur.radius_px.median()) == pytest.approx(radius, rel=off)
    assert float(blur.disparity_px.median()) == pytest.approx(truth.disparity_px, rel=off)
    assert bool((blur.disparity_px.sign() == np.sign(coc)).all())
    ratio = (blur.disparity_px / blur.radius_px).abs().median()
    assert float(ratio) == pytest.approx(abs(truth.disparity_px) / radius, rel=off_ratio)
    assert float(blur.vertical_px.abs().median()) < 0.03 * radius
    assert float(blur.shift_px.abs().median()) < 0.03 * radius


def test_in_focus_there_is_neither_blur_nor_disparity() -> None:
    blur = fit_blur(*patches_of((np.ones((1, 1)), np.ones((1, 1)))).patches)
    assert float(blur.radius_px.max()) < 0.5
    assert float(blur.disparity_px.abs().max()) < 0.03


def test_a_rim_that_is_brighter_is_told_from_an_even_disc() -> None:
    even, bright = (
        fit_blur(*patches_of(kernels_of("butterworth", 6.0, **parameters)).patches)
        for parameters in ({"beta": 1.0}, BRIGHT_RIM)
    )
    assert float(even.rim.median()) < 0.1
    assert float(bright.rim.median()) > 0.5


@pytest.mark.parametrize("shift", [(0, 1), (-2, 3)])
def test_a_target_beside_the_views_changes_neither_radius_nor_disparity(
    shift: tuple[int, int],
) -> None:
    truth = patches_of(kernels_of("butterworth", -4.0, **CAMERA_LIKE), shift=shift)
    blur = fit_blur(*truth.patches)
    torch.testing.assert_close(
        blur.shift_px.median(0).values, torch.tensor(shift, dtype=torch.float64), atol=0.1, rtol=0
    )
    assert float(blur.radius_px.median()) == pytest.approx(4.0, rel=0.04)
    assert float(blur.disparity_px.median()) == pytest.approx(truth.disparity_px, rel=0.05)


def test_the_error_that_is_told_for_the_radius_is_that_of_the_noise() -> None:
    kernels = kernels_of("butterworth", 5.0, **CAMERA_LIKE)
    blurs = [fit_blur(*patches_of(kernels, noise=0.03, seed=seed).patches) for seed in range(3)]
    radii = torch.stack([blur.radius_px for blur in blurs])
    told = torch.stack([blur.radius_error for blur in blurs])
    assert 0.4 < float(radii.log().std() / told.square().mean().sqrt()) < 2.5


@pytest.mark.parametrize("side", [1, -1], ids=["near", "far"])
@pytest.mark.parametrize(
    ("best", "kernels"),
    [
        ("butterworth", kernels_of("butterworth", 5.0, **CAMERA_LIKE)),
        ("translating_disk", kernels_of("translating_disk", 5.0, travel=1.0)),
        ("half_disc", half_discs(5.0)),
        ("integral", kernels_of("integral", 5.0)),
    ],
)
def test_the_family_that_made_the_views_leaves_least(
    best: str, kernels: tuple[np.ndarray, np.ndarray], side: int
) -> None:
    noise = 0.001
    truth = patches_of(kernels[::side], noise=noise)
    target, _, left, right = truth.patches
    blur = fit_blur(*truth.patches)
    left_over = residuals(target, left, right, blur.radius_px, blur.shift_px)
    medians = {name: float(values.median()) for name, values in left_over.items()}
    assert min(medians, key=lambda name: medians[name]) == best
    assert medians[best] == pytest.approx(noise, rel=0.35)
