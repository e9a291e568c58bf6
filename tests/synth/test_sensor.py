"""The sensor path, each effect against a formula of its own."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from synth.color import linear_to_srgb
from synth.color import srgb_to_linear as numpy_srgb_to_linear
from synth.sensor import (
    Exposure,
    Sensor,
    demosaic,
    draw_shading,
    encode,
    expand_highlights,
    jpeg_levels,
    mosaic,
    read_out,
    shading,
    srgb_to_linear,
    through_jpeg,
)
from synth.sensor.jpeg import _BRIGHTNESS, _COLOUR

PHASES = [(0, 0), (0, 1), (1, 0), (1, 1)]
WAYS = ("bilinear", "malvar")


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("phase", PHASES)
def test_a_mosaic_has_one_red_one_blue_and_two_green_in_each_cell(phase):
    colours = torch.arange(3.0)[:, None, None].expand(3, 6, 8)
    cell = mosaic(colours, phase)[:2, :2]
    assert cell[phase] == 0
    assert cell[1 - phase[0], 1 - phase[1]] == 2
    assert cell[phase[0], 1 - phase[1]] == cell[1 - phase[0], phase[1]] == 1


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("phase", PHASES)
def test_demosaicing_is_exact_on_flat_colours_and_on_slopes(phase, how):
    y, x = torch.meshgrid(torch.arange(17.0), torch.arange(14.0), indexing="ij")
    colours = torch.stack([torch.full_like(x, 0.7), torch.full_like(x, 0.2), 0.4 + 0 * x])
    again = demosaic(mosaic(colours, phase), phase, how)
    if how == "bilinear":
        torch.testing.assert_close(again, colours)
    grey = (0.01 * x + 0.02 * y).expand(3, -1, -1)
    again = demosaic(mosaic(grey, phase), phase, how)
    torch.testing.assert_close(again[:, 2:-2, 2:-2], grey[:, 2:-2, 2:-2])
    flat = torch.full((2, 3, 9, 9), 0.3)
    torch.testing.assert_close(demosaic(mosaic(flat, phase), phase, how), flat)


def test_malvar_is_nearer_than_bilinear_where_colours_share_their_texture():
    texture = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(texture, 3, 1)
    picture = smooth * torch.tensor([0.9, 1.0, 0.8])[:, None, None]
    errors = [
        float((demosaic(mosaic(picture, (0, 0)), (0, 0), how) - picture)[:, 2:-2, 2:-2].std())
        for how in WAYS
    ]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("level", [0.02, 0.3, 0.8])
def test_noise_has_the_variance_of_photons_and_of_reading(level):
    light = torch.full((2, 3, 300, 300), level)
    sensor = Sensor(balance=(2.0, 1.5))
    seen = read_out(light, sensor, Exposure(shot_noise=0.05, read_noise=0.01), rng())
    for colour, balance in enumerate((2.0, 1.0, 1.5)):
        variance = balance**2 * (0.05**2 * level / balance + 0.01**2)
        assert float(seen[:, colour].var()) == pytest.approx(variance, rel=0.03)
        assert float(seen[:, colour].mean()) == pytest.approx(level, abs=1e-3)


def test_demosaicing_makes_noise_alike_in_neighbours():
    light = torch.full((1, 3, 200, 200), 0.4)
    exposure = Exposure(shot_noise=0.05)

    def correlation(demosaicing):
        noise = read_out(light, Sensor(demosaicing=demosaicing), exposure, rng())[0, 0] - 0.4
        return float((noise[:, 1:] * noise[:, :-1]).mean() / noise.var())

    assert abs(correlation("none")) < 0.02
    assert correlation("bilinear") > 0.3


def test_white_clips_and_brightness_scales():
    light = torch.tensor([0.2, 0.9, 3.0]).reshape(1, 1, 1, 3).expand(1, 3, 4, 3)
    seen = read_out(light, Sensor(), Exposure(brightness=1.5), rng())[0, 1, 0]
    torch.testing.assert_close(seen, torch.tensor([0.3, 1.0, 1.0]))


def test_curves_are_srgb_and_contrast_keeps_black_grey_and_white():
    linear = torch.linspace(0.0, 1.0, 2001)[None]
    np.testing.assert_allclose(
        encode(linear, torch.zeros(1)), linear_to_srgb(linear.numpy()), atol=2e-6
    )
    np.testing.assert_allclose(
        srgb_to_linear(linear), numpy_srgb_to_linear(linear.numpy()), atol=1e-6
    )
    bent = encode(linear, torch.tensor([0.5]))[0]
    plain = encode(linear, torch.zeros(1))[0]
    torch.testing.assert_close(bent, plain + 0.5 * (3 * plain**2 - 2 * plain**3 - plain))
    assert bool((bent.diff() > 0).all())
    assert float(bent[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(bent[-1]) == pytest.approx(1.0, abs=1e-6)


def test_highlights_grow_and_nothing_else_does():
    srgb = torch.tensor([0.1, 0.89, 1.0]).reshape(1, 1, 1, 3).expand(2, 3, 2, 3)
    linear = srgb_to_linear(srgb)
    grown = expand_highlights(srgb, linear, torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(grown[0], linear[0])
    torch.testing.assert_close(grown[1, ..., :2], linear[1, ..., :2])
    torch.testing.assert_close(grown[1, ..., 2], torch.full((3, 2), 5.0))
    red = srgb.clone()
    red[:, 1:] = 0.5  # one colour at white is no light above white
    torch.testing.assert_close(
        expand_highlights(red, srgb_to_linear(red), torch.tensor([5.0, 5.0])), srgb_to_linear(red)
    )


def test_shading_is_smooth_opposite_in_the_views_and_as_strong_as_asked():
    y, x = torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 61)
    for seed in range(5):
        coefficients = draw_shading(np.random.default_rng(seed), 0.03)
        left, right = shading(coefficients, y, x)
        torch.testing.assert_close(left + right, torch.full((41, 61), 2.0))
        excess = left - right
        assert float(excess.abs().max()) == pytest.approx(0.03, rel=0.05)
        assert float(excess.diff(dim=1).diff(dim=1).abs().max()) < 1e-3
        assert excess.diff(dim=1).abs().mean() > excess.diff(dim=0).abs().mean() * 41 / 61 * 0.5


def test_jpeg_is_that_of_pillow_and_goes_with_its_quality():
    y, x = np.mgrid[:64, :80]
    picture = np.stack([x * 3, y * 3, 128 + 90 * np.sin(x / 3) * np.sin(y / 2)], -1).astype(
        np.uint8
    )
    errors = []
    for quality in (30, 60, 90, 98):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=2)
        again = through_jpeg(picture, quality)
        np.testing.assert_array_equal(again, np.asarray(Image.open(file)))
        errors.append(np.abs(again.astype(float) - picture).mean())
    assert errors == sorted(errors, reverse=True)
    with pytest.raises(ValueError, match="quality must be from 1 to 100"):
        through_jpeg(picture, 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sensor(balance=(0.5, 1.0)), "balance must be 1 or more"),
        (lambda: Sensor(contrast=2.0), "contrast must lie in"),
        (lambda: Exposure(brightness=0.0), "brightness must be positive"),
        (lambda: Exposure(shot_noise=-0.1), "shot_noise and read_noise must be 0 or more"),
        (lambda: Exposure(jpeg_quality=101), "jpeg_quality must be from 1 to 100"),
        (lambda: demosaic(torch.zeros(4, 4), (0, 0), "none"), "unknown demosaicing 'none'"),
    ],
)
def test_impossible_sensors(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_tables_of_jpeg_are_those_of_libjpeg_at_half_quality():
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=50)
    theirs = Image.open(file).quantization  # type: ignore[attr-defined]
    assert theirs == {0: [*_BRIGHTNESS], 1: [*_COLOUR]}


def test_jpeg_in_torch_is_that_of_a_coder():
    """Smooth pictures with edges, any size and quality: what Pillow decodes, within rounding."""
    rng = np.random.default_rng(5)
    pictures, qualities = [], [30, 85, 92, 98]
    for _ in qualities:
        coarse = torch.from_numpy(rng.random((1, 3, 5, 6))).float() * 255
        picture = functional.interpolate(coarse, (37, 50), mode="bicubic").clamp(0, 255)[0]
        picture[:, 10:20, 8:30] = torch.from_numpy(rng.random((3, 1, 1))).float() * 255
        pictures.append(picture.round())
    found = jpeg_levels(torch.stack(pictures), qualities)
    for picture, quality, ours in zip(pictures, qualities, found, strict=True):
        stored = picture.permute(1, 2, 0).to(torch.uint8).numpy()
        theirs = through_jpeg(stored, quality).astype(float)
        lost = np.sqrt(np.mean((theirs - stored) ** 2))
        apart = np.sqrt(np.mean((ours.permute(1, 2, 0).numpy() - theirs) ** 2))
        assert apart < max(0.25 * lost, 0.6), quality
    alone = jpeg_levels(pictures[1][None], qualities[1:2])
    assert torch.equal(alone[0], found[1])
    with pytest.raises(ValueError, match="quality from 1 to 100"):
        jpeg_levels(torch.stack(pictures), [0, 1, 2, 3])


def test_noise_of_torch_has_the_same_spread():
    light = torch.full((1, 3, 64, 64), 0.25)
    exposure = Exposure(shot_noise=0.04, read_noise=0.01)
    rng = torch.Generator().manual_seed(3)
    seen = read_out(light, Sensor(), exposure, rng)
    expected = math.sqrt(0.04**2 * 0.25 + 0.01**2)
    assert float(seen.std()) == pytest.approx(expected, rel=0.03)
    assert float(seen.mean()) == pytest.approx(0.25, abs=1e-3)
    again = read_out(light, Sensor(), exposure, torch.Generator().manual_seed(3))
    assert torch.equal(seen, again)
