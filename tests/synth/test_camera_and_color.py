"""The thin lens against its ray geometry, and sRGB against its standard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth import Camera, linear_to_srgb, quantize, srgb_to_linear

cameras = st.builds(
    Camera,
    focal_length_mm=st.floats(4.0, 200.0),
    f_number=st.floats(1.0, 22.0),
    focus_distance_m=st.floats(0.3, 50.0),
    pixel_pitch_um=st.floats(1.0, 200.0),
)


@given(camera=cameras, depth_m=st.floats(0.25, 1000.0))
def test_coc_is_the_thin_lens(camera, depth_m):
    """Image distances by 1/f = 1/z + 1/v; similar triangles behind the aperture."""
    focal, focus, depth = camera.focal_length_mm, camera.focus_distance_m * 1e3, depth_m * 1e3
    sensor = 1.0 / (1.0 / focal - 1.0 / focus)
    image = 1.0 / (1.0 / focal - 1.0 / depth)
    diameter_mm = focal / camera.f_number * (image - sensor) / image
    expected = 0.5 * diameter_mm / (camera.pixel_pitch_um * 1e-3)
    result = camera.coc_px(np.array([depth_m]))
    assert result.dtype == np.float32
    assert result[0] == pytest.approx(expected, rel=1e-5, abs=1e-4)


@given(camera=cameras)
def test_near_is_positive_far_negative_and_focus_zero(camera):
    focus_m = camera.focus_distance_m
    near, focus, far = camera.coc_px(np.array([0.8 * focus_m, focus_m, 1.3 * focus_m]))
    assert near > 0.0 > far
    assert focus == pytest.approx(0.0, abs=1e-5)
    assert camera.coc_px(np.array([1e9]))[0] == pytest.approx(-camera.coc_scale_px, rel=1e-4)


def test_coc_is_clipped_where_asked():
    camera = Camera(focal_length_mm=50.0, f_number=1.4, focus_distance_m=1.0, pixel_pitch_um=20.0)
    clipped = camera.coc_px(np.array([[0.3, 1.0, 100.0]]), max_coc_px=3.0)
    np.testing.assert_allclose(clipped, [[3.0, 0.0, -3.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f_number": 0.0}, "f_number"),
        ({"pixel_pitch_um": float("nan")}, "pixel_pitch_um"),
        ({"focus_distance_m": 0.04}, "inside the focal length"),
    ],
)
def test_impossible_cameras_are_refused(change, message):
    values = {
        "focal_length_mm": 50.0,
        "f_number": 2.0,
        "focus_distance_m": 1.0,
        "pixel_pitch_um": 6.0,
    }
    with pytest.raises(ValueError, match=message):
        Camera(**{**values, **change})


@pytest.mark.parametrize("depth", [0.0, -1.0, np.nan, np.inf])
def test_impossible_depth_is_refused(depth):
    camera = Camera(focal_length_mm=50.0, f_number=2.0, focus_distance_m=1.0, pixel_pitch_um=6.0)
    with pytest.raises(ValueError, match="depth_m"):
        camera.coc_px(np.array([1.0, depth]))


def test_srgb_meets_the_standard():
    np.testing.assert_allclose(
        srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0])),
        [0.0, 0.0031308, 0.21404114, 1.0],
        atol=1e-7,
    )
    np.testing.assert_allclose(linear_to_srgb(np.array([0.18])), [0.46135613], atol=1e-6)


@pytest.mark.parametrize(("bit_depth", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_every_level_survives_the_way_there_and_back(bit_depth, dtype):
    levels = np.arange(2**bit_depth, dtype=dtype)
    srgb = (levels / np.float32(2**bit_depth - 1)).astype(np.float32)
    result = quantize(linear_to_srgb(srgb_to_linear(srgb)), bit_depth)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, levels)


def test_quantize_rounds_and_clips_and_knows_its_depths():
    np.testing.assert_array_equal(quantize(np.array([-0.1, 0.4999, 1.7]), 8), [0, 127, 255])
    with pytest.raises(ValueError, match="bit_depth"):
        quantize(np.zeros(3), 12)
