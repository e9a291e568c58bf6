"""Shots of scenes as a whole: reproducible, one effect at a time, targets that can be learned."""

import json
from dataclasses import replace

import numpy as np
import pytest

import synth
from synth.scene import Scene
from synth.shot import draw_shot
from synth.shot_ranges import ShotRanges

NOTHING = ShotRanges(
    highlights=(1.0, 1.0),
    shading=(0.0, 0.0),
    gain=0.0,
    mosaic_share=0.0,
    balance=(1.0, 1.0),
    contrast=(0.0, 0.0),
    shot_noise=(0.0, 0.0),
    read_noise=(0.0, 0.0),
    jpeg_share=0.0,
    spherical=(0.0, 0.0),
    lateral=0.0,
    axial=0.0,
    cat_eye=(0.0, 0.0),
    swap=(0.0, 0.0),
    bit_depth=16,
)
EFFECTS = {
    "spherical": (0.01, 0.01),
    "cat_eye": (0.5, 0.5),
    "swap": (-1.0, -1.0),
    "slope": (0.7, 0.7),
    "lateral": 0.02,
    "axial": 0.02,
    "highlights": (6.0, 6.0),
    "shading": (0.03, 0.03),
    "gain": 0.05,
    "mosaic_share": 1.0,
    "contrast": (0.4, 0.4),
    "shot_noise": (0.02, 0.02),
    "read_noise": (0.02, 0.02),
    "jpeg_share": 1.0,
}
ENTRY = {
    "spherical": "spherical_px",
    "lateral": "lateral_px",
    "axial": "axial_px",
    "highlights": "brightest",
    "mosaic_share": "demosaicing",
    "jpeg_share": "jpeg_quality",
}
"""What of a shot an effect is."""


