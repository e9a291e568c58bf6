"""The thin lens against its ray geometry, the published cameras, and sRGB against its standard."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth import Camera, LensRanges, generator, linear_to_srgb, quantize, srgb_to_linear
from synth.camera import CameraRanges
from synth.published_cameras import (
    DDD_SYN_CAMERAS,
    PUBLISHED_CAMERAS,
    RDPD_CAMERAS,
    window_of,
)

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


@given(
    seed=st.integers(0, 2**32),
    near_m=st.floats(0.3, 5.0),
    factor=st.floats(1.0, 40.0),
    least_px=st.floats(0.5, 10.0),
)
def test_drawn_cameras_blur_the_scene_as_asked(seed, near_m, factor, least_px):
    depth_m = np.linspace(near_m, near_m * factor, 200).reshape(10, 20)
    ranges = CameraRanges(extreme_coc_px=(least_px, 12.0), f_number=(2.0, 11.0))
    camera = ranges.sample(np.random.default_rng(seed), depth_m)
    again = ranges.sample(np.random.default_rng(seed), depth_m)
    assert camera == again
    assert 2.0 <= camera.f_number <= 11.0
    assert camera.pixel_pitch_um == pytest.approx(36e3 / 20)
    extreme_px = np.abs(camera.coc_px(np.quantile(depth_m, [0.01, 0.99]))).max()
    assert least_px * 0.999 <= extreme_px <= 12.012
    if factor > 1.5:
        assert near_m <= camera.focus_distance_m <= near_m * factor


def test_drawn_cameras_focus_where_asked():
    """A scene from 1 to 4 m: the middle of its range of blur is where 1 / z is half way, 1.6 m."""
    depth_m = np.linspace(1.0, 4.0, 10000).reshape(100, 100)
    rng = np.random.default_rng(0)
    ranges = CameraRanges(focus_places=((0.5, 0.5, 1.0),))
    assert ranges.sample(rng, depth_m).focus_distance_m == pytest.approx(1.6, rel=0.03)
    focus_m = [CameraRanges().sample(rng, depth_m).focus_distance_m for _ in range(400)]
    assert np.mean(np.array(focus_m) < 1.159) == pytest.approx(0.6, abs=0.08)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"extreme_coc_px": (0.0, 3.0)}, "extreme_coc_px"),
        ({"f_number": (8.0, 2.0)}, "f_number"),
        ({"sensor_width_mm": 0.0}, "sensor_width_mm"),
        ({"focus_places": ((0.0, 1.0, 0.5),)}, "sum to 1"),
        ({"focus_places": ((0.5, 1.5, 1.0),)}, r"\[0, 1\]"),
    ],
)
def test_impossible_ranges_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        CameraRanges(**values)


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
    with pytest.raises(ValueError, match="bit_depth must be 8 or 16, got "):
        quantize(np.zeros(3), 12)


@pytest.mark.parametrize("name", sorted(RDPD_CAMERAS))
def test_rdpd_layers_are_the_published_tables(name, reference):
    table = json.loads((reference / "rdpd_coc_layer_tables.json").read_text())[name]
    camera = RDPD_CAMERAS[name]
    assert camera.focal_length == table["focal_len"]
    assert camera.coc_scale_px == pytest.approx(table["coc_scale"], rel=1e-12)
    # The published sizes are positive beyond the focus, ours before it.
    assert [[-layer.coc_px, layer.near_m, layer.far_m] for layer in camera.layers()] == table[
        "layers"
    ]


@pytest.mark.parametrize("name", sorted(RDPD_CAMERAS))
def test_rdpd_radii_are_those_of_the_layer_that_holds_the_depth(name):
    camera = RDPD_CAMERAS[name]
    layers = camera.layers()
    assert layers[0].coc_px == 40
    assert all(nearer.coc_px > farther.coc_px for nearer, farther in pairwise(layers))
    assert all(nearer.far_m == farther.near_m for nearer, farther in pairwise(layers))
    for layer in layers:
        inside_m = np.array([layer.near_m, 0.5 * (layer.near_m + layer.far_m)])
        last_m = np.nextafter(layer.far_m, 0.0)
        np.testing.assert_array_equal(camera.coc_px(np.append(inside_m, last_m)), layer.coc_px)
    assert camera.coc_px(np.array([1e4]))[0] == layers[-1].coc_px
    clipped = camera.coc_px(np.array([0.0, 1e4]), max_coc_px=np.float64(2.0))
    np.testing.assert_array_equal(clipped, np.float32([2, -2]), strict=True)
    assert camera.coc_px(np.array(1e4)) == layers[-1].coc_px


def test_rdpd_radii_are_the_rounded_nominal_formula():
    """Away from the bins' borders the table is the paper's formula at the depth itself."""
    camera = RDPD_CAMERAS["set_2"]
    depth_m = np.linspace(30.0, 240.0, 500)
    size = (9.8 * (depth_m - 8.0)) / depth_m
    clear = np.abs(size - np.rint(size)) < 0.45
    np.testing.assert_array_equal(camera.coc_px(depth_m)[clear], -np.rint(size[clear]))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *((f"idx{index}", f"train{index}") for index in range(5)),
        ("testing", "test0"),
        ("testing1", "test1"),
        ("demo", "demo0"),
    ],
)
def test_ddd_syn_disparities_are_the_published_curves(name, key, reference):
    curves = np.load(reference / "ddd_disparity_curves.npz")
    camera, depth_m = DDD_SYN_CAMERAS[name], curves[f"{key}_depth"]
    disparity_px = camera.disparity_px(depth_m)
    np.testing.assert_allclose(disparity_px, curves[f"{key}_disp"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(camera.coc_px(depth_m), disparity_px, rtol=1e-6)
    np.testing.assert_allclose(camera.coc_px(depth_m, max_coc_px=2.0).max(), 2.0)


def test_ddd_syn_focus_lies_behind_the_farthest_point_of_each_picture():
    camera = DDD_SYN_CAMERAS["idx3"]
    depth_m = np.array([[0.8, 2.0], [5.0, 9.0]])
    whole, cropped = camera.disparity_px(depth_m), camera.disparity_px(depth_m[:1])
    assert (whole > 0.0).all()
    assert (np.diff(whole.ravel()) < 0.0).all()
    assert cropped[0, 1] == pytest.approx(whole[1, 1], rel=0.02)  # farthest: nearly the same
    assert cropped[0, 0] < whole[0, 0]
    np.testing.assert_array_equal(window_of(np.array([0.2, 1.0, 1.99, 7.0])), [1, 1, 1, 7])
    np.testing.assert_array_equal(camera.window_px(depth_m), window_of(whole))


def test_ddd_syn_crops_as_counted_from_one_with_both_ends():
    rows, columns = DDD_SYN_CAMERAS["idx0"].crop(480, 640)
    kept = np.arange(1, 481)[rows], np.arange(1, 641)[columns]
    assert [(int(k[0]), int(k[-1])) for k in kept] == [(15, 465), (15, 625)]


def test_published_cameras_have_one_name_each_and_refuse_impossible_depth():
    assert len(PUBLISHED_CAMERAS) == 13
    for name, camera in PUBLISHED_CAMERAS.items():
        assert name.endswith(f"/{camera.name}")
        with pytest.raises(ValueError, match="depth_m"):
            camera.coc_px(np.array([2.0, np.nan]))
        with pytest.raises(ValueError, match="depth_m"):
            camera.coc_px(np.array([2.0, -1.0]))


@given(seed=st.integers(0, 999))
def test_lenses_are_drawn_from_their_ranges(seed):
    depth_m = np.linspace(1.0, 20.0, 400).reshape(20, 20)
    ranges = LensRanges(
        focal_length_mm=(24.0, 85.0), f_number=(2.0, 2.0), focus_distance_m=(0.8, 3.0)
    )
    camera = ranges.sample(generator(seed, "lens"), depth_m)
    assert 24.0 <= camera.focal_length_mm <= 85.0
    assert camera.f_number == 2.0
    assert 0.8 - 1e-9 <= camera.focus_distance_m <= 3.0 + 1e-9
    assert camera.pixel_pitch_um == pytest.approx(36e3 / 20)
    within = LensRanges(focal_length_mm=(50.0, 50.0)).sample(generator(seed, "lens"), depth_m)
    assert 1.0 <= within.focus_distance_m <= 20.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"focal_length_mm": (50.0, 24.0)}, "focal_length_mm must be 0 < low"),
        ({"focal_length_mm": (50.0, 50.0), "f_number": (0.0, 2.0)}, "f_number must be"),
        ({"focal_length_mm": (50.0, 50.0), "sensor_width_mm": 0.0}, "sensor_width_mm"),
        ({"focal_length_mm": (50.0, 50.0), "max_coc_px": -1.0}, "max_coc_px"),
    ],
)
def test_lenses_that_cannot_be_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        LensRanges(**keys)


def test_a_lens_cannot_be_focused_within_its_focal_length():
    ranges = LensRanges(focal_length_mm=(50.0, 50.0), focus_distance_m=(0.04, 0.04))
    with pytest.raises(ValueError, match="lies inside the focal length"):
        ranges.sample(generator(0, ""), np.ones((4, 4)))
