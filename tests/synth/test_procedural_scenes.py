"""Scenes made by formula: reproducible, in range, rich in depth and detail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth import CameraRanges, generator, srgb_to_linear
from synth.render import render_gather, render_layered
from synth.sources import procedural
from synth.sources.patterns import PATTERNS, resize
from synth.sources.procedural import flatten, procedural_scene, procedural_surfaces
from synth.sources.shapes import SHAPES, fence, matte, pixel_grid, polygon
from synth.sources.textures import crop_texture, skimage_textures
from tests.synth.rays import over_the_picture, points_of, psf_of_points, trace_rays, whole_layers


def photograph(seed=0, size=(90, 120)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    seed=st.integers(0, 2**32),
    textured=st.booleans(),
)
def test_scenes_are_lawful_at_any_size(height, width, seed, textured):
    textures = [photograph()] if textured else None
    scene = procedural_scene(
        generator(seed, "s"), scene_id="s", size=(height, width), textures=textures
    )
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.float32
    assert scene.image.min() >= 0.0
    assert scene.image.max() <= 1.0
    assert scene.depth_m.dtype == np.float32
    assert scene.depth_m.min() > 0.05
    assert scene.depth_m.max() < 61.0


def test_same_stream_same_scene():
    one, other = (
        procedural_scene(generator(3, "x"), scene_id="x", size=(64, 80), textures=[photograph()])
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.depth_m, other.depth_m)


def test_surfaces_come_back_to_front_and_make_up_the_scene():
    surfaces = list(procedural_surfaces(generator(2, "s"), size=(64, 80)))
    scene = procedural_scene(generator(2, "s"), scene_id="s", size=(64, 80))
    np.testing.assert_array_equal(flatten(surfaces, scene_id="s").image, scene.image)
    assert surfaces[0].matte.shape == (64, 80)
    assert surfaces[0].matte.min() == 1.0
    light = np.zeros((64, 80, 3))
    depth_m = np.full((64, 80), np.inf)
    for surface in surfaces:
        matte = over_the_picture(surface.matte, surface, (64, 80))
        assert 0.0 <= matte.min() <= matte.max() <= 1.0
        own_depth = over_the_picture(surface.depth_m, surface, (64, 80), mode="edge")
        assert (own_depth < depth_m + 1e-6)[matte > 0.5].all(), "a surface before a nearer one"
        depth_m = np.where(matte >= 0.5, own_depth, depth_m)
        light += matte[..., None] * (over_the_picture(surface.light, surface, (64, 80)) - light)
    np.testing.assert_allclose(srgb_to_linear(scene.image), np.clip(light, 0, 1), atol=2e-3)
    np.testing.assert_array_equal(scene.depth_m, depth_m)


@pytest.mark.slow
def test_layered_renders_of_scenes_are_nearer_to_the_truth_than_gathered_ones():
    """Rays through the exact surfaces, what they hide included, which no renderer is told."""
    points, inner = points_of("butterworth"), np.s_[6:-6, 6:-6]
    psf = psf_of_points(points)
    errors = []
    for seed in range(6):
        surfaces = list(procedural_surfaces(generator(seed, "truth"), size=(48, 64)))
        scene = flatten(surfaces, scene_id="s")
        cameras = CameraRanges(extreme_coc_px=(3.0, 5.0))
        camera = cameras.sample(generator(seed, "camera"), scene.depth_m)
        truth = trace_rays(points, 1, whole_layers(surfaces, camera))[inner]
        image, coc = srgb_to_linear(scene.image), camera.coc_px(scene.depth_m)
        errors.append(
            [
                np.sqrt(np.mean((render(image, coc, psf)[0][inner] - truth) ** 2))
                for render in (render_layered, render_gather)
            ]
        )
    layered, gathered = np.mean(errors, axis=0)
    assert layered < 0.02
    assert layered < 0.6 * gathered


def test_scenes_are_rich():
    """Over a few scenes: wide depth ranges, depth edges, slopes, and detail at the pixel."""
    ranges, edges, slopes, detail = [], [], [], []
    for number in range(12):
        scene = procedural_scene(generator(0, f"scene-{number}"), scene_id="s", size=(96, 96))
        dioptres = 1.0 / scene.depth_m
        near, far = np.quantile(dioptres, [0.98, 0.02])
        ranges.append(near / far)
        change = np.abs(np.diff(dioptres, axis=1)) / (near - far)
        edges.append((change > 0.05).mean())
        slopes.append(((change > 1e-4) & (change < 0.05)).mean())
        detail.append(np.abs(np.diff(scene.image, axis=1)).mean())
    assert np.median(ranges) > 2.0
    assert np.mean(np.array(edges) > 0.01) > 0.5
    assert np.mean(np.array(slopes) > 0.3) > 0.3
    assert np.median(detail) > 0.02


def test_few_scenes_are_seen_through_a_lattice(monkeypatch):
    found = []

    def counted(*arguments):
        found.append(number)
        return fence(*arguments)

    monkeypatch.setattr(procedural, "fence", counted)
    for number in range(60):
        list(procedural_surfaces(generator(number, "lattice"), size=(16, 16)))
    assert 1 <= len(found) <= 13, "a tenth of the scenes"
    assert len(set(found)) == len(found), "one at most in each"


def test_bad_sizes_and_textures_are_refused():
    rng = generator(0, "")
    with pytest.raises(ValueError, match="16 x 16"):
        procedural_scene(rng, scene_id="s", size=(8, 64))
    with pytest.raises(ValueError, match="texture 1"):
        procedural_scene(
            rng, scene_id="s", size=(32, 32), textures=[photograph(), np.zeros((4, 4, 2))]
        )


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_mattes_are_one_pixel_wide_at_the_edge(name):
    """Distances are in pixels: they change by about one a pixel, so that edges are crisp."""
    for seed in range(4):
        distance = SHAPES[name][0](np.random.default_rng(seed), pixel_grid((80, 70)), 25.0)
        assert distance.shape == (80, 70)
        cover = matte(distance)
        assert cover.min() >= 0.0
        assert cover.max() <= 1.0
        partial = (cover > 0.0) & (cover < 1.0)
        assert partial.mean() < 0.35
    slope = np.hypot(*np.gradient(distance))[np.abs(distance) < 0.7]
    if slope.size:
        assert np.median(slope) < 1.6


def test_polygons_are_inside_out_where_rays_say_so():
    rng = np.random.default_rng(5)
    distance = polygon(rng, pixel_grid((60, 60)), 20.0)
    inside = distance < 0
    assert 0.02 < inside.mean() < 0.9
    # A pixel's sign differs from its neighbour's only where both are within a pixel of the outline.
    crossing = inside[:, 1:] != inside[:, :-1]
    assert (np.abs(distance[:, 1:][crossing]) <= 1.0).all()


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS), key=lambda p: p.__name__))
def test_patterns_are_pictures(pattern):
    for size in ((48, 64), (33, 17)):
        picture = pattern(np.random.default_rng(1), size)
        assert picture.shape == (*size, 3)
        assert picture.min() >= 0.0
        assert picture.max() <= 1.0


@pytest.mark.parametrize("size", [(40, 50), (200, 60)])
@pytest.mark.parametrize("shape", [(90, 120, 3), (90, 120)])
def test_texture_crops_have_the_size_asked_for(size, shape):
    texture = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    part = crop_texture(np.random.default_rng(1), texture, size)
    assert part.shape == (*size, 3)
    assert 0.0 <= part.min() <= part.max() <= 1.0


def test_resize_keeps_the_mean():
    picture = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    assert resize(picture, (16, 16)).mean() == pytest.approx(picture.mean(), abs=5e-3)
    np.testing.assert_array_equal(resize(picture, (64, 64)), picture)


def test_bundled_photographs_need_no_download():
    textures = skimage_textures()
    assert len(textures) >= 10
    for name, picture in textures.items():
        assert picture.dtype == np.uint8, name
        assert picture.ndim == 3, name
        assert picture.shape[2] == 3, name
