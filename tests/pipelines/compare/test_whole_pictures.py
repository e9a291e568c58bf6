"""What is told of whole pictures: noise, sharpness, light of the views, texture, colour."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipelines.compare.appearance import appearance
from pipelines.compare.blur import SIDE_PX
from pipelines.compare.light import luminance, to_light, to_srgb
from pipelines.compare.noise import BRIGHTNESS, noise
from pipelines.compare.patches import bin_factor, binned, textured
from pipelines.compare.sharpness import detail, edge_width_px
from pipelines.compare.views import shading, view_ratio
from synth.color import linear_to_srgb, quantize
from tests.pipelines.compare.pictures import texture

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("bits", [8, 16])
def test_light_is_what_synth_encoded(bits: int) -> None:
    light = RNG.uniform(0.0, 1.0, (20, 30, 3)).astype(np.float32)
    stored = quantize(linear_to_srgb(light), bits)
    assert to_light(stored) == pytest.approx(light, abs=0.006 if bits == 8 else 3e-5)
    assert to_srgb(stored).max() <= 1.0
    assert luminance(np.ones((2, 2, 3), np.float32)) == pytest.approx(1.0)


@pytest.mark.parametrize(("shot", "read"), [(0.012, 0.002), (0.03, 0.0), (0.0, 0.01)])
def test_noise_by_brightness_is_recovered(shot: float, read: float) -> None:
    """Half of the picture is texture, the other a slope from black to white."""
    height, width = 384, 512
    light = np.tile(np.linspace(0.004, 0.97, width) ** 2, (height, 1))
    light[height // 2 :] = texture(height // 2, width) * light[height // 2 :] * 2.0
    deviation = np.sqrt(shot**2 * light + read**2)
    noisy = (light + deviation * RNG.standard_normal(light.shape)).astype(np.float32)
    for found, (low, high) in zip(noise(noisy), BRIGHTNESS, strict=True):
        least, most = (math.sqrt(shot**2 * level + read**2) for level in (low, high))
        assert 0.9 * least < found < 1.15 * most


def test_noise_is_not_told_of_places_that_are_not_there() -> None:
    dark = (0.1 + 0.01 * RNG.standard_normal((128, 128))).astype(np.float32)
    found = noise(dark)
    assert found[1] == pytest.approx(0.01, rel=0.1)
    assert [math.isnan(value) for value in found] == [True, False, True, True]


@pytest.mark.parametrize("sigma", [1.3, 3.0])
def test_the_width_of_an_edge_is_that_of_its_blur(sigma: float) -> None:
    step = np.zeros((60, 200))
    step[:, 100:] = 0.8
    light = gaussian_filter(step, (0.0, sigma)).astype(np.float32)
    assert edge_width_px(light) == pytest.approx(2.563 * sigma, rel=0.08)
    assert edge_width_px(step.astype(np.float32)) == pytest.approx(0.8)
    assert math.isnan(edge_width_px(light.T.copy()))  # lying edges are not upright ones


def test_detail_is_one_for_noise_and_less_for_what_is_smooth() -> None:
    white = RNG.standard_normal((200, 200)).astype(np.float32)
    assert detail(white) == pytest.approx(1.0, abs=0.03)
    assert detail(gaussian_filter(white, 4.0)) == pytest.approx(0.25, abs=0.02)


def test_gain_and_shading_of_the_views_are_recovered() -> None:
    light = 0.7 * texture(240, 400)
    slope = 1.0 + 0.02 * (np.arange(400) / 400.0 - 0.5)
    parallax = np.roll(light, 3, 1)  # in a third of the picture
    left = np.where(np.arange(400) < 130, parallax, light) * slope * 1.01
    assert view_ratio(left, light) == pytest.approx(1.0, abs=0.15)
    assert shading(left, light) == pytest.approx(2.0, abs=0.4)
    assert shading(light, left) == pytest.approx(-2.0, abs=0.4)


def test_patches_have_texture_lie_inside_and_do_not_overlap_in_their_middles() -> None:
    light = np.full((240, 400), 0.4, np.float32)
    light[:, 200:] = texture(240, 200)
    corners = textured(light, light, light)
    assert len(corners) >= 10
    assert corners[:, 1].min() >= 200 - SIDE_PX // 2
    assert (corners.min(0) >= 0).all() and (corners.max(0) + SIDE_PX <= light.shape).all()
    apart = np.abs(corners[:, None] - corners[None]).max(2) + 1000 * np.eye(len(corners))
    assert apart.min() >= SIDE_PX // 2
    bright = light.copy()
    bright[:, 200:] = 1.0
    assert not len(textured(light, bright, light)), "a clipped view tells nothing"
    assert not len(textured(light[:60], light[:60], light[:60])), "too small for a patch"


def test_wide_pictures_are_averaged_down() -> None:
    assert [bin_factor(width) for width in (840, 1200, 1201, 3000)] == [1, 1, 2, 3]
    picture = np.arange(7 * 9, dtype=np.float32).reshape(7, 9)
    assert binned(picture, 2).shape == (3, 4)
    assert binned(picture, 2)[1, 2] == picture[2:4, 4:6].mean()


def test_colour_and_gradients_of_a_picture_by_hand() -> None:
    srgb = np.zeros((40, 40, 3), np.float32)
    srgb[..., 0], srgb[..., 1], srgb[..., 2] = 0.8, 0.4, 0.2
    light = np.full_like(srgb, 0.1)
    light[..., 0] = 0.4
    found = appearance(srgb, light)
    assert found["saturation"] == pytest.approx(0.75)
    assert found["red_over_blue"] == pytest.approx(2.0)
    assert found["brightness"] == pytest.approx(1.4 / 3)
    assert found["gradient"] == 0.0 and math.isnan(found["gradient_tail"])
    normal = RNG.standard_normal((200, 200, 1)).repeat(3, 2).astype(np.float32)
    assert appearance(normal, light)["gradient_tail"] == pytest.approx(math.log10(3.0), abs=0.02)
