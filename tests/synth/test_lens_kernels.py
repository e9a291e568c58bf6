"""Kernels of drawn lenses: sums, sizes, signs, near against far, field, colours, sub-pixel blur."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.lens import ApertureParameters, Chromatic, FrameWindow, Lens, LensKernels, pixel_shares
from synth.psf import PSF_FAMILIES, load_measured_bank
from synth.shot_ranges import ShotRanges

WINDOW = FrameWindow(frame_px=(300, 400), size_px=(300, 400))
CORNER, MIDDLE, RIGHT, LEFT = (1.0, 1.0), (0.0, 0.0), (0.0, 1.0), (0.0, -1.0)


def kernels_of(lens, coc_px, place=MIDDLE, half_px=None):
    """Kernels (2, 3, k, k), float64, of one lens at one place."""
    made = LensKernels([lens])
    half = made.half_px(coc_px) if half_px is None else half_px
    kernels = made(
        torch.tensor([0]), torch.tensor([coc_px]), torch.tensor([place], dtype=torch.float32), half
    )
    return kernels[0].double().numpy()


def lens_of(light=None, **keys):
    drawn = {key: keys.pop(key) for key in list(keys) if key not in ("chromatic", "window")}
    light = light or ApertureParameters(**({"disparity": 0.45} | drawn))
    return Lens(light=light, **({"window": WINDOW} | keys))


def centroids(kernels):
    """(..., 2): y, x from the middle pixel."""
    offsets = np.arange(kernels.shape[-1]) - kernels.shape[-1] // 2
    return np.stack([kernels.sum(-1) @ offsets, kernels.sum(-2) @ offsets], axis=-1)


def radius_of(kernels):
    """sqrt(2 x variance) of the two views together, green."""
    both = kernels[:, 1].mean(axis=0)
    offsets = np.arange(both.shape[-1]) - both.shape[-1] // 2
    square = (both.sum(0) + both.sum(1)) @ offsets**2
    return np.sqrt(2.0 * (square - (centroids(both) ** 2).sum()))


apertures = st.builds(
    ApertureParameters,
    disparity=st.floats(0.35, 0.55),
    rim=st.floats(-0.1, 0.5),
    softness=st.floats(0.03, 0.12),
    softness_px=st.floats(0.1, 0.4),
    spherical_px=st.floats(-0.5, 0.5),
)
radii = st.floats(2.0, 20.0) | st.floats(-20.0, -2.0)


@given(apertures, radii)
@settings(max_examples=15, deadline=None)
def test_radius_and_disparity_are_what_was_asked_for(aperture, coc_px):
    kernels = kernels_of(lens_of(aperture), coc_px)
    np.testing.assert_allclose(kernels.sum((-2, -1)), 1.0, atol=1e-5)
    assert kernels.min() >= 0.0
    assert radius_of(kernels) == pytest.approx(abs(coc_px), abs=0.12)
    (y_left, x_left), (y_right, x_right) = centroids(kernels[:, 1])
    assert (x_left - x_right) / coc_px == pytest.approx(aperture.disparity, abs=0.04)
    assert abs(y_left) < 1e-3
    assert x_left == pytest.approx(-x_right, abs=1e-3)
    assert y_right == pytest.approx(y_left, abs=1e-3)


def test_the_quartiles_of_drawn_disparities_are_those_of_cameras():
    """Canon R6 II 0.37, 0.47, 0.51 and Pixel 4 0.39, 0.41, 0.46, of fits to real pairs."""
    rng = np.random.default_rng(0)
    found = []
    for disparity in np.linspace(*ShotRanges().disparity, 60):
        aperture = ApertureParameters(
            disparity=disparity, rim=rng.uniform(-0.1, 0.65), swap=rng.uniform(-4.5, 4.5)
        )
        place = tuple(rng.uniform(-1, 1, 2))
        x = centroids(kernels_of(lens_of(aperture), 6.0, place)[:, 1])[:, 1]
        found.append((x[0] - x[1]) / 6.0)
    real = np.array([[0.37, 0.47, 0.51], [0.39, 0.41, 0.46]])
    quartiles = np.quantile(found, [0.25, 0.5, 0.75])
    assert (quartiles > real.min(axis=0) - 0.02).all()
    assert (quartiles < real.max(axis=0) + 0.02).all()


def test_near_and_far_are_one_another_turned_about_unless_there_is_spherical_aberration():
    plain = lens_of(rim=0.2, cat_eye=0.3, swap=-0.8)
    near, far = (kernels_of(plain, r, CORNER, 10) for r in (6.0, -6.0))
    np.testing.assert_allclose(near, far[..., ::-1, ::-1], atol=1e-6)

    aberrated = lens_of(rim=0.2, spherical_px=1.2)
    near, far = (kernels_of(aberrated, r, MIDDLE, 10) for r in (6.0, -6.0))
    assert np.abs(near - far[..., ::-1, ::-1]).sum(axis=(-2, -1)).min() > 0.2
    y, x = np.mgrid[-10:11, -10:11]
    rim = (np.hypot(y, x) > 4.5) & (np.hypot(y, x) < 5.5)
    assert far.mean(0)[1][rim].mean() > 1.3 * near.mean(0)[1][rim].mean()


def test_the_light_of_an_aberrated_lens_is_where_rays_fall():
    """Rays through a grid over the pupil, moved as Seidel's spherical aberration moves them."""
    radius, spherical_px = 8.0, 1.6
    lens = lens_of(disparity=0.5, softness=0.0, softness_px=0.0, spherical_px=spherical_px)
    profile = kernels_of(lens, radius)[:, 1].mean(axis=0)
    axis = np.linspace(-1, 1, 1201)
    x, y = np.meshgrid(axis, axis)
    rho = np.hypot(x, y)
    inside = rho <= 1.0
    moved = rho * (1.0 + spherical_px / radius * (rho**2 - 1.0))
    moved = moved[inside]
    moved *= radius / np.sqrt(2.0 * (moved**2).mean())
    half = profile.shape[0] // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1]
    for ring in (2.0, 4.0, 6.0):
        ours = profile[np.hypot(u, v) <= ring].sum()
        assert ours == pytest.approx((moved <= ring).mean(), abs=0.03)


