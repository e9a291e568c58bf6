"""Metrics against scikit-image and the paper's own table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from k3dn import metrics


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(7, 40), width=st.integers(7, 40))
def test_feature_equals_scikit_image(seed, height, width):
    rng = np.random.default_rng(seed)
    target = rng.random((height, width, 3))
    image = np.clip(target + 0.1 * rng.standard_normal(target.shape), 0, 1).astype(np.float32)
    expected = structural_similarity(image.astype(float), target, data_range=1, channel_axis=-1)
    assert metrics.ssim(image, target) == pytest.approx(expected, abs=1e-9)
    expected = peak_signal_noise_ratio(target, image.astype(float), data_range=1)
    assert metrics.psnr(image, target) == pytest.approx(expected, abs=1e-9)


def test_rmse_rel_reproduces_the_papers_first_row():
    assert metrics.rmse_rel(23.89) == pytest.approx(6.39e-2, abs=5e-5)


def test_equal_pictures():
    picture = np.random.default_rng(0).random((9, 9, 3))
    assert metrics.psnr(picture, picture) == float("inf")
    assert metrics.ssim(picture, picture) == pytest.approx(1.0)
    assert metrics.mae(picture, picture) == 0


def test_mae_closed_form():
    assert metrics.mae(np.full((8, 8, 3), 0.25), np.zeros((8, 8, 3))) == 0.25


def test_exception_integers_and_sizes():
    with pytest.raises(ValueError, match="floating point"):
        metrics.psnr(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"got \(8, 8, 4\)"):
        metrics.mae(np.zeros((8, 8, 4)), np.zeros((8, 8, 4)))
    with pytest.raises(ValueError, match="one size"):
        metrics.ssim(np.zeros((8, 8, 3)), np.zeros((8, 9, 3)))
