"""Properties that every kernel family must have, and the closed form of each."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.psf import (
    PSF_FAMILIES,
    ButterworthParameters,
    IntegralParameters,
    TranslatingDiskParameters,
    combined_kernel,
)
from synth.psf.family import pixel_shares

FAMILIES = sorted(PSF_FAMILIES)
radii = st.floats(0.0, 20.0, allow_subnormal=False)
seeds = st.integers(0, 2**32)


def draw(name, seed):
    family = PSF_FAMILIES[name]
    return family, family.sample(np.random.default_rng(seed))


def offsets(kernel):
    half = kernel.shape[0] // 2
    return np.arange(-half, half + 1.0)


def centroid_x(kernel):
    return float((kernel.sum(axis=0) * offsets(kernel)).sum())


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(radius=radii, near=st.booleans(), seed=seeds)
def test_kernels_are_light_through_half_apertures(name, radius, near, seed):
    family, params = draw(name, seed)
    left, right = family(radius if near else -radius, params)
    assert left.dtype == np.float64
    assert left.shape[0] == left.shape[1]
    assert left.shape[0] % 2 == 1
    assert left.min() >= 0.0
    assert left.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(left, np.fliplr(right))
    np.testing.assert_array_equal(left, np.flipud(left))
    whole = combined_kernel((left, right))
    np.testing.assert_array_equal(whole, np.fliplr(whole))
    np.testing.assert_allclose(whole - left, right - whole, atol=1e-16)
    # Light stays within the disc, its soft edge and the pixel that a point is split over.
    reach = max(radius, 0.0) * 1.5 + 1.0
    assert left.shape[0] // 2 <= np.ceil(reach)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(radius=st.floats(0.01, 20.0), seed=seeds)
def test_near_and_far_swap_the_views_and_near_shifts_the_left_view_right(name, radius, seed):
    family, params = draw(name, seed)
    near_left, near_right = family(radius, params)
    far_left, far_right = family(-radius, params)
    np.testing.assert_array_equal(near_left, far_right)
    np.testing.assert_array_equal(near_right, far_left)
    assert centroid_x(near_left) > 0.0 > centroid_x(far_left)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(radius=st.floats(0.001, 60.0), seed=seeds)
def test_shift_is_proportional_to_the_radius(name, radius, seed):
    family, params = draw(name, seed)
    unit = centroid_x(family(1.0, params)[0])
    assert centroid_x(family(radius, params)[0]) == pytest.approx(unit * radius, rel=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(radius=st.floats(0.0, 40.0), seed=seeds)
def test_kernels_change_without_jumps(name, radius, seed):
    family, params = draw(name, seed)
    step = 1e-4
    one, other = family(radius, params)[0], family(radius + step, params)[0]
    pad = (other.shape[0] - one.shape[0]) // 2
    assert np.abs(np.pad(one, pad) - other).sum() < 20.0 * step


@pytest.mark.parametrize("name", FAMILIES)
def test_in_focus_is_the_unit_impulse(name):
    left, right = PSF_FAMILIES[name](0.0)
    np.testing.assert_array_equal(left, [[1.0]])
    np.testing.assert_array_equal(right, [[1.0]])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("radius", [0.2, 0.9, 1.0, 3.7, 11.0])
def test_kernels_equal_many_points_each_split_over_four_pixels(name, radius):
    """The projection in closed form against the plain way to do it."""
    family, params = draw(name, 3)
    aperture = family.aperture(params)
    fine = np.kron(aperture.light, np.ones((8, 8)))
    axis = (np.arange(len(fine)) - (len(fine) - 1) / 2) * 2 * aperture.extent / len(fine) * radius
    half = int(np.ceil(aperture.extent * radius))
    expected = np.zeros((2 * half + 2, 2 * half + 2))
    x, y = (grid.ravel() + half for grid in np.meshgrid(axis, axis))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - down - (y - top)) * np.abs(1 - across - (x - left))
        np.add.at(expected, (top + down, left + across), share * fine.ravel())
    expected = expected[:-1, :-1] / expected.sum()
    np.testing.assert_allclose(family(radius, params)[0], expected, atol=2e-3 * expected.max())


@given(first=st.floats(-3.0, 0.0), widths=st.lists(st.floats(0.01, 1.5), min_size=1, max_size=6))
def test_shares_of_a_cell_are_its_tents_averaged_over_it(first, widths):
    edges_px = np.cumsum([first, *widths])
    share = pixel_shares(edges_px)
    half = share.shape[0] // 2
    fine = (np.arange(2000) + 0.5) / 2000
    for cell, (left, right) in enumerate(pairwise(edges_px)):
        points = left + (right - left) * fine
        tents = np.maximum(0.0, 1.0 - np.abs(points - np.arange(-half, half + 1.0)[:, None]))
        np.testing.assert_allclose(share[:, cell], tents.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(share.sum(axis=0), 1.0, atol=1e-12)


def test_large_butterworth_kernels_follow_the_closed_form():
    """Away from its soft edge a kernel is the profile times the ramp, up to one factor."""
    params = ButterworthParameters(
        order=2, cutoff_factor=1.6, beta=0.3, edge_softness=0.02, ramp=0.8
    )
    radius = 30.0
    left, _ = PSF_FAMILIES["butterworth"](radius, params)
    x, y = np.meshgrid(offsets(left), offsets(left))
    rho = np.hypot(x, y) / radius
    t = (rho * 1.6 / 2.0) ** 4
    corner = (np.sqrt(2.0) * 1.6 / 2.0) ** 4
    expected = (0.3 + 0.7 * (t / (1 + t)) / (corner / (1 + corner))) * (1 + 0.8 * x / radius)
    inside = rho < 0.85
    ratio = left[inside] / expected[inside]
    assert ratio.std() / ratio.mean() < 0.02


def test_integral_kernels_are_uniform_windows():
    left, right = PSF_FAMILIES["integral"](6.0, IntegralParameters(height=2.0))
    half = left.shape[0] // 2
    np.testing.assert_allclose(left[half - 4 : half + 5, half + 2 : half + 5], 1 / 72, rtol=1e-2)
    assert left[:, :half].sum() < 1e-9  # all light on the one side of the middle
    whole = combined_kernel((left, right))
    np.testing.assert_allclose(whole[half - 4 : half + 5, half - 4 : half + 5], 1 / 144, rtol=0.07)


def test_translating_disks_are_the_chord_behind_a_point():
    """Inside a large disc light is the chord's length up to the point, no more than the travel."""
    radius = 30.0
    for travel in (2.0, 0.8):
        left, _ = PSF_FAMILIES["translating_disk"](radius, TranslatingDiskParameters(travel=travel))
        x, y = np.meshgrid(offsets(left) / radius, offsets(left) / radius)
        chord = np.minimum(x + np.sqrt(np.maximum(1.0 - y**2, 0.0)), travel)
        inside = np.hypot(x, y) < 0.9
        ratio = left[inside] / chord[inside]
        assert ratio.std() / ratio.mean() < 0.02