def test_the_barrel_cuts_discs_in_the_corners_towards_the_middle_of_the_picture():
    lens = lens_of(cat_eye=0.8)
    y, x = np.mgrid[-12:13, -12:13]
    along, across = (y * 0.6 + x * 0.8) ** 2, (x * 0.6 - y * 0.8) ** 2  # the diagonal of 3:4
    corner, middle = (kernels_of(lens, 8.0, p, 12)[:, 1].mean(0) for p in (CORNER, MIDDLE))
    assert (corner * along).sum() < 0.75 * (corner * across).sum()
    assert (middle * along).sum() == pytest.approx((middle * across).sum(), rel=1e-2)


def test_views_change_parts_from_one_side_of_the_field_to_the_other():
    """As in the Pixel 4's bank: at the left border the left view is the flatter one."""
    lens = lens_of(swap=-1.0)

    def flatness(place):
        views = kernels_of(lens, -8.0, place)[:, 1]
        return [(view.max() * (view > 0.2 * view.max()).sum()) for view in views]

    left, middle, right = (flatness(place) for place in (LEFT, MIDDLE, RIGHT))
    assert left[0] < 0.9 * left[1]
    assert middle[0] == pytest.approx(middle[1], rel=1e-3)
    assert right == pytest.approx(left[::-1], rel=1e-3)


def pixel_4_bank():
    """Far kernels of a Pixel 4, (rows, columns, 2, 61, 61), each of sum 1."""
    folder = os.environ.get("K3DN_REFERENCE")
    if folder is None:
        pytest.skip("K3DN_REFERENCE names no folder of reference arrays")
    measured = np.load(Path(folder) / "pixel4_psf.npz")["measured_rows6_cols8_views2_61_61"]
    return measured / measured.sum((-2, -1), keepdims=True)


def slope_of(both):
    """How light falls over a radius of its disc: down and to the right, by a plane and a rim."""
    lit = both > 0.15 * both.max()
    radius = np.sqrt(lit.sum() / np.pi)
    y, x = np.mgrid[: both.shape[0], : both.shape[1]]
    y, x = (y - y[lit].mean()) / radius, (x - x[lit].mean()) / radius
    square = y * y + x * x
    inner = square < 0.75**2
    rows = np.stack([np.ones(inner.sum()), y[inner], x[inner], 2 * square[inner] - 1], axis=1)
    level, down, across, _ = np.linalg.lstsq(rows, both[inner], rcond=None)[0]
    return down / level, across / level


