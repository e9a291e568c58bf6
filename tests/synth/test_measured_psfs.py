"""Measured kernels: scaled, turned and loaded without the symmetries that the families have."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d

from synth.psf import FieldPsf, MeasuredBank, load_measured_bank
from synth.psf.measured import blur_radius_px, centroid_px

KEY = "measured_rows6_cols8_views2_61_61"


def lopsided_bank(**settings):
    """2 x 3 places, kernels of side 15 with light strewn about, nothing symmetric."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[-7:8, -7:8]
    disc = np.hypot(x + 1.0, y - 1.5) < 5.0
    array = disc * rng.uniform(0.2, 1.0, (2, 3, 2, 15, 15))
    array[:, :, 0] *= 8.0 - x
    array[:, :, 1] *= 8.0 + x
    return array, load_measured_bank(array, **settings)


places = st.tuples(st.integers(0, 1), st.integers(0, 2))
radii = st.floats(-12.0, 12.0)


def total_centroid(kernels):
    return np.stack([centroid_px(kernel) for kernel in kernels])


@given(place=places, coc_px=radii)
def test_kernels_are_unit_light_that_scales_with_the_radius(place, coc_px):
    array, bank = lopsided_bank(radius_px=5.0)
    kernels = bank.psf_at(*place)(coc_px)
    for kernel in kernels:
        assert kernel.dtype == np.float64
        assert kernel.shape == kernels[0].shape
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert kernel.min() >= 0.0
        assert kernel.sum() == pytest.approx(1.0, abs=1e-12)
    measured = array[place] / array[place].sum(axis=(1, 2), keepdims=True)
    expected = total_centroid(measured) * coc_px / -5.0
    np.testing.assert_allclose(total_centroid(kernels), expected, atol=1e-9)