def scene(height=40, width=56, seed=0):
    rng = np.random.default_rng(seed)
    image = np.kron(rng.random((height // 4, width // 4, 3)), np.ones((4, 4, 1)))
    image[:8, :8] = 1.0
    depth = np.linspace(1.0, 6.0, width)[None] * np.ones((height, 1))
    return Scene(f"scene{seed}", image.astype(np.float32), depth.astype(np.float32))


def taken(ranges, scenes=None, name="pair"):
    scenes = scenes or [scene()]
    shots = [
        draw_shot(synth.generator(3, f"{name}{i}/camera"), s, ranges) for i, s in enumerate(scenes)
    ]
    noise = [synth.generator(3, f"{name}{i}/noise") for i in range(len(scenes))]
    return synth.photograph(scenes, shots, noise), shots


def unit(picture):
    return picture.astype(float) / np.iinfo(picture.dtype).max


def test_pairs_are_the_same_alone_and_in_a_batch():
    scenes = [scene(seed=seed) for seed in range(3)]
    together, shots = taken(ShotRanges(blur=(0.03, 0.08)), scenes)
    for i in (0, 2):
        noise = synth.generator(3, f"pair{i}/noise")
        (alone,) = synth.photograph([scenes[i]], [shots[i]], [noise])
        for part in ("left", "right", "combined", "target", "coc_px"):
            np.testing.assert_array_equal(getattr(alone, part), getattr(together[i], part))
    assert not np.array_equal(together[0].left, together[1].left)
    json.dumps(shots[0].as_dict())


def flat(values, above=""):
    """Nested values by dotted names."""
    found = {}
    for name, value in values.items():
        inner = flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
        found |= inner
    return found


def test_an_effect_changes_its_own_entry_and_no_other_draw():
    def drawn(ranges):
        return flat(draw_shot(synth.generator(0, "a"), scene(), ranges).as_dict())

    base = drawn(NOTHING)
    for name, value in EFFECTS.items():
        other = drawn(replace(NOTHING, **{name: value}))
        changed = {key.rpartition(".")[2] for key in base if base[key] != other[key]}
        assert changed == {ENTRY.get(name, name)}, name


@pytest.mark.parametrize("name", sorted(EFFECTS))
def test_each_effect_is_seen_in_the_views(name):
    # A part of a frame, off its middle: a small picture has the kernels of its own middle.
    blur = {"blur": (0.03, 0.03), "frame_width_px": 150.0}
    (plain,), _ = taken(replace(NOTHING, **blur))
    (other,), _ = taken(replace(NOTHING, **blur, **{name: EFFECTS[name]}))
    assert np.abs(unit(plain.left) - unit(other.left)).mean() > 1e-4
    np.testing.assert_array_equal(plain.coc_px, other.coc_px)
    if name not in ("contrast", "lateral"):
        # What the scene shows below white is what is to be learned, whatever happens to the views.
        below = unit(plain.target).min(axis=2) < 0.89
        np.testing.assert_allclose(
            unit(plain.target)[below], unit(other.target)[below], atol=2e-5, err_msg=name
        )


def test_without_effects_the_target_is_the_scene_and_combined_the_mean_of_the_views():
    (pair,), _ = taken(NOTHING)
    np.testing.assert_allclose(unit(pair.target), scene().image, atol=2e-5)
    left, right, both = (
        synth.srgb_to_linear(unit(p)) for p in (pair.left, pair.right, pair.combined)
    )
    np.testing.assert_allclose(0.5 * (left + right), both, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target_blur", (0.5, 0.5)),
        ("target_exposure", 0.2),
        ("target_shift_px", 0.8),
        ("target_noise", 1.0),
        ("target_mosaic", True),
        ("target_jpeg", True),
    ],
)
def test_what_makes_targets_worse_is_seen_in_targets_alone(name, value):
    ranges = replace(
        NOTHING, shot_noise=(0.02, 0.02), mosaic_share=1.0, jpeg_share=1.0, blur=(0.1, 0.1)
    )
    (plain,), _ = taken(ranges)
    (other,), _ = taken(replace(ranges, **{name: value}))
    assert np.abs(unit(plain.target) - unit(other.target)).mean() > 1e-3
    np.testing.assert_array_equal(plain.left, other.left)


def test_a_near_point_lies_to_the_right_in_the_left_view():
    dot = np.zeros((41, 61, 3), np.float32)
    dot[20, 30] = 1.0
    for share, depth_m in ((1.0, 1.0), (0.0, 1.0)):
        flat = Scene("dot", dot, np.full((41, 61), depth_m, np.float32))
        (pair,), _ = taken(replace(NOTHING, near_share=share, blur=(0.08, 0.08)), [flat])
        sign = np.sign(pair.coc_px[20, 30])
        assert sign == (1.0 if share else -1.0)
        x = [
            (synth.srgb_to_linear(unit(view))[..., 1].sum(0) @ np.arange(61)) / light
            for view in (pair.left, pair.right)
            for light in [synth.srgb_to_linear(unit(view))[..., 1].sum()]
        ]
        assert 0.3 * 4.88 < sign * (x[0] - x[1]) < 0.6 * 4.88


def test_signs_and_radii_of_many_shots():
    ranges, found = ShotRanges(), {}
    for share in (0.0, 0.5, 1.0):
        near, most = [], []
        for number in range(60):
            shot = draw_shot(
                synth.generator(number, "x"), scene(), replace(ranges, near_share=share)
            )
            coc = shot.camera.coc_px(scene().depth_m, max_coc_px=shot.max_coc_px) / 56
            near.append((coc > 0).mean())
            most.append(np.abs(coc).max())
        found[share] = np.mean(near)
        assert 0.0059 < min(most) <= max(most) <= 0.0144
    assert found[0.0] < 0.2 < 0.4 < found[0.5] < 0.6 < 0.8 < found[1.0]


def test_families_are_drawn_by_weight():
    ranges = ShotRanges(families=("aperture", "butterworth", "measured"), weights=(6.0, 3.0, 0.0))
    drawn = [draw_shot(synth.generator(n, "x"), scene(), ranges).family for n in range(200)]
    assert drawn.count("measured") == 0
    assert drawn.count("butterworth") == pytest.approx(67, abs=20)


def test_a_bank_where_one_is_drawn():
    bank = synth.load_measured_bank(np.ones((2, 2, 2, 5, 5)), radius_px=2.0)
    shot = draw_shot(synth.generator(0, "x"), scene(), replace(NOTHING, families=("measured",)))
    (pair,) = synth.photograph([scene()], [shot], [synth.generator(0, "n")], bank=bank)
    np.testing.assert_array_equal(pair.left, pair.right)
    with pytest.raises(ValueError, match="a bank of measured kernels must come with it"):
        synth.photograph([scene()], [shot], [synth.generator(0, "n")])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"families": ("square",)}, "choose from aperture, measured"),
        ({"weights": (1.0, 2.0)}, "1 kernel families take 2 weights|take 1 weights|weights, got 2"),
        ({"disparity": (0.5, 0.4)}, "disparity must be two numbers"),
        ({"near_share": 1.5}, r"near_share must lie in \[0, 1\]"),
        ({"frame_width_px": 0.0}, "frame_width_px must be positive"),
    ],
)
def test_impossible_ranges(keys, words):
    with pytest.raises(ValueError, match=words):
        ShotRanges(**keys)


def test_batches_that_do_not_fit():
    shot = draw_shot(synth.generator(0, "x"), scene(), NOTHING)
    with pytest.raises(ValueError, match="one size"):
        synth.photograph([scene(), scene(48)], [shot] * 2, [synth.generator(0, "n")] * 2)
    with pytest.raises(ValueError, match="got 1 scenes, 0 shots"):
        synth.photograph([scene()], [], [synth.generator(0, "n")])