def test_a_pixel_4_s_light_slopes_towards_the_middle_of_the_field_everywhere():
    bank, strengths = pixel_4_bank(), []
    for row in range(6):
        for column in range(8):
            down, across = slope_of(bank[row, column].mean(0))
            # From the middle of the field to the kernel's place, in half heights of a 4:3 frame.
            y, x = (row + 0.5) / 3 - 1, ((column + 0.5) / 4 - 1) * 4 / 3
            strengths.append(np.hypot(down, across))
            assert down * y + across * x < -0.75 * strengths[-1] * np.hypot(y, x)
    quartiles = np.quantile(strengths, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(quartiles, [0.25, 0.63, 0.77, 0.79, 0.92], atol=0.02)


@pytest.mark.parametrize("row, column", [(0, 0), (0, 4), (2, 7)])
def test_the_model_is_nearer_to_the_bank_off_the_axis_with_a_slope(row, column):
    views = pixel_4_bank()[row, column]
    place = ((row + 0.5) / 3 - 1, (column + 0.5) / 4 - 1)
    shift_px = tuple(float(at) for at in centroids(views.mean(0)))

    def residual(slope):
        """Of the best of eight."""
        lights = (
            ApertureParameters(
                disparity=disparity, softness=0.2, rim=0.2, cat_eye=cat_eye, swap=swap, slope=slope
            )
            for disparity in (0.45, 0.55)
            for cat_eye in (0.0, 0.5)
            for swap in (-1.0, 1.0)
        )
        return min(
            np.abs(
                kernels_of(Lens(light=light, window=WINDOW, shift_px=shift_px), -12.6, place, 30)[
                    :, 1
                ]
                - views
            )
            .sum((-2, -1))
            .mean()
            for light in lights
        )

    assert residual(0.7) < 0.8 * residual(0.0)


def test_light_slopes_off_the_axis_and_the_point_stays_in_its_place():
    def at(place, coc_px=-7.0, **keys):
        return kernels_of(lens_of(softness=0.15, **keys), coc_px, place, half_px=12)[:, 1]

    np.testing.assert_allclose(at(MIDDLE, slope=0.8), at(MIDDLE), atol=1e-6)
    below, above = at((0.7, 0.0), slope=0.8), at((-0.7, 0.0), slope=0.8)
    right, left = at((0.0, 0.7), slope=0.8), at((0.0, -0.7), slope=0.8)
    np.testing.assert_allclose(above, below[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(left, right[::-1, :, ::-1], atol=1e-6)
    # A plane fitted to the middle of both views together: far blur is brighter towards the middle
    # of the picture, near blur away from it; 0.7 of the half height is 0.42 of the half diagonal.
    offsets = np.arange(25) - 12.0
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    for kernels, towards, sign in (
        (below, y, -1.0),
        (right, x, -1.0),
        (at((0.7, 0.0), 7.0, slope=0.8), y, 1.0),
    ):
        both = kernels.mean(0)
        np.testing.assert_allclose(centroids(both), 0.0, atol=2e-3)
        rows = np.stack([np.ones(25 * 25), y.ravel(), x.ravel()], axis=1)
        inner = np.hypot(y, x).ravel() < 3.0
        level, down, across = np.linalg.lstsq(rows[inner], both.ravel()[inner], rcond=None)[0]
        # Per blur radius of the disc's own 7 px, where light is 1.
        steep = 7.0 * (down if towards is y else across) / level
        assert 0.5 < sign * steep < 0.85
        assert abs(across if towards is y else down) * 7.0 / level < 0.15


def test_lateral_colour_is_at_the_border_and_axial_colour_everywhere():
    lens = lens_of(chromatic=Chromatic(lateral_px=(0.9, -0.6)))
    at_corner, at_middle = (
        centroids(kernels_of(lens, 5.0, place).mean(axis=0)) for place in (CORNER, MIDDLE)
    )
    np.testing.assert_allclose(at_corner[0] - at_corner[1], [0.54, 0.72], atol=1e-2)
    np.testing.assert_allclose(at_corner[2] - at_corner[1], [-0.36, -0.48], atol=1e-2)
    np.testing.assert_allclose(at_middle, 0.0, atol=1e-4)

    lens = lens_of(chromatic=Chromatic(axial_px=(0.7, -0.5)))
    for coc_px in (5.0, -5.0):
        kernels = kernels_of(lens, coc_px)
        found = [radius_of(np.stack([kernels[:, c]] * 3, axis=1)) for c in range(3)]
        assert found == pytest.approx(np.abs(coc_px + np.array([0.7, 0.0, -0.5])), abs=0.1)


def test_a_part_of_a_frame_has_the_field_of_its_place():
    whole = lens_of(cat_eye=0.5, swap=-1.0, chromatic=Chromatic(lateral_px=(0.5, 0.0)))
    part = FrameWindow(frame_px=(300, 400), size_px=(75, 100), middle=(0.75, -0.75))
    one = kernels_of(whole, 6.0, (0.5 * (0.5 + 1.0), -0.5), 12)
    other = kernels_of(
        Lens(light=whole.light, window=part, chromatic=whole.chromatic), 6.0, (0.0, 1.0), 12
    )
    np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(ValueError, match="within its frame"):
        FrameWindow(frame_px=(300, 400), size_px=(75, 100), middle=(0.8, 0.0))


@pytest.mark.parametrize("name", sorted(PSF_FAMILIES))
def test_families_of_other_generators_are_theirs_but_for_the_sharing_of_light(name):
    family = PSF_FAMILIES[name]
    light = family.aperture(family.parameters())
    for coc_px in (7.0, -7.0):
        ours = kernels_of(lens_of(light), coc_px, half_px=16)[:, 1]
        for mine, theirs in zip(ours, family(coc_px), strict=True):
            pad = 16 - theirs.shape[0] // 2
            padded = np.pad(theirs, pad)
            np.testing.assert_allclose(centroids(mine), centroids(padded), atol=0.03)
            assert np.abs(mine - padded).sum() < 0.12


def test_a_measured_bank_is_itself_at_its_own_radius():
    rng = np.random.default_rng(0)
    bank = load_measured_bank(rng.random((2, 3, 2, 9, 9)) + 0.1, radius_px=4.0, side="far")
    lens = lens_of(bank)
    for row, y in enumerate((-0.5, 0.5)):
        for column, x in enumerate((-2 / 3, 0.0, 2 / 3)):
            kernels = kernels_of(lens, -4.0, (y, x), 6)
            np.testing.assert_allclose(
                kernels[:, 0, 2:-2, 2:-2], bank.kernels[row, column], atol=1e-5
            )
    between = kernels_of(lens, -4.0, (0.0, -1 / 3), 6)[:, 0, 2:-2, 2:-2]
    np.testing.assert_allclose(between, bank.kernels[:, :2].mean((0, 1)), atol=1e-5)
    turned = kernels_of(lens, 4.0, (-0.5, 0.0), 6)[:, 0, 2:-2, 2:-2]
    np.testing.assert_allclose(turned, bank.kernels[0, 1, :, ::-1, ::-1], atol=1e-5)


@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=5))
@settings(deadline=None)
def test_shares_keep_sum_centroid_and_second_moment(places):
    places_px = torch.tensor(places, dtype=torch.float64)
    shares = pixel_shares(places_px, 6).numpy()
    pixels = np.arange(-6, 7.0)
    for power in range(3):
        np.testing.assert_allclose(pixels**power @ shares, np.array(places) ** power, atol=1e-9)


def test_blur_below_a_pixel_is_nearer_the_truth_than_shares_in_proportion_are():
    """A scene at six times the resolution, blurred there and averaged, is the truth."""
    rng, fine = np.random.default_rng(1), 6
    scene = np.cumsum(np.cumsum(rng.standard_normal((192, 192)), 0), 1)
    scene = (scene - scene.min()) / np.ptp(scene)
    scene[60:130, 70:110] = 1.0 - scene[60:130, 70:110]

    def down(picture):
        return picture.reshape(32, fine, 32, fine).mean(axis=(1, 3))

    def blurred(picture, kernel):
        half, result = kernel.shape[0] // 2, np.zeros_like(picture)
        for (j, i), weight in np.ndenumerate(kernel):
            result += weight * np.roll(picture, (j - half, i - half), axis=(0, 1))
        return result

    lens, family = lens_of(softness=0.1), PSF_FAMILIES["butterworth"]
    for radius in (0.1, 0.3, 0.5):
        truth = down(blurred(scene, kernels_of(lens, fine * radius)[0, 1]))
        ours = blurred(down(scene), kernels_of(lens, radius)[0, 1])
        theirs = blurred(down(scene), family(radius)[0])
        ours, theirs, none = (
            np.sqrt(np.mean((p - truth)[4:-4, 4:-4] ** 2)) for p in (ours, theirs, down(scene))
        )
        assert ours < 0.8 * min(theirs, none)


def test_kernels_do_not_depend_on_the_batch_and_reach_no_farther_than_said():
    bank = load_measured_bank(
        np.random.default_rng(0).random((2, 2, 2, 5, 5)), radius_px=2.0, side="near"
    )
    butterworth = PSF_FAMILIES["butterworth"]
    lenses = [
        lens_of(disparity=0.4, cat_eye=0.4, chromatic=Chromatic(lateral_px=(0.3, 0.1))),
        lens_of(bank),
        lens_of(butterworth.aperture(butterworth.parameters())),
        lens_of(disparity=0.5, spherical_px=-0.8),
        lens_of(disparity=0.45, slope=0.9),
    ]
    batch = LensKernels(lenses)
    assert batch.varies
    assert not LensKernels(lenses[2:4]).varies
    assert LensKernels(lenses[4:]).varies
    half = batch.half_px(6.0)
    assert half >= batch.half_px(3.0) >= batch.half_px(0.0) >= 1
    order = torch.tensor([2, 0, 3, 1, 0, 4])
    made = batch(
        order, torch.tensor([6.0, -6.0, 6.0, 4.0, 3.0, -6.0]), torch.zeros(6, 2) + 0.3, half
    )
    wider = batch(
        order, torch.tensor([6.0, -6.0, 6.0, 4.0, 3.0, -6.0]), torch.zeros(6, 2) + 0.3, half + 4
    )
    np.testing.assert_allclose(wider[..., 4:-4, 4:-4], made, atol=1e-6)
    assert float(wider[..., :4, :].abs().max()) < 1e-6
    for number, coc_px, kernels in zip(
        order.tolist(), (6.0, -6.0, 6.0, 4.0, 3.0, -6.0), made, strict=True
    ):
        alone = kernels_of(lenses[number], coc_px, (0.3, 0.3), half)
        np.testing.assert_allclose(kernels, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"disparity": 0.0}, r"disparity must lie in \(0, 0.8\]"),
        ({"disparity": 0.4, "rim": 2.0}, "rim must lie in"),
        ({"disparity": 0.4, "softness": 0.9}, "softness must lie in"),
        ({"disparity": 0.4, "cat_eye": -0.1}, "cat_eye must lie in"),
        ({"disparity": 0.4, "swap": np.nan}, "swap must be finite"),
        ({"disparity": 0.4, "slope": 1.1}, r"slope must lie in \[0, 1\]"),
    ],
)
def test_impossible_lenses(keys, words):
    with pytest.raises(ValueError, match=words):
        ApertureParameters(**keys)


def test_the_model_is_nearer_to_a_pixel_4_s_kernels_than_the_families_are():
    """A measured far pair in the middle of the field, on which every model is centred.

    Ours is fitted (the best of three), the families have their defaults: a check that the model is
    of the right kind, and no contest.
    """
    views = pixel_4_bank()[2:4, 3:5].mean((0, 1))
    shift_px = tuple(float(place) for place in centroids(views.mean(0)))

    def residual(light):
        lens = Lens(light=light, window=WINDOW, shift_px=shift_px)
        return np.abs(kernels_of(lens, -12.6, half_px=30)[:, 1] - views).sum((-2, -1)).mean()

    ours = min(
        residual(ApertureParameters(disparity=disparity, rim=-0.1, softness=0.12))
        for disparity in (0.4, 0.45, 0.5)
    )
    theirs = [residual(family.aperture(family.parameters())) for family in PSF_FAMILIES.values()]
    assert ours < min(theirs)
