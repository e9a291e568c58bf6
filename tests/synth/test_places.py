"""Ray-cast places: depth and texture against geometry done otherwise, mattes, purity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth import generator, srgb_to_linear
from synth.sources import materials, places
from synth.sources.develop import develop
from synth.sources.overlays import CutOut, Wire, draw
from synth.sources.places import place_scene
from synth.sources.raycast import Cylinder, Quad, Sphere, View, cast
from synth.sources.ripmap import RipMap
from synth.sources.shading import Blocker, Light, Material, shade

SIZE = (60, 80)
DAY = Light(np.array([0.0, 1e4, 0.0]), np.zeros(3), np.inf, np.full(3, 1.0))
"""From above and all around alike: no shadows."""


def look(solids, view, textures, overlays=(), light=DAY, blockers=()):
    found = [Material(RipMap(t), (1.0, 1.0), shines=light is DAY) for t in textures]
    hits = cast(view, solids)
    linear = shade(view, hits, solids, found, light, blockers)
    draw(view, overlays, linear, hits)
    return develop("s", linear, hits)


def paint(value):
    return np.full((2, 2, 3), value, np.float32)


def wall(distance_m, *, side=60.0, material=0):
    corner = np.array([-0.5 * side, -0.5 * side, distance_m])
    return Quad(corner, np.array([side, 0.0, 0.0]), np.array([0.0, side, 0.0]), material)


def rays(view):
    """Directions of the pixel centres in the world, depth 1 along the axis: (H, W, 3)."""
    height, width = view.size
    x = (np.arange(width) - (width - 1) / 2) / view.focal_px
    y = (np.arange(height) - (height - 1) / 2) / view.focal_px
    seen = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
    return seen @ view.axes


@settings(max_examples=20, deadline=None)
@given(
    pitch=st.floats(-0.6, 0.3),
    yaw=st.floats(-1.0, 1.0),
    roll=st.floats(-0.2, 0.2),
    height=st.floats(0.4, 2.0),
)
def test_depth_of_ground_and_wall_is_where_rays_meet_them(pitch, yaw, roll, height):
    view = View.at(SIZE, field_of_view=1.0, height_m=height, yaw=yaw, pitch=pitch, roll=roll)
    ground = Quad(
        np.array([-500.0, 0.0, -500.0]), np.array([1000.0, 0, 0]), np.array([0, 0, 1000.0]), 0
    )
    depth_m = look(
        [ground, wall(7.0, side=900.0, material=1)], view, [paint(0.2), paint(0.9)]
    ).depth_m
    way = rays(view)
    with np.errstate(divide="ignore"):
        to_ground, to_wall = -height / way[..., 1], 7.0 / way[..., 2]
    expected = np.minimum(
        np.where(to_ground > 0, to_ground, np.inf), np.where(to_wall > 0, to_wall, np.inf)
    )
    nearer = to_ground < to_wall
    inside = np.ones(SIZE, bool)  # pixels whose neighbours see the same of the two
    for axis in (0, 1):
        for step in (-1, 1):
            inside &= nearer == np.roll(nearer, step, axis)
    inside[[0, -1]] = inside[:, [0, -1]] = False
    np.testing.assert_allclose(depth_m[inside], expected[inside], rtol=2e-4)


def test_depth_of_round_things_is_where_rays_meet_them():
    view = View.at(SIZE, field_of_view=0.9, height_m=1.2, yaw=0.2, pitch=-0.25, roll=0.1)
    centre, foot = np.array([-0.3, 0.5, 3.0]), np.array([0.9, 0.0, 3.5])
    solids = [wall(9.0), Sphere(centre, 0.5, 0), Cylinder(foot, 0.3, 1.0, 0)]
    hits = cast(view, solids)
    depth_m = develop("s", np.ones((*hits.solid.shape, 3), np.float32), hits).depth_m
    points = view.position + depth_m[..., None] * rays(view)
    whole = hits.solid.reshape(SIZE[0], 2, SIZE[1], 2).transpose(0, 2, 1, 3).reshape(*SIZE, 4)
    for number, off in (
        (1, np.linalg.norm(points - centre, axis=-1) - 0.5),
        (2, np.hypot(points[..., 0] - foot[0], points[..., 2] - foot[2]) - 0.3),
    ):
        on = (whole == number).all(axis=-1)
        assert on.sum() > 100
        assert np.quantile(np.abs(off[on]), 0.9) < 2e-3
        assert np.abs(off[on]).max() < 0.03  # at the limb, samples of a pixel lie far apart
    middle = np.unravel_index(np.argmin(np.where(whole[..., 0] == 1, depth_m, 9)), SIZE)
    normal = (points[middle] - centre) / 0.5
    seen = hits.normal[:, 2 * middle[0], 2 * middle[1]]
    np.testing.assert_allclose(seen, view.turned(normal), atol=0.06)


@pytest.mark.parametrize(("distance_m", "side"), [(2.0, 64), (5.0, 64), (2.0, 256)])
def test_a_checker_has_the_period_that_its_distance_gives(distance_m, side):
    """Fields of 1/8 m on a wall that the camera faces: period 2 f / (8 distance) pixels."""
    # Half a field at the ends, so that it goes on when it is mirrored.
    x, y = np.floor(np.indices((side, side)) * 8 / side + 0.5)
    checker = np.repeat(((x + y) % 2)[..., None], 3, axis=2).astype(np.float32)
    view = View.at((96, 256), field_of_view=0.8, height_m=1.03)
    image = srgb_to_linear(look([wall(distance_m)], view, [checker]).image)
    row = image[40, :, 0] - image[40, :, 0].mean()
    power = np.abs(np.fft.rfft(row * np.hanning(len(row)), 8192))
    period = 8192 / np.argmax(power)
    assert period == pytest.approx(2 * view.focal_px / (8 * distance_m), rel=0.01)


def test_textures_are_sharp_near_and_averaged_far():
    """Along the ground: full contrast of fields of many pixels, none of fields below a pixel."""
    x, y = np.floor(np.indices((256, 256)) * 8 / 256 + 0.5)
    checker = np.repeat(((x + y) % 2)[..., None], 3, axis=2).astype(np.float32)
    view = View.at((200, 256), field_of_view=0.9, height_m=0.6, pitch=-0.3)
    ground = Quad(np.array([-90.0, 0, 0]), np.array([180.0, 0, 0]), np.array([0, 0, 180.0]), 0)
    scene = look([wall(170.0, side=900.0), ground], view, [checker])
    image, field_px = srgb_to_linear(scene.image)[..., 0], view.focal_px / 8 / scene.depth_m
    assert image[field_px > 5].std() > 0.4
    far = (scene.depth_m > 30) & (scene.depth_m < 160)
    assert far.sum() > 500
    assert image[far].std() < 0.05
    assert image[far].mean() == pytest.approx(0.5, abs=0.03)


def test_outlines_are_as_bright_as_their_cover():
    """A white half-plane aslant before black: the light of a pixel is its share of the pixel."""
    view = View.at(SIZE, field_of_view=0.8, height_m=0.0)
    angle = np.deg2rad(12.0)
    across = np.array([np.cos(angle), np.sin(angle), 0.0])
    up = np.array([-np.sin(angle), np.cos(angle), 0.0])
    card = Quad(np.array([0.0, 0.0, 2.0]) - 20 * across, 40 * across, 20 * up, 1)
    scene = look([wall(5.0), card], view, [paint(0.0), paint(1.0)])
    light = srgb_to_linear(scene.image)[..., 0]
    way = rays(view) * 2.0
    fine = (np.arange(16) - 7.5) / 16 / view.focal_px * 2.0
    offsets = np.stack([*np.meshgrid(fine, fine), np.zeros((16, 16))], axis=-1).reshape(-1, 3)
    share = np.mean([(way + o) @ up > 0 for o in offsets], axis=0)
    np.testing.assert_allclose(light, share, atol=0.26)  # four samples a pixel
    assert np.abs(light - share).mean() < 0.01
    between = (light > 0.1) & (light < 0.9)
    assert between.sum() > 30
    # Half a pixel or more is the card's: its depth; less: the wall's. Never one between.
    depths = np.isclose(scene.depth_m, 2.0, rtol=1e-3), np.isclose(scene.depth_m, 5.0, rtol=1e-3)
    assert (depths[0] | depths[1]).all()
    assert depths[0][light > 0.45].all()
    assert depths[1][light < 0.45].all()


def test_wires_have_the_width_and_depth_of_where_they_hang():
    view = View.at(SIZE, field_of_view=0.8, height_m=0.0)
    light = []
    for radius_px in (0.1, 3.0):
        radius = np.full(2, radius_px * 2.0 / view.focal_px)
        wire = Wire(np.array([[0.05, -2.0, 2.0], [0.05, 2.0, 2.0]]), radius, np.ones(3))
        scene = look([wall(5.0)], view, [paint(0.0)], [wire])
        row = srgb_to_linear(scene.image)[30, :, 0]
        light.append(row.sum())
        wide_px = np.isclose(scene.depth_m[30], 2.0).sum()
        # Below half a pixel the wall keeps its depth.
        assert wide_px == 0 if radius_px < 0.25 else abs(wide_px - 6) <= 1
    np.testing.assert_allclose(light, [0.2, 6.0], rtol=0.15)


def test_cut_outs_hide_as_their_matte_says():
    view = View.at(SIZE, field_of_view=0.8, height_m=0.0)
    picture = np.zeros((8, 8, 4), np.float32)
    picture[:, 4:] = [0.5, 0.25, 0.0, 1.0]
    leaf = wall(2.0, side=1.0)
    cut_out = CutOut(leaf, RipMap(picture), np.ones(3))
    scene = look([wall(5.0)], view, [paint(0.125)], [cut_out])
    light = srgb_to_linear(scene.image)
    np.testing.assert_allclose(light[30, 46:55], [[0.5, 0.25, 0.0]] * 9, atol=2e-3)
    np.testing.assert_allclose(light[30, :25], 0.125, atol=2e-3)
    np.testing.assert_allclose(scene.depth_m[30, 46:55], 2.0, rtol=1e-4)
    np.testing.assert_allclose(scene.depth_m[30, :36], 5.0, rtol=1e-4)


def test_a_box_throws_its_shadow_away_from_the_lamp():
    view = View.at(SIZE, field_of_view=1.2, height_m=2.0, pitch=-0.7)
    ground = Quad(np.array([-9.0, 0, -1.0]), np.array([18.0, 0, 0]), np.array([0, 0, 18.0]), 0)
    sun = Light(np.array([-1e4, 1e4, 0.0]), np.full(3, 0.8), np.inf, np.full(3, 0.1))
    block = Blocker(np.array([-0.5, 0.25, 2.0]), np.array([0.25, 0.25, 0.25]), 0.0, 1)
    lit = look([wall(60.0), ground], view, [paint(1.0)], light=sun)
    dark = look([wall(60.0), ground], view, [paint(1.0)], light=sun, blockers=[block])
    ratio = srgb_to_linear(dark.image)[..., 0] / srgb_to_linear(lit.image)[..., 0]
    points = view.position + lit.depth_m[..., None] * rays(view)
    x, z = points[..., 0], points[..., 2]
    # The sun stands 45 degrees high on the left: the shadow of its top falls 0.5 m to the right.
    shadow = (x > -0.2) & (x < 0.15) & (np.abs(z - 2.0) < 0.15)
    assert shadow.sum() > 10
    assert ratio[shadow].max() < 0.3
    assert ratio[(x > 0.45) & (z > 1.0) & (z < 3.0)].min() > 0.9
    assert ratio[x < -1.6].min() > 0.9


def photographs(count=3):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("build", [b for b, _ in places._PLACES], ids=lambda b: b.__name__)
@pytest.mark.parametrize("textured", [True, False])
def test_places_are_lawful_scenes(build, textured, monkeypatch):
    monkeypatch.setattr(places, "_PLACES", ((build, 1.0),))
    near, far = [], []
    for seed in range(3):
        scene = place_scene(
            generator(seed, "s"),
            scene_id="s",
            size=(48, 64),
            textures=photographs() if textured else None,
        )
        assert scene.image.shape == (48, 64, 3)
        assert scene.image.dtype == scene.depth_m.dtype == np.float32
        assert 0.05 < scene.image.mean() < 0.9
        near.append(scene.depth_m.min())
        far.append(scene.depth_m.max())
    assert min(near) > 0.2
    assert max(far) < 45.0
    assert np.median(np.array(far) / near) > 2.0


def test_skies_are_paler_towards_the_horizon():
    """Blue stands out by more above than below, in the mean over what clouds leave of it."""
    skies = np.mean([materials.sky(generator(seed, "sky"), 32) for seed in range(12)], axis=0)
    assert (skies >= 0.0).all() and (skies <= 1.0).all()
    blue = (skies[..., 2] / skies[..., 0]).mean(axis=1)
    assert blue[:8].mean() > 1.1 * blue[-8:].mean()


def test_the_same_stream_gives_the_same_place_whatever_was_made_before():
    def make(name):
        return place_scene(generator(3, name), scene_id="x", size=(40, 56), textures=photographs())

    first = make("x")
    make("y")
    again = make("x")
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.depth_m, again.depth_m)
    assert not np.array_equal(first.depth_m, make("y").depth_m)


def test_cut_outs_end_before_their_picture_does():
    """No leaf is cut off by the edge of its picture, with photographs or without."""
    for seed in range(6):
        for given_ in ([], photographs()):
            found = materials.foliage(np.random.default_rng(seed), given_, 128)
            rim = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
            assert np.abs(rim).max() == 0.0
            assert 0.02 < found[..., 3].mean() < 0.9


def test_bad_sizes_and_textures_are_refused():
    with pytest.raises(ValueError, match="16 x 16"):
        place_scene(generator(0, ""), scene_id="s", size=(8, 64))
    with pytest.raises(ValueError, match="texture 1"):
        place_scene(
            generator(0, ""),
            scene_id="s",
            size=(32, 32),
            textures=[*photographs(1), np.zeros((4, 4, 2), np.uint8)],
        )
    with pytest.raises(ValueError, match="powers of two"):
        RipMap(np.zeros((48, 64, 3), np.float32))
