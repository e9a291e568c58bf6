"""The batched renderer against the layered one, rays, and what holds of any lens."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synth.edges import separate_edges
from synth.psf import PSF_FAMILIES, load_measured_bank
from synth.render import batched, render_layered
from synth.render.batch_edges import COC, LIGHT, SHARE, extremes, separate_pieces
from synth.render.batch_kernels import PairKernels
from synth.render.batched import render_batch
from synth.render.tiles import Levels
from tests.synth.rays import points_of, psf_of_points, trace_rays
from tests.synth.test_layered_render import (
    antialiased_disc,
    convolve_slowly,
    picture,
    some_scene,
    two_layers,
)

FAMILIES = sorted(PSF_FAMILIES)
coc_maps = hnp.arrays(np.float32, (11, 13), elements=st.floats(-4, 4, width=32))


def tensors(image, coc):
    light = torch.from_numpy(np.array(image.transpose(2, 0, 1), dtype=np.float32, order="C"))
    return light[None], torch.from_numpy(np.array(coc, dtype=np.float32))[None]


def render(image, coc, psf, **options):
    """Views (2, H, W, 3) of one picture."""
    kernels = psf if hasattr(psf, "half_px") else PairKernels([psf])
    return render_batch(*tensors(image, coc), kernels, **options)[0].permute(0, 2, 3, 1).numpy()


def point_psf(coc_px):
    return np.ones((1, 1)), np.ones((1, 1))


class Shifted:
    """Kernels that move each colour of each view by pixels of its own, whatever the radius."""

    varies = False

    def __init__(self, across):
        self._across = across  # (2, 3)

    def half_px(self, coc_px):
        return 3

    def __call__(self, picture, coc_px, place, half_px):
        kernels = torch.zeros(len(picture), 2, 3, 2 * half_px + 1, 2 * half_px + 1)
        for view, colour in np.ndindex(2, 3):
            kernels[:, view, colour, half_px, half_px + self._across[view][colour]] = 1.0
        return kernels


@pytest.mark.parametrize("name", FAMILIES)
def test_views_are_those_of_the_layered_renderer_with_fine_layers(name):
    """Over scenes of slopes, outlines and thin parts, near and far: 44 dB.

    One of the scenes is wires of 1 px radius, where layers of 0.5 px hide one another and are 36
    to 42 dB from finer ones themselves.
    """
    errors = []
    for seed in range(2):
        image, coc = some_scene(seed, (56, 80))
        for radii in (coc, -coc):
            fine = render_layered(image, radii, PSF_FAMILIES[name], step_px=0.125)
            views = render(image, radii, PSF_FAMILIES[name])
            errors.append(np.mean((views - np.stack(fine)) ** 2))
    assert np.mean(errors) < 10**-4.4


def test_views_of_measured_kernels_are_those_of_the_layered_renderer():
    axis = np.arange(-10, 11) / 8.0
    x, y = np.meshgrid(axis, axis)
    kernels = np.zeros((2, 3, 2, 21, 21))
    for row, column in np.ndindex(2, 3):
        disc = np.clip(6.0 * (1.0 - np.hypot(x, (1.0 + 0.05 * row) * y)), 0.0, 1.0)
        for view, side in enumerate((-1.0, 1.0)):
            kernels[row, column, view] = disc * (1.0 + side * (0.5 + 0.05 * column) * x).clip(0.0)
    bank = load_measured_bank(kernels, radius_px=8.0)
    image, coc = some_scene(1, (96, 144))
    difference = render(image, coc, bank) - np.stack(render_layered(image, coc, bank))
    assert np.mean(difference**2) < 10**-4.5


def test_levels_beyond_the_even_ones_change_little():
    """Radii to 14 px, where levels lie up to 1.5 px apart."""
    image, coc = some_scene(2, (96, 128))
    expected = render_layered(image, 3.0 * coc, PSF_FAMILIES["butterworth"])
    difference = render(image, 3.0 * coc, PSF_FAMILIES["butterworth"]) - np.stack(expected)
    assert np.mean(difference**2) < 10**-4.5


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("near_coc", "far_coc"), [(3.0, 0.0), (0.0, -3.0), (2.0, -2.5), (4.0, 1.5), (-1.0, -4.0)]
)
def test_depth_step_over_a_plain_background_equals_rays(name, near_coc, far_coc):
    points = points_of(name)
    background = np.full((24, 28, 3), (0.8, 0.4, 0.1))
    image, coc, layers = two_layers(2, near_coc, far_coc, background)
    views = render(image, coc, psf_of_points(points), mixed_edges=False)
    for sign, rendered in zip((1, -1), views, strict=True):
        np.testing.assert_allclose(rendered, trace_rays(points, sign, layers), atol=2e-4)


@pytest.mark.parametrize(("near_coc", "far_coc"), [(0.0, -3.0), (2.0, -2.5), (3.0, 0.0)])
def test_outlines_through_pixels_leave_no_ring(near_coc, far_coc):
    image, coc, layers = antialiased_disc(near_coc, far_coc)
    points = points_of("butterworth")
    truth = trace_rays(points, 1, layers)
    rendered = render(image, coc, psf_of_points(points))[0]
    assert np.abs(rendered - truth).max() < 0.01


@pytest.mark.parametrize("coc_px", [-3.0, 0.0, 2.5])
def test_one_depth_is_one_convolution(coc_px):
    family, image = PSF_FAMILIES["butterworth"], picture(4)
    views = render(image, np.full(image.shape[:2], coc_px), family)
    for kernel, view in zip(family(coc_px), views, strict=True):
        for channel in range(3):
            expected = convolve_slowly(image[..., channel], kernel)
            np.testing.assert_allclose(view[..., channel], expected, atol=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_lens_without_blur_gives_the_picture(seed):
    image, coc = some_scene(seed)
    for view in render(image, coc, point_psf):
        np.testing.assert_allclose(view, image, atol=0.01)


@settings(max_examples=15, deadline=None)
@given(coc=coc_maps, name=st.sampled_from(FAMILIES), level=st.floats(0.0, 1.0, width=32))
def test_a_plain_picture_stays_plain(coc, name, level):
    image = np.full((*coc.shape, 3), level, dtype=np.float32)
    for view in render(image, coc, PSF_FAMILIES[name]):
        np.testing.assert_allclose(view, image, atol=5e-5)


@settings(max_examples=15, deadline=None)
@given(coc=coc_maps, name=st.sampled_from(FAMILIES), seed=st.integers(0, 99))
def test_light_stays_within_what_the_picture_holds(coc, name, seed):
    image = picture(seed, coc.shape)
    views = render(image, coc, PSF_FAMILIES[name])
    assert views.min() >= image.min() - 1e-4
    assert views.max() <= image.max() + 1e-4


@pytest.mark.parametrize("coc_px", [-4.0, 3.0])
def test_light_above_white_keeps_its_energy_and_shifts_as_in_a_camera(coc_px):
    image = np.full((41, 41, 3), 0.1, np.float32)
    image[20, 20] = 50.0
    views = render(image, np.full((41, 41), coc_px), PSF_FAMILIES["butterworth"])
    spot = views - 0.1
    np.testing.assert_allclose(spot.sum(axis=(1, 2)), 49.9, rtol=1e-3)
    assert views.max() > 1.0
    left, right = (spot[..., 0].sum(axis=1) * np.arange(41)).sum(axis=1) / 49.9
    assert np.sign(left - right) == np.sign(coc_px)
    assert 0.5 * (left + right) == pytest.approx(20.0, abs=0.02)


def test_each_colour_of_each_view_has_its_own_kernel():
    """Chromatic shifts move their colour alone, over depth edges, too."""
    across = [[0, 2, -1], [1, 0, 3]]
    image, coc = some_scene(1, (48, 64))
    views = render(image, coc, Shifted(across))
    for view, colour in np.ndindex(2, 3):
        moved = np.roll(render(image, coc, point_psf)[view, ..., colour], across[view][colour], 1)
        inner = np.s_[:, 4:-4]
        np.testing.assert_allclose(views[view, ..., colour][inner], moved[inner], atol=1e-4)


@pytest.mark.parametrize("mixed_edges", [True, False])
def test_a_picture_has_the_same_bytes_in_any_batch(mixed_edges):
    scenes = [tensors(*some_scene(seed, (56, 72))) for seed in range(3)]
    light, coc = (torch.cat(planes) for planes in zip(*scenes, strict=True))
    coc[1] *= 2.0
    psfs = [PSF_FAMILIES["butterworth"]] * 3
    together = render_batch(light, coc, PairKernels(psfs), mixed_edges=mixed_edges)
    turned = render_batch(light.flip(0), coc.flip(0), PairKernels(psfs), mixed_edges=mixed_edges)
    assert torch.equal(together, turned.flip(0))
    for number in range(3):
        one = slice(number, number + 1)
        alone = render_batch(light[one], coc[one], PairKernels(psfs[:1]), mixed_edges=mixed_edges)
        assert torch.equal(together[one], alone)


@pytest.mark.parametrize("together", [True, False])
def test_tiles_may_be_made_one_after_the_other(monkeypatch, together):
    """Radii, and with them kernels, that later tiles have and earlier ones have not."""
    image, _ = some_scene(4, (96, 160))
    coc = np.linspace(-4.0, 4.0, 160, dtype=np.float32)[None].repeat(96, 0)
    kernels = PairKernels([PSF_FAMILIES["butterworth"]])
    whole = render_batch(*tensors(image, coc), kernels, together=together)
    for name in ("_TILES_PX", "_TOGETHER_PX"):
        monkeypatch.setattr(batched, name, 1)
    parts = render_batch(*tensors(image, coc), kernels, together=together)
    torch.testing.assert_close(parts, whole)


def test_pictures_of_a_batch_have_their_own_kernels():
    light, coc = tensors(picture(3), np.full((24, 28), 2.0))
    names = ["butterworth", "integral"]
    both = PairKernels([PSF_FAMILIES[name] for name in names])
    views = render_batch(light.repeat(2, 1, 1, 1), coc.repeat(2, 1, 1), both)
    for name, rendered in zip(names, views, strict=True):
        alone = render_batch(light, coc, PairKernels([PSF_FAMILIES[name]]))[0]
        np.testing.assert_allclose(rendered, alone, atol=2e-6)


class Tilted:
    """A field whose kernels move light by a pixel on the right half of the picture."""

    varies = True

    def half_px(self, coc_px):
        return 2

    def __call__(self, picture, coc_px, place, half_px):
        kernels = torch.zeros(len(picture), 2, 3, 2 * half_px + 1, 2 * half_px + 1)
        share = (place[:, 1] + 1.0)[:, None, None] / 2.0
        kernels[..., half_px, half_px] = 1.0 - share
        kernels[..., half_px, half_px + 1] = share
        return kernels


def test_tiles_of_other_kernels_go_over_without_a_seam():
    """A ramp shows where light came from: from none to one pixel, in small steps."""
    image = np.repeat(np.linspace(0.2, 0.8, 400, dtype=np.float32)[None, :, None], 24, axis=0)
    left, _ = render(np.repeat(image, 3, axis=2), np.ones((24, 400)), Tilted())
    shift_px = (image[0, :, 0] - left[12, :, 0])[4:-4] / (0.6 / 399)
    assert shift_px[-1] - shift_px[0] > 0.5
    steps = np.diff(shift_px)
    assert steps.min() > -2e-3
    assert steps.max() < 0.05


def difference_of_tilings(seed):
    """Views of a scene by one kernel, and by a field of that kernel, which takes other tiles."""

    class Same:
        grid = (2, 3)

        def psf_at(self, row, column):
            return PSF_FAMILIES["integral"]

    image, coc = some_scene(seed, (96, 150))
    one, field = (render(image, coc, psf) for psf in (PSF_FAMILIES["integral"], Same()))
    return np.asarray(field) - np.asarray(one)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 6, 7])
def test_a_field_of_equal_kernels_is_one_kernel(seed):
    assert np.abs(difference_of_tilings(seed)).max() < 6e-3


@pytest.mark.parametrize("seed", [0, 5])
def test_thin_parts_at_a_border_of_tiles_are_few(seed):
    """Each tile groups its own radii: thin parts there can come out in two ways (by 0.13 here)."""
    difference = np.abs(difference_of_tilings(seed))
    assert (difference > 6e-3).mean() < 0.005
    assert np.mean(difference**2) < 1e-5


def test_mixed_pixels_are_taken_apart_as_separate_edges_does():
    scenes = [some_scene(seed, (40, 56)) for seed in (0, 2, 6)]
    light, coc = (torch.cat(p) for p in zip(*(tensors(*s) for s in scenes), strict=True))
    pieces = separate_pieces(light, coc, *extremes(coc)).flatten(3).numpy()
    for (image, radii), (one, two) in zip(scenes, pieces, strict=True):
        expected, count = separate_edges(image, radii), radii.size
        other = expected.pixel[count:]
        assert other.size > 50
        np.testing.assert_allclose(one[SHARE], expected.share[:count], atol=1e-5)
        assert set(np.flatnonzero(two[SHARE])) == set(other)
        np.testing.assert_allclose(two[SHARE, other], expected.share[count:], atol=1e-5)
        np.testing.assert_allclose(two[COC, other], expected.coc_px[count:], atol=1e-6)
        for piece, part in ((one, np.s_[:count]), (two[..., other], np.s_[count:])):
            weighted = expected.light[:, part] * expected.share[part]
            np.testing.assert_allclose(piece[LIGHT], weighted, atol=1e-5)


@given(
    ends=st.tuples(st.floats(-40, 40), st.floats(-40, 40)).map(sorted),
    step=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_levels_hold_all_radii_and_positions_are_their_inverse(ends, step):
    levels = Levels(*ends, step, 4.0)
    radii = levels.radii()
    np.testing.assert_allclose(
        levels.position(torch.from_numpy(radii).float()), np.arange(levels.count), atol=1e-3
    )
    assert radii[0] <= ends[0] + 1e-2
    assert radii[-1] >= ends[1] - 1e-2
    steps = np.diff(radii)
    assert (steps > step - 1e-6).all()


def test_kernels_are_placed_in_the_middle_and_never_cut():
    kernels = PairKernels([PSF_FAMILIES["butterworth"]])
    half = kernels.half_px(3.0)
    index, radius, place = torch.tensor([0]), torch.tensor([3.0]), torch.zeros(1, 2)
    made = kernels(index, radius, place, half + 2)
    expected = PSF_FAMILIES["butterworth"](3.0)
    for view, colour in np.ndindex(2, 3):
        np.testing.assert_allclose(made[0, view, colour, 2:-2, 2:-2], expected[view], atol=1e-7)
    assert made[..., :2].abs().max() == 0.0
    with pytest.raises(ValueError, match="half_px"):
        kernels(index, radius, place, half - 1)


@pytest.mark.parametrize(
    ("light", "coc", "step", "message"),
    [
        (torch.zeros(3, 4, 4), torch.zeros(1, 4, 4), 0.5, r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 5), 0.5, "coc_px is"),
        (torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), np.nan), 0.5, "finite"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4), 0.0, "step_px"),
    ],
)
def test_what_cannot_be_rendered_is_refused(light, coc, step, message):
    with pytest.raises(ValueError, match=message):
        render_batch(light, coc, PairKernels([PSF_FAMILIES["integral"]]), step_px=step)
