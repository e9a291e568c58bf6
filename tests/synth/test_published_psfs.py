"""The published kernels against the arrays that the published generators made."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d

from synth.psf import (
    PSF_FAMILIES,
    published_butterworth,
    published_integral_window,
    published_translating_disk,
)
from synth.psf.published import disk_coverage


def centroid_x(kernel):
    half = kernel.shape[1] // 2
    return float((kernel.sum(axis=0) * np.arange(-half, half + 1)).sum() / kernel.sum())


def butterworth_settings(name):
    radius, order, cutoff, beta, strength = (float(part[1:]) for part in name.split("_"))
    return int(radius), (int(order), cutoff, beta, strength)


def test_butterworth_meets_every_reference_array(reference):
    arrays = np.load(reference / "rdpd_kernels.npz")
    names = sorted(name[:-2] for name in arrays.files if name.endswith("_c"))
    assert len(names) == len(arrays.files) / 3 == 78
    for name in names:
        radius, settings = butterworth_settings(name)
        stored_left, stored_right, stored_combined = (arrays[f"{name}_{v}"] for v in "lrc")
        near = published_butterworth(radius, *settings)
        for kernel, stored in zip(near, (stored_left, stored_right, stored_combined), strict=True):
            np.testing.assert_allclose(kernel, stored, rtol=0, atol=1e-12)
        # Far, the generator correlates with the stored left kernel: convolution with it turned.
        far = published_butterworth(-radius, *settings)
        turned = (stored_left[::-1, ::-1], stored_right[::-1, ::-1], stored_combined)
        for kernel, stored in zip(far, turned, strict=True):
            np.testing.assert_allclose(kernel, stored, rtol=0, atol=1e-12)


@given(
    size=st.integers(-40, 40),
    order=st.sampled_from([1, 3, 6, 9]),
    cutoff=st.floats(1.0, 2.5),
    beta=st.floats(0.1, 0.4),
    smoothing=st.sampled_from([3, 7, 10]),
)
def test_butterworth_views_are_the_combined_kernel_times_a_ramp(
    size, order, cutoff, beta, smoothing
):
    left, right, combined = published_butterworth(size, order, cutoff, beta, smoothing)
    half = left.shape[1] // 2
    ramp = (1.0 if size > 0 else -1.0) * np.arange(-half, half + 1) / half
    np.testing.assert_allclose(left, combined * (1.0 + ramp), atol=1e-15)
    np.testing.assert_allclose(0.5 * (left + right), combined, atol=1e-15)
    assert combined.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(right, left[:, ::-1])
    assert not any(kernel.flags.writeable for kernel in (left, right, combined)), "they are shared"


def test_butterworth_in_focus_is_blurred_as_published():
    for zero, one in zip(
        published_butterworth(0, 3, 2.5, 0.1), published_butterworth(-1, 3, 2.5, 0.1), strict=True
    ):
        np.testing.assert_array_equal(zero, one)
        assert zero.shape == (3, 3)


def test_corrected_butterworth_shifts_as_the_published_one_at_large_radii():
    published = published_butterworth(20, 3, 2.5, 0.1)[0]
    corrected = PSF_FAMILIES["butterworth"](20.0)[0]
    assert centroid_x(corrected) == pytest.approx(centroid_x(published), rel=0.03)


def translating_disk_radius(name):
    if name.startswith("octave_k_"):
        sign = {"p": 1.0, "m": -1.0}[name[9]]
        return sign * float(name[10:])
    return float(name.split("_")[1][1:])


def test_translating_disk_meets_every_reference_array(reference):
    arrays = np.load(reference / "translating_disk.npz")
    disks = [name for name in arrays.files if name.startswith("octave_disk_")]
    kernels = [name for name in arrays.files if name not in disks]
    assert (len(disks), len(kernels)) == (7, 21)
    for name in disks:
        radius = float(name.split("_")[2])
        half = arrays[name].shape[0] // 2
        np.testing.assert_allclose(disk_coverage(radius, half), arrays[name], rtol=0, atol=1e-15)
    for name in kernels:
        left, right = published_translating_disk(translating_disk_radius(name), side=41)
        np.testing.assert_allclose(left, arrays[name], rtol=0, atol=1e-15)
        np.testing.assert_allclose(right, np.fliplr(arrays[name]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("radius", [0.3, 0.8, 2.0, 4.6])
def test_disk_coverage_is_the_covered_area(radius):
    """Against counting points; sub-pixel radii are among them, which whole ones cannot check."""
    half, fine = int(np.ceil(radius - 0.5)), 400
    axis = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    inside = (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).astype(float)
    counted = inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).sum(axis=(1, 3))
    np.testing.assert_allclose(
        disk_coverage(radius, half), counted / counted.sum(), atol=2e-3 / (1.0 + radius)
    )


def test_translating_disk_is_the_sum_of_shifted_discs():
    disk = disk_coverage(3.3, 3)
    total = np.zeros_like(disk)
    for shift in range(8):
        moved = np.zeros_like(disk)
        moved[:, shift:] = disk[:, : disk.shape[1] - shift]
        total += disk * moved
    left, right = published_translating_disk(3.3)
    np.testing.assert_allclose(left, 0.5 * total / total.sum(), atol=1e-15)
    far_left, far_right = published_translating_disk(-3.3)
    np.testing.assert_array_equal(far_left, right)
    np.testing.assert_array_equal(far_right, left)


@pytest.mark.parametrize("radius", [10.0, 25.0])
def test_corrected_translating_disk_is_the_published_one_at_large_radii(radius):
    published = 2.0 * published_translating_disk(radius)[0]
    corrected = PSF_FAMILIES["translating_disk"](radius)[0]
    pad = corrected.shape[0] // 2 - published.shape[0] // 2
    difference = np.abs(corrected - np.pad(published, pad)).sum()
    assert difference < 1.0 / radius
    # The sum over whole pixels counts the pixel itself in full, an integral half of it.
    assert centroid_x(corrected) == pytest.approx(centroid_x(published), rel=0.6 / radius)


def test_integral_window_makes_the_published_views_of_an_even_disparity(reference):
    """const7 and const3 have one disparity all over: scattering is convolution, but for borders."""
    arrays = np.load(reference / "ddd_integral_image.npz")
    for name, side in (("const3_impulse", 3), ("const7_checker", 7)):
        picture = arrays[f"{name}_rgb"][..., 1] / 255.0
        for kernel, view in zip(published_integral_window(side), ("left", "right"), strict=True):
            stored = arrays[f"{name}_ref_{view}_nofill"][..., 1]
            result = convolve2d(picture, kernel, mode="same")
            inside = np.s_[side:-side, side:-side]
            np.testing.assert_allclose(result[inside], stored[inside], rtol=0, atol=1e-6)


def test_integral_window_lies_below_and_to_one_side():
    left, right = published_integral_window(3)
    np.testing.assert_array_equal(left[2:, 2:], np.full((3, 3), 1 / 9))
    assert left.sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(right, left[:, ::-1])
    np.testing.assert_array_equal(published_integral_window(1)[0], [[1.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: published_butterworth(1.5, 3, 2.5, 0.1), "whole number"),
        (lambda: published_butterworth(2, 0, 2.5, 0.1), "order must be at least 1"),
        (lambda: published_butterworth(2, 3, 2.5, 0.1, 0.5), "smoothing at least 1"),
        (lambda: published_translating_disk(float("nan")), "finite"),
        (lambda: published_translating_disk(3.0, side=5), "at least 7"),
        (lambda: published_translating_disk(3.0, side=8), "odd"),
        (lambda: published_integral_window(0), "at least 1"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
