"""Radial distortion: where light comes from, by the polynomial; and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.distortion import distort, distort_nearest
from synth.published_cameras import RDPD_CAMERAS

SETS = [camera.radial_distortion for camera in RDPD_CAMERAS.values()]


def waves(row, column):
    """A smooth picture of which the value between pixels is known; mirrored at the borders."""
    return 0.5 + 0.25 * np.cos(row * np.pi / 20.0) + 0.25 * np.cos(column * np.pi / 30.0)


@pytest.mark.parametrize("coefficients", SETS)
def test_light_comes_from_where_the_polynomial_says(coefficients):
    """Waves with a symmetric axis at each border, (60, 90): inside and beyond it by formula."""
    rows, columns = np.mgrid[:60, :90] + 0.5
    picture = waves(rows, columns)[..., None].repeat(3, axis=2)
    distorted = distort(picture, coefficients)
    a, b, c, d = coefficients
    for row, column in [(0, 0), (0, 89), (7, 60), (30, 45), (59, 3), (45, 20)]:
        y, x = (row + 0.5 - 30.0) / 30.0, (column + 0.5 - 45.0) / 30.0
        r = np.hypot(y, x)
        scale = a * r**3 + b * r**2 + c * r + d
        expected = waves(30.0 + 30.0 * y * scale, 45.0 + 30.0 * x * scale)
        np.testing.assert_allclose(distorted[row, column], expected, atol=2e-3)


def test_no_distortion_changes_nothing():
    picture = np.random.default_rng(0).random((12, 17, 3)).astype(np.float32)
    np.testing.assert_allclose(distort(picture, (0.0, 0.0, 0.0, 1.0)), picture, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), coefficients=st.sampled_from(SETS))
def test_symmetric_about_the_middle_and_within_range(seed, coefficients):
    picture = np.random.default_rng(seed).random((14, 19, 3)).round().astype(np.float32)
    distorted = distort(picture, coefficients)
    assert distorted.min() >= 0.0
    assert distorted.max() <= 1.0
    for flip in (np.s_[::-1], np.s_[:, ::-1]):
        np.testing.assert_allclose(distort(picture[flip], coefficients)[flip], distorted, atol=1e-6)


def test_blur_radii_are_not_mixed():
    coc = np.zeros((20, 30), dtype=np.float32)
    coc[5:12, 7:20] = -4.0
    assert set(np.unique(distort_nearest(coc, SETS[0]))) == {-4.0, 0.0}


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ((0.0, 0.0, 1.0), "4 finite numbers"),
        ((0.0, 0.0, np.nan, 1.0), "4 finite numbers"),
        ((0.0, -1.0, 0.0, 1.0), "folds"),
    ],
)
def test_what_is_no_lens_is_refused(coefficients, message):
    with pytest.raises(ValueError, match=message):
        distort(np.zeros((8, 8, 3)), coefficients)