def test_translating_disks_come_together_as_the_travel_shrinks():
    shifts = [
        centroid_x(
            PSF_FAMILIES["translating_disk"](5.0, TranslatingDiskParameters(travel=travel))[0]
        )
        for travel in (0.01, 0.5, 1.0, 2.0)
    ]
    assert shifts[0] < 0.02
    assert all(np.diff(shifts) > 0.1)
    assert shifts[-1] / 5.0 == pytest.approx(3.0 * np.pi / 32.0, rel=1e-3)  # in closed form


@pytest.mark.parametrize(
    ("parameters", "values", "field"),
    [
        (ButterworthParameters, {"order": 0}, "order"),
        (ButterworthParameters, {"cutoff_factor": 0.0}, "cutoff_factor"),
        (ButterworthParameters, {"beta": 1.5}, "beta"),
        (ButterworthParameters, {"ramp": -0.1}, "ramp"),
        (IntegralParameters, {"height": 0.0}, "height"),
        (TranslatingDiskParameters, {"travel": 0.0}, "travel"),
        (TranslatingDiskParameters, {"travel": 2.1}, "travel"),
    ],
)
def test_impossible_parameters_are_refused(parameters, values, field):
    with pytest.raises(ValueError, match=field):
        parameters(**values)


def test_parameters_of_another_family_are_refused():
    with pytest.raises(ValueError, match="butterworth takes ButterworthParameters"):
        PSF_FAMILIES["butterworth"](2.0, IntegralParameters())
    with pytest.raises(ValueError, match="finite"):
        PSF_FAMILIES["integral"](float("nan"))
