"""Convolution in tiles against scipy's, with OpenCV and with torch alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d

from synth import overlap_save
from synth.cells import CELL, cells_of
from synth.convolve import convolve_tiles, convolve_views


@pytest.fixture(params=["opencv", "torch"], autouse=True)
def library(request, monkeypatch):
    """Each test runs with both; a machine that has torch alone is one without OpenCV."""
    if request.param == "opencv":
        pytest.importorskip("cv2")
    else:
        monkeypatch.setattr(overlap_save, "_has_opencv", lambda: False)
    return request.param


@pytest.mark.parametrize("side", [1, 3, 9, 11, 13, 41])
def test_every_plane_meets_scipy_with_both_kernels(side):
    rng = np.random.default_rng(side)
    planes = rng.random((3, 150, 131))
    kernels = rng.random((2, side, side)) / side**2
    result = convolve_views(planes, *kernels)
    assert result.dtype == np.float32
    for view, plane in np.ndindex(2, 3):
        expected = convolve2d(planes[plane], kernels[view], mode="valid")
        np.testing.assert_allclose(result[view, plane], expected, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    side=st.sampled_from([1, 5, 11, 17, 33]),
    share=st.sampled_from([0.02, 0.3, 1.0]),
)
def test_tiles_cover_what_is_asked_for_without_overlap(seed, side, share):
    """Beyond the planes, which end at the result's last pixel, is darkness."""
    rng = np.random.default_rng(seed)
    size, half = (70, 93), side // 2
    planes = rng.random((2, size[0] + half, size[1] + half)).astype(np.float32)
    kernels = rng.random((2, side, side)) / side**2
    where = rng.random(cells_of(size)) < share
    covered = np.zeros(size, dtype=int)
    for rows, columns, values in convolve_tiles(
        planes, (kernels[0], kernels[1]), where, origin=(half, half), size=size
    ):
        covered[rows, columns] += 1
        for view, plane in np.ndindex(2, 2):
            dark = np.pad(planes[plane], ((0, half), (0, half)))
            expected = convolve2d(dark, kernels[view], mode="valid")[rows, columns]
            np.testing.assert_allclose(values[view, plane], expected, atol=2e-6)
    wanted = np.kron(where, np.ones((CELL, CELL), dtype=int))[: size[0], : size[1]]
    assert covered.max(initial=0) <= 1
    assert (covered >= wanted).all()


@pytest.mark.parametrize("side", [5, 25])
def test_the_work_is_done_on_the_default_device(side):
    """There is one device here; the one without memory tells whether it was asked."""
    planes, kernel = np.ones((3, 48, 48), np.float32), np.full((side, side), 0.04)
    with torch.device("meta"), pytest.raises(NotImplementedError, match="meta"):
        convolve_views(planes, kernel, kernel)
