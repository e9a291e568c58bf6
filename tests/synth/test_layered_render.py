"""The layered renderer against slow oracles: its formula in loops, and rays through the lens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synth import CameraRanges, generator, srgb_to_linear
from synth.cells import CELL, any_in_cells
from synth.convolve import convolve_views
from synth.edges import separate_edges, whole_pixels
from synth.extend import extend_unknown
from synth.psf import PSF_FAMILIES
from synth.render import cut_layers, layered, render_layered
from synth.sources.procedural import procedural_scene
from tests.synth.rays import points_of, psf_of_points, trace_rays

FAMILIES = sorted(PSF_FAMILIES)
coc_maps = hnp.arrays(np.float32, (11, 13), elements=st.floats(-4, 4, width=32))


def picture(seed, shape=(24, 28)):
    return np.random.default_rng(seed).random((*shape, 3)).astype(np.float32)


def convolve_slowly(plane, kernel):
    """Convolution by the definition, mirrored borders: out(x) = sum_u K(u) plane(x - u)."""
    half = kernel.shape[0] // 2
    padded = np.pad(plane.astype(np.float64), half, mode="symmetric")
    result = np.zeros(plane.shape)
    for row, column in np.ndindex(*plane.shape):
        for down, across in np.ndindex(*kernel.shape):
            source = padded[row + 2 * half - down, column + 2 * half - across]
            result[row, column] += kernel[down, across] * source
    return result


def composite_slowly(image, coc, psf, view, step):
    """The renderer's formula, one pixel at a time, and where nothing had to be guessed in it."""
    levels = np.arange(np.floor(coc.min() / step), np.ceil(coc.max() / step) + 1)
    height, width = coc.shape
    mattes = np.maximum(0.0, 1.0 - np.abs(coc[None] / step - levels[:, None, None]))
    result, passing = np.zeros(image.shape), np.ones((height, width))
    certain = np.ones((height, width), dtype=bool)
    for index in range(len(levels) - 1, -1, -1):
        kernel = psf(levels[index] * step)[view]
        matte = convolve_slowly(mattes[index], kernel)
        known = convolve_slowly(mattes[: index + 1].sum(axis=0), kernel)
        certain &= (known > 0.021) | (passing < 1e-5)
        known = np.maximum(known, 1e-9)
        for channel in range(3):
            light = convolve_slowly(mattes[index] * image[..., channel], kernel)
            result[..., channel] += passing * light / known
        passing = passing * (1.0 - matte / known)
    return result, certain


def step_scene(height, width, near, far):
    coc = np.full((height, width), far, dtype=np.float32)
    coc[3 : height - 4, width // 3 : 2 * width // 3] = near
    return coc


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "coc",
    [
        step_scene(13, 15, 0.0, -2.0),
        step_scene(13, 15, 0.0, -1.3),
        np.linspace(-2.0, 2.0, 13 * 15, dtype=np.float32).reshape(15, 13).T,
    ],
    ids=["step", "step between layers", "slope through focus"],
)
def test_render_is_its_formula(name, coc):
    image = picture(1, coc.shape)
    psf = PSF_FAMILIES[name]
    views = render_layered(image, coc, psf, mixed_edges=False)
    for view, rendered in enumerate(views):
        expected, certain = composite_slowly(image, coc, psf, view, 0.5)
        assert certain.mean() > 0.4
        np.testing.assert_allclose(rendered[certain], expected[certain], atol=2e-4)


def two_layers(seed, near_coc, far_coc, background):
    foreground = picture(seed)
    matte = np.zeros(foreground.shape[:2])
    matte[5:18, 8:19] = 1.0
    near = (near_coc, matte, matte[..., None] * foreground)
    far = (far_coc, np.ones_like(matte), background)
    image = np.where(matte[..., None] > 0, foreground, background).astype(np.float32)
    coc = np.where(matte > 0, near_coc, far_coc).astype(np.float32)
    return image, coc, [near, far]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("near_coc", "far_coc"), [(3.0, 0.0), (0.0, -3.0), (2.0, -2.5), (4.0, 1.5), (-1.0, -4.0)]
)
def test_depth_step_over_a_plain_background_equals_rays(name, near_coc, far_coc):
    """Where what is hidden can be known, the renderer is exact: blurred edges, no bleeding."""
    points = points_of(name)
    background = np.full((24, 28, 3), (0.8, 0.4, 0.1))
    image, coc, layers = two_layers(2, near_coc, far_coc, background)
    views = render_layered(image, coc, psf_of_points(points), mixed_edges=False)
    for sign, rendered in zip((1, -1), views, strict=True):
        np.testing.assert_allclose(rendered, trace_rays(points, sign, layers), atol=1e-4)


