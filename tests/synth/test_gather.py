"""The gathering renderer against its definition in loops and the published generator's renders."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.psf import PSF_FAMILIES, published_butterworth
from synth.render import render_gather

REFERENCE = os.environ.get("K3DN_REFERENCE")
needs_reference = pytest.mark.skipif(REFERENCE is None, reason="K3DN_REFERENCE is not set")


def gather_slowly(image, coc, psf, step):
    """Each pixel by the kernels of the steps next to its own radius, one pixel at a time."""
    views = np.zeros((2, *image.shape))
    for row, column in np.ndindex(*coc.shape):
        place = coc[row, column] / step
        for level in {np.floor(place), np.ceil(place)}:
            share = 1.0 - abs(place - level)
            pair = psf(float(level) * step)
            half = pair[0].shape[0] // 2
            padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="symmetric")
            window = padded[row : row + 2 * half + 1, column : column + 2 * half + 1]
            for view, kernel in enumerate(pair):
                views[view, row, column] += share * np.tensordot(kernel[::-1, ::-1], window, 2)
    return views


@pytest.mark.parametrize("name", sorted(PSF_FAMILIES))
def test_each_pixel_has_its_own_kernel(name):
    rng = np.random.default_rng(0)
    image = rng.random((19, 27, 3)).astype(np.float32)
    coc = rng.integers(-24, 25, (19, 27)).astype(np.float32) / 8
    coc[:6] = -2.0
    family = PSF_FAMILIES[name]
    rendered = render_gather(image, coc, family)
    np.testing.assert_allclose(rendered, gather_slowly(image, coc, family, 0.5), atol=2e-6)


def test_layers_wider_than_a_tile_and_than_the_picture():
    rng = np.random.default_rng(1)
    image = rng.random((33, 301, 3)).astype(np.float32)
    coc = np.repeat(np.float32([9.0, -2.5, 0.0]), [150, 100, 51])[None].repeat(33, axis=0)
    family = PSF_FAMILIES["integral"]
    rendered = render_gather(image, coc, family)
    some = np.s_[:, 13:17, ::7]
    expected = gather_slowly(image, coc, family, 0.5)
    np.testing.assert_allclose(np.stack(rendered)[some], expected[some], atol=5e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), level=st.sampled_from([-3.0, -0.5, 0.0, 2.0]))
def test_of_one_depth_and_in_a_crowd_a_pixel_is_the_same(seed, level):
    """No occlusion: what lies around does not change a pixel's own blur."""
    rng = np.random.default_rng(seed)
    image = rng.random((21, 23, 3)).astype(np.float32)
    coc = rng.choice([-4.0, level, 3.0], (21, 23)).astype(np.float32)
    family = PSF_FAMILIES["butterworth"]
    crowd = render_gather(image, coc, family)
    alone = render_gather(image, np.full_like(coc, level), family)
    for one, other in zip(crowd, alone, strict=True):
        np.testing.assert_allclose(one[coc == level], other[coc == level], atol=2e-6)


def decoded_depth_m(encoded_bgr):
    blue, green, red = np.moveaxis(encoded_bgr.astype(np.float64), -1, 0)
    return 1000.0 * (red + 256.0 * green + 65536.0 * blue) / (2**24 - 1)


@needs_reference
def test_published_renders_are_met_within_one_grey_level():
    """RDPD's own pictures: 8 bit, not linearised, borders reflected, whole radii."""
    folder = Path(REFERENCE)
    arrays = np.load(folder / "rdpd_renders.npz")
    layers = json.loads((folder / "rdpd_coc_layer_tables.json").read_text())
    differing = total = 0
    for item in json.loads((folder / "rdpd_renders.json").read_text())["items"]:
        camera, scene = item["key"].split("_")
        depth_m = decoded_depth_m(arrays[f"{scene}_depth_encoded_bgr"])
        coc = np.full(depth_m.shape, np.nan)
        for size, near_m, far_m in layers[camera.replace("set", "set_")]["layers"]:
            coc[(depth_m >= near_m) & (depth_m < far_m)] = -size

        def psf(coc_px, item=item):
            settings = (item["order"], item["cut_off_factor"], item["beta"])
            return published_butterworth(coc_px, *settings, item["smooth_strength"])[:2]

        image = arrays[f"{scene}_rgb_bgr"].astype(np.float32)
        left, right = render_gather(image, coc, psf, step_px=1.0, border="reflect")
        for view, letter in ((left, "l"), (right, "r"), (0.5 * (left + right), "c")):
            expected = arrays[f"{item['key']}_{letter}"].astype(int)
            difference = np.abs(np.rint(view).astype(int) - expected)
            assert difference.max() <= 1, item["key"]
            differing += np.count_nonzero(difference)
            total += difference.size
    assert differing < 1e-4 * total


@pytest.mark.parametrize(
    ("image", "coc", "step", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), 0.5, r"\(H, W, 3\)"),
        (np.zeros((4, 4, 3)), np.full((4, 4), np.inf), 0.5, "finite"),
        (np.zeros((4, 4, 3)), np.zeros((4, 4)), -1.0, "step_px"),
    ],
)
def test_what_cannot_be_rendered_is_refused(image, coc, step, message):
    with pytest.raises(ValueError, match=message):
        render_gather(image, coc, PSF_FAMILIES["integral"], step_px=step)
