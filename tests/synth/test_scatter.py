"""The scattering renderer: loops that spread pixel by pixel, and the published views."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.psf import INTEGRAL, IntegralParameters
from synth.render import CentredWindow, PublishedWindow, render_gather, render_scatter

REFERENCE = os.environ.get("K3DN_REFERENCE")
SCENES = ("const3_impulse", "const7_checker", "const1_tex", "step_tex")


@pytest.mark.skipif(REFERENCE is None, reason="K3DN_REFERENCE is not set")
@pytest.mark.parametrize("scene", SCENES)
def test_published_views_are_met(scene):
    arrays = np.load(Path(REFERENCE) / "ddd_integral_image.npz")
    image = arrays[f"{scene}_rgb"] / 255.0
    views = render_scatter(image, arrays[f"{scene}_disp"], PublishedWindow())
    for view, side in zip(views, ("left", "right"), strict=True):
        np.testing.assert_allclose(view, arrays[f"{scene}_ref_{side}_nofill"], atol=1e-5)


def scatter_slowly(image, coc, height):
    """Each pixel's kernel, 1 a pixel where it is wide, put down around it; the scene mirrored."""
    pad = 12
    image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    coc = np.pad(coc, pad, mode="symmetric")
    views = []
    for view in range(2):
        total = np.zeros((*(n + 2 * pad for n in coc.shape), 4))
        for row, column in np.ndindex(*coc.shape):
            radius = float(coc[row, column])
            kernel = INTEGRAL(radius, IntegralParameters(height=height))[view]
            kernel = kernel * max(abs(radius), 1.0) * max(height * abs(radius), 1.0)
            half = kernel.shape[0] // 2
            top, left = row + pad - half, column + pad - half
            around = total[top : top + 2 * half + 1, left : left + 2 * half + 1]
            around += kernel[..., None] * np.append(image[row, column], 1.0)
        inner = total[2 * pad : -2 * pad, 2 * pad : -2 * pad]
        views.append(inner[..., :3] / inner[..., 3:])
    return views


@pytest.mark.parametrize(("height", "tolerance"), [(2.0, 2e-6), (1.0, 2e-6), (1.3, 1e-3)])
def test_each_pixel_is_spread_by_its_own_kernel(height, tolerance):
    """The family knows 1.3 in whole cells of its aperture, the window exactly."""
    rng = np.random.default_rng(0)
    image = rng.random((14, 17, 3))
    coc = rng.uniform(-4.0, 4.0, (14, 17))
    coc[3:6] = 0.0
    coc[8] = 1e-5
    views = render_scatter(image, coc, CentredWindow(height))
    np.testing.assert_allclose(views, scatter_slowly(image, coc, height), atol=tolerance)


@settings(max_examples=20, deadline=None)
@given(radius=st.one_of(st.just(0.0), st.floats(-6.0, 6.0)), seed=st.integers(0, 99))
def test_of_one_depth_it_is_the_family_s_convolution(radius, seed):
    image = np.random.default_rng(seed).random((15, 18, 3)).astype(np.float32)
    coc = np.full((15, 18), radius)
    family = partial(INTEGRAL, params=IntegralParameters())
    step = max(abs(radius), 1e-3)
    expected = render_gather(image, coc, family, step_px=step)
    # Windows below 1e-4 px are taken as points.
    np.testing.assert_allclose(render_scatter(image, coc, CentredWindow()), expected, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), level=st.floats(0.01, 1.0))
def test_a_plain_picture_stays_plain_and_views_mirror(seed, level):
    coc = np.random.default_rng(seed).uniform(-5.0, 5.0, (12, 16))
    plain = np.full((12, 16, 3), level)
    for view in render_scatter(plain, coc, CentredWindow()):
        np.testing.assert_allclose(view, plain, rtol=1e-6)
    image = np.random.default_rng(seed).random((12, 16, 3))
    left, right = render_scatter(image, coc, CentredWindow())
    mirrored = render_scatter(image[:, ::-1], coc[:, ::-1], CentredWindow())
    np.testing.assert_allclose(mirrored[0], right[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(mirrored[1], left[:, ::-1], atol=1e-6)


def test_what_cannot_be_rendered_is_refused():
    image, coc = np.zeros((4, 4, 3)), np.full((4, 4), -1.0)
    with pytest.raises(ValueError, match="no far side"):
        render_scatter(image, coc, PublishedWindow())
    with pytest.raises(ValueError, match="CentredWindow or PublishedWindow, got PsfFamily"):
        render_scatter(image, coc, INTEGRAL)
    with pytest.raises(ValueError, match="coc_px is"):
        render_scatter(image, coc[1:], CentredWindow())


def test_it_runs_on_the_cpu_whatever_the_default_device():
    """There is one device here; the one without memory tells whether it was asked."""
    image, coc = np.random.default_rng(0).random((12, 15, 3)), np.full((12, 15), 2.0)
    expected = render_scatter(image, coc, CentredWindow())
    with torch.device("meta"):
        np.testing.assert_array_equal(render_scatter(image, coc, CentredWindow()), expected)