@pytest.mark.parametrize(
    ("near_coc", "far_coc"), [(3.0, 0.0), (0.0, -3.0), (2.0, -2.5), (4.0, 1.5)]
)
def test_depth_step_over_a_textured_background_is_near_to_rays(near_coc, far_coc):
    """What is hidden must be guessed; still nearer to the truth than each pixel by its own depth.

    The background is smooth at the scale of the blur, as nobody can guess noise.
    """
    points = points_of("butterworth")
    rows, columns = np.mgrid[:24, :28]
    waves = [np.sin(rows / 4.0 + k) * np.cos(columns / 5.0 - k) for k in range(3)]
    background = 0.5 + 0.4 * np.stack(waves, axis=-1)
    image, coc, layers = two_layers(3, near_coc, far_coc, background)
    psf = psf_of_points(points)
    views = render_layered(image, coc, psf, mixed_edges=False)
    for sign, rendered in zip((1, -1), views, strict=True):
        truth = trace_rays(points, sign, layers)
        gathered = np.zeros_like(truth)
        for level in (near_coc, far_coc):
            kernel = psf(level)[0 if sign == 1 else 1]
            half = kernel.shape[0] // 2
            padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="symmetric")
            blurred = convolve_views(padded.transpose(2, 0, 1), kernel, kernel)[0]
            gathered = np.where(coc[..., None] == level, blurred.transpose(1, 2, 0), gathered)
        error = np.sqrt(np.mean((rendered - truth) ** 2))
        assert error < 0.05
        assert error < 0.7 * np.sqrt(np.mean((gathered - truth) ** 2))


def antialiased_disc(near_coc, far_coc):
    """A disc before a plain background, its outline through the pixels; and its layers."""
    rows, columns = np.mgrid[:24, :28]
    matte = np.clip(7.0 - np.hypot(rows - 11.3, columns - 13.8) + 0.5, 0.0, 1.0)
    front, back = np.array([0.9, 0.8, 0.2]), np.full((24, 28, 3), (0.05, 0.1, 0.3))
    near = (near_coc, matte, matte[..., None] * front)
    image = (near[2] + (1 - matte[..., None]) * back).astype(np.float32)
    coc = np.where(matte >= 0.5, near_coc, far_coc).astype(np.float32)
    return image, coc, [near, (far_coc, np.ones_like(matte), back)]


@pytest.mark.parametrize(("near_coc", "far_coc"), [(0.0, -3.0), (2.0, -2.5), (3.0, 0.0)])
def test_outlines_through_pixels_leave_no_ring(near_coc, far_coc):
    """Taken apart, mixed pixels come to what rays see; blurred whole they make a bright ring."""
    image, coc, layers = antialiased_disc(near_coc, far_coc)
    points = points_of("butterworth")
    psf = psf_of_points(points)
    truth = trace_rays(points, 1, layers)
    errors = [
        np.abs(render_layered(image, coc, psf, mixed_edges=mixed)[0] - truth).max()
        for mixed in (True, False)
    ]
    assert errors[0] < 0.01
    assert errors[0] < 0.1 * errors[1]


def test_mixed_pixels_are_found_and_their_pieces_make_up_the_pixel():
    image, coc, layers = antialiased_disc(0.0, -3.0)
    pieces = separate_edges(image, coc)
    count = coc.size
    np.testing.assert_allclose(np.bincount(pieces.pixel, pieces.share, count), 1.0, atol=1e-12)
    for channel in range(3):
        light = np.bincount(pieces.pixel, pieces.share * pieces.light[channel], count)
        np.testing.assert_allclose(light, image[..., channel].ravel(), atol=1e-6)
    in_front = np.bincount(pieces.pixel, pieces.share * (pieces.coc_px == 0.0), count)
    np.testing.assert_allclose(in_front, layers[0][1].ravel(), atol=0.021)