@settings(max_examples=40)
@given(place=places, coc_px=radii)
def test_kernels_change_without_jumps(place, coc_px):
    psf, step = lopsided_bank(radius_px=5.0)[1].psf_at(*place), 1e-4
    one, other = psf(coc_px)[0], psf(coc_px + step)[0]
    half = max(one.shape[0], other.shape[0]) // 2
    one, other = (np.pad(k, half - k.shape[0] // 2) for k in (one, other))
    assert np.abs(one - other).sum() < 20.0 * step


@pytest.mark.parametrize("recentre", [False, True])
def test_in_focus_is_the_unit_impulse_and_close_to_it_nearly_so(recentre):
    psf = lopsided_bank(recentre=recentre)[1].psf_at(1, 2)
    for kernel in psf(0.0):
        np.testing.assert_array_equal(kernel, [[1.0]])
    for tiny in (1e-300, 1e-9, -1e-3):
        for kernel in psf(tiny):
            assert kernel[1, 1] >= 1.0 - 3.0 * abs(tiny)


def test_the_measured_radius_gives_the_measured_kernels_but_for_the_gathering():
    """A pixel's even light met by the tent is (1, 6, 1) / 8 in each direction."""
    array, bank = lopsided_bank()
    tap = np.array([1.0, 6.0, 1.0]) / 8.0
    for view, kernel in enumerate(bank.psf_at(0, 1)(bank.coc_px)):
        measured = array[0, 1, view] / array[0, 1, view].sum()
        np.testing.assert_allclose(kernel, convolve2d(measured, np.outer(tap, tap)), atol=1e-15)


@pytest.mark.parametrize("coc_px", [-0.4, -1.0, -2.9, 7.3])
def test_kernels_equal_many_points_each_split_over_four_pixels(coc_px):
    array, bank = lopsided_bank(radius_px=5.0, recentre=True)
    fine = 24
    pair = array[1, 0] / array[1, 0].sum(axis=(1, 2), keepdims=True)
    centre = total_centroid(pair).mean(axis=0)
    axis = (np.arange(15 * fine) + 0.5) / fine - 7.5
    x, y = np.meshgrid((axis - centre[0]) * coc_px / -5.0, (axis - centre[1]) * coc_px / -5.0)
    kernels = bank.psf_at(1, 0)(coc_px)
    half = kernels[0].shape[0] // 2
    for kernel, measured in zip(kernels, pair, strict=True):
        light = np.kron(measured, np.full((fine, fine), 1.0 / fine**2)).ravel()
        expected = np.zeros((2 * half + 3, 2 * half + 3))
        left, top = (np.floor(v.ravel()).astype(int) for v in (x, y))
        for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = np.abs(1 - down - (y.ravel() - top)) * np.abs(1 - across - (x.ravel() - left))
            np.add.at(expected, (top + down + half + 1, left + across + half + 1), share * light)
        np.testing.assert_allclose(kernel, expected[1:-1, 1:-1], atol=4e-3 * expected.max())


@given(place=places, coc_px=st.floats(0.01, 12.0))
def test_the_other_side_of_focus_turns_each_view_about(place, coc_px):
    psf = lopsided_bank()[1].psf_at(*place)
    for near, far in zip(psf(coc_px), psf(-coc_px), strict=True):
        np.testing.assert_allclose(near, far[::-1, ::-1], atol=1e-12)


def test_the_side_they_were_measured_on_decides_the_sign():
    array, far = lopsided_bank(side="far", radius_px=4.0)
    near = load_measured_bank(array, side="near", radius_px=4.0)
    assert (far.coc_px, near.coc_px) == (-4.0, 4.0)
    np.testing.assert_array_equal(far.psf_at(0, 0)(-3.0), near.psf_at(0, 0)(3.0))


@given(place=places, coc_px=radii)
def test_recentring_moves_the_pair_and_not_its_disparity(place, coc_px):
    _, bank = lopsided_bank()
    assert np.abs(total_centroid(bank.psf_at(*place)(bank.coc_px)).mean(axis=0)).min() > 0.5
    before = total_centroid(bank.psf_at(*place)(coc_px))
    after = total_centroid(bank.recentred().psf_at(*place)(coc_px))
    np.testing.assert_allclose(after.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(after[0] - after[1], before[0] - before[1], atol=1e-9)


def test_radius_of_an_even_disc_is_its_radius():
    y, x = np.mgrid[-30:31, -30:31]
    disc = (np.hypot(x, y) <= 20.0).astype(float)
    assert blur_radius_px(disc / disc.sum()) == pytest.approx(20.0, rel=0.01)


def test_a_bank_is_a_field_of_kernels_and_survives_the_way_to_a_worker():
    bank: FieldPsf = lopsided_bank()[1]
    assert bank.grid == (2, 3)
    copy = pickle.loads(pickle.dumps(bank.psf_at(1, 1)))
    np.testing.assert_array_equal(copy(3.3), bank.psf_at(1, 1)(3.3))
    for place in ((2, 0), (0, 3), (-1, 0)):
        with pytest.raises(ValueError, match="outside the bank's 2 x 3"):
            bank.psf_at(*place)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return io.BytesIO(file.getvalue())


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return io.BytesIO(file.getvalue())


def test_files_and_arrays_load_alike():
    array, bank = lopsided_bank()
    for loaded in (
        load_measured_bank(npy(array)),
        load_measured_bank(npz(kernels=array, note=np.array("about them"))),
        load_measured_bank(npz(one=array, two=array + 1.0), key="one"),
        load_measured_bank(3.0 * array),  # any sum
    ):
        np.testing.assert_allclose(loaded.kernels, bank.kernels, atol=1e-15)
        assert loaded.coc_px == pytest.approx(bank.coc_px)


GOOD = np.ones((2, 2, 2, 5, 5))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (GOOD[0], {}, r"rows, columns, 2, k, k.*\(2, 2, 5, 5\)"),
        (np.ones((2, 2, 3, 5, 5)), {}, "left view first"),
        (np.ones((2, 2, 2, 5, 7)), {}, "rows, columns, 2, k, k"),
        (np.ones((2, 2, 2, 4, 4)), {}, "odd side"),
        (np.ones((0, 2, 2, 5, 5)), {}, "odd side"),
        (np.full_like(GOOD, np.nan), {}, "finite and not negative"),
        (-GOOD, {}, "finite and not negative"),
        (GOOD * (np.arange(2) == 0)[:, None, None], {}, r"right kernel at place \(0, 0\)"),
        (GOOD.astype(complex), {}, "real numbers"),
        (GOOD.astype(str), {}, "real numbers"),
        (np.ones((1, 1, 2, 1, 1)), {}, "measure them out of focus"),
        (GOOD, {"side": "left"}, "near or far"),
        (GOOD, {"radius_px": -3.0}, "must be positive"),
        (io.BytesIO(b"no array"), {}, "npy or .npz"),
        (io.BytesIO(b""), {}, "npy or .npz"),
        (io.BytesIO(npz(a=GOOD).getvalue()[:100]), {}, "npy or .npz"),
        (npz(a=GOOD, b=GOOD), {}, "a, b; none is named"),
        (npz(a=GOOD), {"key": "c"}, "'c' is not among them"),
        (npz(a=GOOD[0]), {}, r"holds no array \(rows, columns, 2, k, k\)"),
    ],
)
def test_what_is_no_bank_is_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        load_measured_bank(source, **options)


def test_pixel_4_is_neither_mirrored_nor_centred(reference):
    """What the calibration shows; it tells left from right, near from far, rows from columns."""
    with (reference / "pixel4_psf.npz").open("rb") as file:
        bank = load_measured_bank(file, key=KEY)
    assert isinstance(bank, MeasuredBank)
    assert bank.grid == (6, 8)
    combined = bank.kernels.mean(axis=2)
    radii_px = blur_radius_px(combined)
    assert radii_px.min() == pytest.approx(11.2, abs=0.1)
    assert radii_px.max() == pytest.approx(13.3, abs=0.1)
    assert -bank.coc_px == pytest.approx(radii_px.mean())
    left_x, right_x = centroid_px(bank.kernels)[..., 0].transpose(2, 0, 1)
    assert (left_x < right_x).all()  # far: s < 0
    assert np.abs(left_x + right_x).min() > 0.4  # the mean is off the pixel everywhere
    mirrored = np.abs(bank.kernels[:, :, 0] - bank.kernels[:, :, 1, :, ::-1]).sum(axis=(-2, -1))
    assert mirrored.min() > 0.25
    # A view is the whole disc with a ramp across it: the left view's grows steeper from the left
    # to the right of the field, the right view's the other way.
    disc = combined > 0.15 * combined.max(axis=(2, 3), keepdims=True)
    middle_x = centroid_px(disc / disc.sum(axis=(2, 3), keepdims=True))[..., 0]
    assert (np.diff(left_x - middle_x, axis=1) < 0.0).all()
    assert (np.diff(right_x - middle_x, axis=1) < 0.0).all()
    assert np.abs(left_x - middle_x)[:, 0].max() < 1.3 < 4.0 < (right_x - middle_x)[:, 0].min()
    near = centroid_px(np.stack(bank.psf_at(2, 3)(6.0)))[:, 0]
    assert near[0] > near[1]  # near: s > 0
