"""A look at a pair: clean ones are not troubled, each fault is told by its name."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.content.likeness import likeness, nearest_of, perceptual_hash, signature, small_grey
from pipelines.content.look import Look, look_at_pair
from pipelines.content.picture import real_bits
from tests.pipelines.content.scenes import (
    WRONG,
    Pictures,
    clean,
    encoded,
    jpeg,
    mean,
    scaled,
    sharp,
    turned,
)
from tests.pipelines.deblur.test_notices import half_disks


def kinds(look: Look) -> list[str]:
    return [("!" if finding.fault else "") + finding.kind for finding in look.findings]


CLEAN = {
    "far": {"sign": -1},
    "near": {"sign": 1},
    "through focus": {},
    "strong blur": {"most": 9.0},
    "weak blur": {"most": 0.7},
    "noise": {"noise": 10.0},
    "low texture": {"contrast": 0.12},
    "16 bit": {"bits": 16},
}


@pytest.mark.parametrize("kind", CLEAN)
def test_a_clean_pair_is_not_troubled(kind: str) -> None:
    for seed in range(3):
        pair = clean(seed, **CLEAN[kind])  # type: ignore[arg-type]
        look = look_at_pair(*pair)
        assert kinds(look) == [], look.findings
        assert look.axis in ("rows", None)
        assert kinds(look_at_pair(pair.right, pair.left, pair.target)) == []


def test_small_changes_of_a_whole_pair_are_no_fault() -> None:
    pair = clean(4)
    for change in (lambda p: jpeg(p, 70), lambda p: scaled(p, 0.5), lambda p: p[:, ::-1].copy()):
        assert kinds(look_at_pair(*(change(picture) for picture in pair))) == []


@pytest.mark.parametrize("fault", WRONG)
def test_each_fault_is_told(fault: str) -> None:
    kind, make = WRONG[fault]
    for seed in range(3):
        wrong = make(clean(seed, most=5.0), clean(seed + 50, most=5.0))
        found = kinds(look_at_pair(*wrong))
        assert kind in found, (seed, found)
        # a fault is rejected, a doubt alone is not
        assert any(k.startswith("!") for k in found) == kind.startswith("!"), (seed, found)


def test_a_target_is_held_against_its_views_where_these_are_blurred_and_nowhere_else() -> None:
    """Of views that are blurred throughout and shifted in their lower half alone, the target is
    sharp above and as blurred as they are below."""
    light = sharp(1)
    left, right = half_disks(light, 5.0)
    both = 0.5 * (left + right)
    above = slice(0, len(light) // 2)
    target = both.copy()
    left[above] = right[above] = both[above]
    target[above] = light[above]
    rng = np.random.default_rng(1)
    pair = Pictures(*(encoded(one, 1.0, 8, rng) for one in (left, right, target)))
    assert "target-blurred" in kinds(look_at_pair(*pair))


def test_signs_and_axis() -> None:
    far, near = (look_at_pair(*clean(1, sign=sign, most=6.0)) for sign in (-1, 1))
    assert far.axis == near.axis == "rows"
    assert far.near == 0.0 and near.near == 1.0
    lower_is_nearer = look_at_pair(*clean(1, most=6.0))
    assert lower_is_nearer.downwards is not None and lower_is_nearer.downwards > 0.8
    pair = clean(1, most=6.0)
    exchanged = look_at_pair(pair.right, pair.left, pair.target)
    assert exchanged.downwards is not None and exchanged.downwards < -0.8
    assert look_at_pair(*turned(pair)).axis == "columns"


@pytest.mark.parametrize("pattern", ["waves", "stripes", "tiles", "rows"])
def test_patterns_that_fit_at_many_places_are_no_fault(pattern: str) -> None:
    y, x = np.ogrid[:500, :700]
    light = {
        "waves": 0.5 + 0.25 * np.sin((x + y) / 4),
        "stripes": 0.5 + 0.25 * np.sign(np.sin((x + 2 * y) / 5)),
        "tiles": 0.5 + 0.2 * np.sign(np.sin(x / 6)) + 0.2 * np.sign(np.sin(y / 5)),
        "rows": 0.5 + 0.3 * np.sin(y / 3) + 0 * x,
    }[pattern]
    rng = np.random.default_rng(0)
    views = [
        np.rint(np.roll(255 * light[..., None] + rng.normal(0, 0.5, (500, 700, 3)), shift, 1))
        for shift in (-1, 1)
    ]
    assert kinds(look_at_pair(*(view.clip(0, 255).astype(np.uint8) for view in views))) == []


def test_without_a_target_views_are_looked_at_all_the_same() -> None:
    pair, other = clean(2), clean(3)
    assert kinds(look_at_pair(pair.left, pair.right)) == []
    assert kinds(look_at_pair(pair.left, other.right)) == ["!different"]


def test_from_afar_only_what_is_certain_is_told() -> None:
    pair, other = clean(2), clean(3)
    found = look_at_pair(pair.left, pair.right, other.target, close=False)
    assert kinds(found) == ["!target"]
    beside = np.roll(pair.target, 10, 1)
    assert kinds(look_at_pair(pair.left, pair.right, beside, close=False)) == []


def test_views_of_two_scenes_are_told_from_afar_without_a_target() -> None:
    for seed in range(3):
        pair, other = clean(seed, most=9.0), clean(seed + 50, most=9.0)
        assert kinds(look_at_pair(pair.left, pair.right, close=False)) == []
        found = kinds(look_at_pair(pair.left, other.right, close=False))
        assert "!different" in found


def test_one_scene_has_one_hash_and_two_have_two() -> None:
    """Saved anew, smaller, brighter, cut by 1%: within the bits that count as one."""
    shown = [clean(seed).target for seed in range(24)]
    hashes = np.array([perceptual_hash(small_grey(p)) for p in shown], np.uint64)
    again = []
    for number, picture in enumerate(shown):
        other = jpeg(picture, 60)
        if number % 2:
            other = scaled(cv2.resize(other, None, fx=0.7, fy=0.7, interpolation=3), 1.15)
        else:
            other = other[2:-2, 2:-2]
        again.append(perceptual_hash(small_grey(other)))
    found = nearest_of(hashes, np.array(again, np.uint64), within=10)
    assert found == [(n, n) for n in range(24)]


def test_likeness_is_that_of_scenes_and_not_of_blur() -> None:
    a, b = clean(5, most=9.0), clean(6)
    one, blurred, other = (
        signature(small_grey(picture)) for picture in (a.target, mean(a), b.target)
    )
    assert likeness(one, blurred) > 0.9
    assert likeness(one, other) < 0.5
    assert likeness(one, np.zeros((20, 64), np.float32)) == 0.0


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_real_bits_are_counted_however_they_are_stored(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = rng.integers(0, 1 << bits, (40, 50, 3)).astype(np.uint16)
    above = values << (16 - bits)
    assert real_bits(above) == bits
    if bits < 16:
        repeated = above | (values >> max(2 * bits - 16, 0)) if bits >= 8 else above
        assert real_bits(repeated.astype(np.uint16)) == bits
        assert real_bits((above | np.uint16(1)).astype(np.uint16)) == bits


@pytest.mark.slow
def test_the_samples_are_clean(samples: Path) -> None:
    def read(path: Path) -> np.ndarray:
        picture = cv2.imread(str(path))
        assert picture is not None
        return picture

    pairs = []
    for left in sorted((samples / "dpd-blur-mini").glob("*_l/source/*.png")):
        split, name = left.parts[-3][:-2], left.name.replace("_L", "")
        folder = samples / "dpd-blur-mini"
        right = folder / f"{split}_r/source" / left.name.replace("_L", "_R")
        target = read(folder / f"{split}_c/target/{name}")
        pairs.append(Pictures(read(left), read(right), target))
    for folder in sorted((samples / "canon-r6ii/flat").iterdir()):
        views = [read(folder / f"{name}.png") for name in ("left", "right")]
        two = [read(folder / f"target_{name}.png").astype(int) for name in ("left", "right")]
        pairs.append(Pictures(*views, ((two[0] + two[1] + 1) // 2).astype(np.uint8)))
    assert len(pairs) == 10
    for number, pair in enumerate(pairs):
        assert kinds(look_at_pair(*pair)) == []
        other = pairs[number - 1].target
        if other.shape == pair.target.shape:
            found = kinds(look_at_pair(pair.left, pair.right, other, close=False))
            assert found == ["!target"]


def test_sharp_pictures_of_the_tests_are_unlike_each_other() -> None:
    """What the other tests rest on."""
    shown = [signature(np.asarray(sharp(seed)[::4, ::4], np.float32)) for seed in range(8)]
    assert max(likeness(a, b) for a in shown for b in shown if a is not b) < 0.5