def test_a_light_of_its_own_on_an_edge_stays_whole():
    """One white pixel of the background beside an object: no mixture of orange and black."""
    image = np.full((9, 9, 3), 0.02, np.float32)
    coc = np.full((9, 9), -9.0, np.float32)
    image[:, 5:], coc[:, 5:] = (0.9, 0.17, 0.01), 0.0
    image[4, 4] = 1.0
    pieces = separate_edges(image, coc)
    light = pieces.pixel == 4 * 9 + 4
    assert (pieces.share[light].tolist(), pieces.coc_px[light].tolist()) == ([1.0], [-9.0])
    np.testing.assert_allclose(pieces.light[:, light], 1.0)


def test_without_depth_edges_pixels_stay_whole():
    image = picture(8)
    coc = np.tile(np.linspace(-3.0, 3.0, 28), (24, 1))
    pieces, whole = separate_edges(image, coc), whole_pixels(image, coc)
    np.testing.assert_array_equal(pieces.share, whole.share)
    np.testing.assert_array_equal(pieces.light, whole.light)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("coc_px", [-3.0, 0.0, 2.3])
def test_one_depth_is_one_convolution(name, coc_px):
    """With one layer the composite is the blur alone."""
    family = PSF_FAMILIES[name]
    image = picture(4)
    views = render_layered(image, np.full(image.shape[:2], coc_px, np.float32), family)
    share = coc_px / 0.5 - np.floor(coc_px / 0.5)
    lower, upper = family(np.floor(coc_px / 0.5) * 0.5), family(np.ceil(coc_px / 0.5) * 0.5)
    for view, rendered in enumerate(views):
        expected = (1 - share) * convolve_slowly(image[..., 0], lower[view])
        expected += share * convolve_slowly(image[..., 0], upper[view])
        tolerance = 2e-5 if share == 0.0 else 2e-2  # two layers meet in the composite
        np.testing.assert_allclose(rendered[..., 0], expected, atol=tolerance)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("coc_px", [-3.0, 0.0, 2.3])
def test_the_sum_of_blurred_layers_agrees_on_one_depth(name, coc_px):
    """Eq. 5 and the default are one where nothing is hidden, between two layers, too."""
    image, coc = picture(9), np.full((24, 28), coc_px, np.float32)
    over, summed = (
        render_layered(image, coc, PSF_FAMILIES[name], composite=c) for c in ("over", "sum")
    )
    np.testing.assert_allclose(summed, over, atol=2e-5)


def test_the_sum_of_blurred_layers_is_eq_5():
    """Each masked layer blurred, then summed: at depth steps light is lost or counted twice."""
    image, coc = picture(10, (17, 19)), step_scene(17, 19, 2.0, -1.5)
    family = PSF_FAMILIES["butterworth"]
    views = render_layered(image, coc, family, mixed_edges=False, composite="sum")
    for view, rendered in enumerate(views):
        expected = np.zeros(image.shape)
        for level in (2.0, -1.5):
            mask = coc == level
            # The mask goes on mirrored with the picture.
            for channel in range(3):
                plane = mask * image[..., channel]
                expected[..., channel] += convolve_slowly(plane, family(level)[view])
        np.testing.assert_allclose(rendered, expected, atol=2e-6)
    white = render_layered(np.ones_like(image), coc, family, mixed_edges=False, composite="sum")[0]
    assert white.min() < 0.9
    assert white.max() > 1.1


def test_finer_layers_change_a_slope_little():
    family = PSF_FAMILIES["butterworth"]
    image = picture(5, (40, 40))
    coc = np.tile(np.linspace(-5.0, 3.0, 40, dtype=np.float32), (40, 1))
    coarse, fine = (render_layered(image, coc, family, step_px=s) for s in (0.5, 0.125))
    assert np.sqrt(np.mean((coarse[0] - fine[0]) ** 2)) < 0.01


@settings(max_examples=15, deadline=None)
@given(coc=coc_maps, name=st.sampled_from(FAMILIES), level=st.floats(0.0, 1.0, width=32))
def test_a_plain_picture_stays_plain(coc, name, level):
    """Whatever the depth: edges neither darken nor brighten."""
    image = np.full((*coc.shape, 3), level, dtype=np.float32)
    for view in render_layered(image, coc, PSF_FAMILIES[name]):
        np.testing.assert_allclose(view, image, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(coc=coc_maps, name=st.sampled_from(FAMILIES), seed=st.integers(0, 99))
def test_light_stays_within_what_the_picture_holds(coc, name, seed):
    image = picture(seed, coc.shape)
    for view in render_layered(image, coc, PSF_FAMILIES[name]):
        assert view.min() >= image.min() - 1e-5
        assert view.max() <= image.max() + 1e-5


@settings(max_examples=15, deadline=None)
@given(coc=coc_maps, name=st.sampled_from(FAMILIES), seed=st.integers(0, 99))
def test_mirroring_swaps_the_views_and_turning_over_does_not(coc, name, seed):
    image = picture(seed, coc.shape)
    family = PSF_FAMILIES[name]
    left, right = render_layered(image, coc, family)
    mirrored = render_layered(image[:, ::-1], coc[:, ::-1], family)
    np.testing.assert_allclose(mirrored[0], right[:, ::-1], atol=1e-3)
    np.testing.assert_allclose(mirrored[1], left[:, ::-1], atol=1e-3)
    over = render_layered(image[::-1], coc[::-1], family)
    np.testing.assert_allclose(over[0], left[::-1], atol=1e-3)


def test_in_focus_is_the_picture_itself():
    image = picture(6)
    for view in render_layered(
        image, np.zeros(image.shape[:2], np.float32), PSF_FAMILIES["integral"]
    ):
        np.testing.assert_array_equal(view, image)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("coc_px", [-4.0, -0.3, 0.3, 4.0])
def test_a_point_of_light_shifts_as_in_a_camera(name, coc_px):
    """s = x_L - x_R is positive for a point nearer than focus, negative for one farther."""
    image = np.zeros((41, 41, 3), dtype=np.float32)
    image[20, 20] = 1.0
    left, right = render_layered(image, np.full((41, 41), coc_px, np.float32), PSF_FAMILIES[name])
    places = [
        (v[..., 0].sum(axis=0) * np.arange(41)).sum() / v[..., 0].sum() for v in (left, right)
    ]
    assert np.sign(places[0] - places[1]) == np.sign(coc_px)
    assert 0.5 * (places[0] + places[1]) == pytest.approx(20.0, abs=1e-4)
    assert left.sum() == pytest.approx(image.sum(), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(coc=coc_maps, step=st.sampled_from([0.25, 0.5, 1.0]))
def test_layers_partition_the_picture_front_to_back(coc, step):
    image = picture(0, coc.shape)
    layers = list(cut_layers(whole_pixels(image, coc), coc.shape, step_px=step))
    assert [layer.coc_px for layer in layers] == sorted({layer.coc_px for layer in layers})[::-1]
    np.testing.assert_allclose(sum(layer.matte for layer in layers), 1.0, atol=1e-6)
    front = np.zeros(coc.shape)
    for layer in layers:
        np.testing.assert_allclose(layer.front, front, atol=2e-5)
        rows, columns = np.nonzero(layer.matte)
        np.testing.assert_array_equal(
            np.argwhere(layer.occupied), np.unique(np.stack([rows, columns]) // CELL, axis=1).T
        )
        front += layer.matte
    light = sum(layer.light for layer in layers)
    np.testing.assert_allclose(light.transpose(1, 2, 0), image, atol=1e-6)
    mean = sum(layer.coc_px * layer.matte for layer in layers)
    np.testing.assert_allclose(mean, coc, atol=2e-3 * step)


@pytest.mark.parametrize("size", [(152, 208), (151, 209)])
@pytest.mark.parametrize("seed", range(3))
def test_working_where_a_layer_reaches_is_working_everywhere(size, seed, monkeypatch):
    """Cells left out change nothing, behind the wide rim of a near object least of all."""
    image, coc = some_scene(seed, size)
    coc = np.clip(coc, -4.0, 4.0)
    coc[20:110, 30:120] = 9.0
    views = render_layered(image, coc, PSF_FAMILIES["butterworth"])
    monkeypatch.setattr(layered, "grown", lambda cells, by: np.ones_like(cells))
    whole = render_layered(image, coc, PSF_FAMILIES["butterworth"])
    np.testing.assert_allclose(views, whole, atol=1.5e-3)


@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
def test_continuation_of_parts_is_that_of_the_whole(size):
    """What is not looked at counts as known to be 0, and only what is asked for is filled."""
    rng = np.random.default_rng(0)
    parts = [(slice(0, 32), slice(16, 64)), (slice(32, size[0]), slice(48, size[1]))]
    planes, confidence = np.zeros((1, 2, *size), np.float32), np.ones((1, *size), np.float32)
    for rows, columns in parts:
        known = rng.random((rows.stop - rows.start, columns.stop - columns.start)) < 0.2
        confidence[0, rows, columns] = known
        planes[0, :, rows, columns] = rng.random((2, *known.shape)) * known
    fill = any_in_cells(confidence[0] < 1.0)
    dense, sparse = planes.copy(), planes.copy()
    extend_unknown(dense, confidence)
    extend_unknown(sparse, confidence, look_at=parts, fill=fill)
    tolerance = 1e-6 if size[0] % 2 == 0 else 0.2  # odd sides look a pixel beyond a part
    for rows, columns in parts:
        inner = np.s_[:, :, rows, columns]
        np.testing.assert_allclose(sparse[inner], dense[inner], atol=tolerance)


def test_continuation_keeps_what_is_known_and_stays_in_its_range():
    rng = np.random.default_rng(7)
    planes = rng.random((2, 3, 21, 34)).astype(np.float32)
    confidence = (rng.random((2, 21, 34)) < 0.1).astype(np.float32)
    confidence[:, :12, :9] = 0.0
    known = np.broadcast_to(confidence[:, None] == 1.0, planes.shape)
    filled = np.where(known, planes, 0.0)
    extend_unknown(filled, confidence)
    np.testing.assert_allclose(filled[known], planes[known], rtol=1e-6)
    assert filled.min() >= planes[known].min() - 1e-5
    assert filled.max() <= planes[known].max() + 1e-5


@pytest.mark.parametrize(
    ("image", "coc", "step", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), 0.5, r"\(H, W, 3\)"),
        (np.zeros((4, 4, 3)), np.zeros((4, 5)), 0.5, "coc_px is"),
        (np.zeros((4, 4, 3)), np.full((4, 4), np.nan), 0.5, "finite"),
        (np.zeros((4, 4, 3)), np.zeros((4, 4)), 0.0, "step_px"),
    ],
)
def test_what_cannot_be_rendered_is_refused(image, coc, step, message):
    with pytest.raises(ValueError, match=message):
        render_layered(image, coc, PSF_FAMILIES["integral"], step_px=step)


def test_an_unknown_composite_is_refused():
    with pytest.raises(ValueError, match="choose from over, sum"):
        render_layered(
            np.zeros((4, 4, 3)), np.zeros((4, 4)), PSF_FAMILIES["integral"], composite="under"
        )


def some_scene(seed, size=(60, 80)):
    """A procedural scene in linear light and its radii up to 5 px: slopes, outlines, thin parts."""
    scene = procedural_scene(generator(seed, "scene"), scene_id="s", size=size)
    cameras = CameraRanges(extreme_coc_px=(3.0, 5.0))
    coc = cameras.sample(generator(seed, "camera"), scene.depth_m).coc_px(scene.depth_m)
    return srgb_to_linear(scene.image), coc


@pytest.mark.parametrize("seed", range(6))
def test_layers_and_pieces_make_up_the_light_of_every_pixel(seed):
    """Eq. 3, 4 for what is rendered by default: mattes sum to 1, and layers to the picture."""
    image, coc = some_scene(seed)
    pieces = separate_edges(image, coc)
    assert pieces.pixel.size > coc.size, "no pixel was taken apart"
    layers = list(cut_layers(pieces, coc.shape, step_px=0.5))
    np.testing.assert_allclose(sum(layer.matte for layer in layers), 1.0, atol=1e-6)
    light = sum(layer.light for layer in layers)
    np.testing.assert_allclose(light.transpose(1, 2, 0), image, atol=1e-6)


@pytest.mark.parametrize(("composite", "atol"), [("over", 0.01), ("sum", 1e-6)])
@pytest.mark.parametrize("seed", range(3))
def test_a_lens_without_blur_gives_the_picture(seed, composite, atol):
    """Whatever the depth and however it is cut: no light is lost on the way."""
    image, coc = some_scene(seed)
    point = np.ones((1, 1))
    for view in render_layered(image, coc, lambda coc_px: (point, point), composite=composite):
        np.testing.assert_allclose(view, image, atol=atol)
