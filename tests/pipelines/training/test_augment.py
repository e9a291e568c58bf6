"""Augmentation keeps dual-pixel geometry. The oracle looks the patch up in the picture."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.training.augment import Augmentation

PATCH = 16


def picture(offset: int, dtype: type = np.uint16, height: int = 24, width: int = 31) -> np.ndarray:
    """Every pixel has a value of its own, different in pictures of other offsets."""
    values = np.arange(height * width * 3).reshape(height, width, 3) + offset
    return values.astype(dtype)


@pytest.fixture(scope="module")
def augment() -> Augmentation:
    return Augmentation(PATCH)


def place_and_flips(patch: np.ndarray, whole: np.ndarray) -> tuple[int, int, bool, bool]:
    """Find where a patch was cut and how it was flipped; there is exactly one answer."""
    found = []
    for horizontally in (False, True):
        for vertically in (False, True):
            back = patch[:: -1 if vertically else 1, :: -1 if horizontally else 1]
            y, x = np.argwhere((whole == back[0, 0]).all(-1))[0]
            if np.array_equal(whole[y : y + PATCH, x : x + PATCH], back):
                found.append((int(y), int(x), horizontally, vertically))
    assert len(found) == 1
    return found[0]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_horizontal_flip_swaps_the_views(augment: Augmentation, seed: int) -> None:
    left, right, target = picture(0), picture(5000), picture(10000)
    patch = augment(left, right, target, seed=seed)
    y, x, horizontally, vertically = place_and_flips(patch.target, target)
    views = (right, left) if horizontally else (left, right)
    assert place_and_flips(patch.left, views[0]) == (y, x, horizontally, vertically)
    assert place_and_flips(patch.right, views[1]) == (y, x, horizontally, vertically)


def test_all_flips_and_many_places_occur(augment: Augmentation) -> None:
    target = picture(0)
    seen = [
        place_and_flips(augment(target, target, target, seed=s).target, target) for s in range(80)
    ]
    flips = Counter((horizontally, vertically) for *_, horizontally, vertically in seen)
    assert len(flips) == 4  # albumentations' own seeding ties the two flips together
    assert min(flips.values()) >= 10
    assert len({(y, x) for y, x, *_ in seen}) > 40


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_and_bit_depth_stay(augment: Augmentation, dtype: type) -> None:
    whole = picture(0, dtype)
    patch = augment(whole, whole, whole, seed=3)
    for part in (patch.left, patch.right, patch.target):
        assert part.dtype == dtype and part.shape == (PATCH, PATCH, 3)
    assert np.isin(patch.left, whole).all()


def test_the_seed_is_all_that_matters(augment: Augmentation) -> None:
    whole = picture(0)
    first = augment(whole, whole, whole, seed=11)
    augment(whole, whole, whole, seed=12)
    again = Augmentation(PATCH)(whole, whole, whole, seed=11)
    assert np.array_equal(first.left, augment(whole, whole, whole, seed=11).left)
    assert np.array_equal(first.left, again.left)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31 - 1))
def test_the_radius_goes_with_the_pictures(augment: Augmentation, seed: int) -> None:
    whole = picture(0)
    coc = (whole[..., 0] - 1000.0).astype(np.float16)  # each pixel tells where it is from
    coc[3, 4:20] = np.nan
    patch = augment(whole, whole, whole, coc, seed=seed)
    assert patch.coc is not None and patch.coc.dtype == np.float16
    expected = (patch.target[..., 0] - 1000.0).astype(np.float16)
    lost = np.isnan(patch.coc)
    np.testing.assert_array_equal(patch.coc[~lost], expected[~lost])
    assert np.isin(patch.target[lost], whole[3, 4:20]).all()
    assert lost.sum() == np.isin(patch.target[..., 0], whole[3, 4:20, 0]).sum()


def test_asking_for_the_radius_changes_no_patch(augment: Augmentation) -> None:
    whole, coc = picture(0), np.zeros((24, 31), np.float16)
    for seed in range(20):
        without, with_it = (
            augment(whole, whole, whole, seed=seed),
            augment(whole, whole, whole, coc, seed=seed),
        )
        assert np.array_equal(without.target, with_it.target)


def disparity_px(left: np.ndarray, right: np.ndarray, most: int = 4) -> int:
    """x_L - x_R of a patch, by trying all shifts."""
    inside = slice(most, -most)

    def error(shift: int) -> float:
        moved = np.roll(right, shift, axis=1)
        return float(np.abs(left[:, inside] - moved[:, inside].astype(float)).mean())

    return min(range(-most, most + 1), key=error)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    half_px=st.sampled_from([-2, -1, 0, 1, 2]),
    exchange=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_plane_stays_on_its_side_of_focus_unless_its_views_change_places(
    seed: int, half_px: int, exchange: float
) -> None:
    """Texture at a depth: x_L - x_R is twice half_px, positive where nearer than focus."""
    texture = np.random.default_rng(7).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    left, right = np.roll(texture, half_px, axis=1), np.roll(texture, -half_px, axis=1)
    coc = np.full((40, 60), 3.0 * half_px, np.float16)
    patch = Augmentation(32, exchange)(
        left[:, 8:-8], right[:, 8:-8], texture[:, 8:-8], coc[:, 8:-8], seed=seed
    )
    assert patch.coc is not None
    found = disparity_px(patch.left, patch.right)
    assert (patch.coc == 1.5 * found).all()
    if exchange != 0.5:
        assert found == (-2 if exchange else 2) * half_px


def test_half_of_the_patches_change_places_whatever_else_is_drawn() -> None:
    """Not only on the whole: by flip, and where the patch is cut in the picture."""
    left, right = picture(0), picture(5000)
    never, half = Augmentation(PATCH), Augmentation(PATCH, 0.5)
    seen: Counter[tuple[bool, bool]] = Counter()
    draws = []
    for seed in range(300):
        plain = never(left, right, left, seed=seed)
        patch = half(left, right, left, seed=seed)
        exchanged = np.array_equal(patch.left, plain.right)
        assert np.array_equal(patch.right, plain.left if exchanged else plain.right)
        assert np.array_equal(patch.target, plain.target)
        seen[exchanged, plain.left.min() >= 5000] += 1
        draws.append((exchanged, *place_and_flips(plain.target, left)))
    assert min(seen.values()) > 45 and len(seen) == 4
    correlations = np.corrcoef(np.array(draws, float), rowvar=False)[0, 1:]
    assert np.abs(correlations).max() < 0.2  # 3.5 standard deviations of what chance gives


def test_a_picture_smaller_than_the_patch_is_continued(augment: Augmentation) -> None:
    for height, width in ((9, 40), (40, 9), (9, 11)):
        whole = picture(0, height=height, width=width)
        patch = augment(whole, whole, whole, whole[..., 0].astype(np.float16), seed=1)
        assert patch.coc is not None and np.array_equal(patch.coc, patch.left[..., 0])
        assert patch.left.shape == (PATCH, PATCH, 3)
        assert np.isin(patch.left, whole).all()
        # Values rise along both axes of the picture; a mirrored part of it would turn that round.
        for axis in (0, 1):
            steps = np.diff(patch.left.astype(int), axis=axis)
            assert (steps >= 0).all() or (steps <= 0).all()


def test_pictures_of_a_patch_change_their_colours_alike() -> None:
    left, right = picture(0), picture(5000)
    plain, coloured = Augmentation(PATCH), Augmentation(PATCH, recolour=0.5)
    seen: Counter[str] = Counter()
    for seed in range(300):
        before, after = (f(left, right, left, seed=seed) for f in (plain, coloured))
        channels = [after.left[..., c].astype(int) for c in range(3)]
        if np.array_equal(before.left, after.left):
            seen["as it was"] += 1
            assert np.array_equal(before.right, after.right)
        elif np.array_equal(channels[0], channels[1]) and np.array_equal(*channels[1:]):
            seen["grey"] += 1
            assert np.ptp(after.right, axis=-1).max() == 0 == np.ptp(after.target, axis=-1).max()
        else:
            seen["shuffled"] += 1
            order = [
                next(k for k in range(3) if np.array_equal(before.left[..., k], channels[c]))
                for c in range(3)
            ]
            assert sorted(order) == [0, 1, 2]
            assert np.array_equal(after.right, before.right[..., order])
            assert np.array_equal(after.target, before.target[..., order])
    # A sixth of all orders is the one that the channels had.
    assert 50 < seen["grey"] < 105 and 40 < seen["shuffled"] < 90


def test_equal_views_are_their_own_target() -> None:
    left, right, target = picture(0), picture(5000), picture(9000)
    coc = np.full(left.shape[:2], 3.0, np.float16)
    plain, some = Augmentation(PATCH), Augmentation(PATCH, same_views=0.5)
    seen: Counter[str] = Counter()
    for seed in range(300):
        before, after = (f(left, right, target, coc, seed=seed) for f in (plain, some))
        assert before.coc is not None and after.coc is not None
        if np.array_equal(after.left, before.left) and np.array_equal(after.right, before.right):
            seen["pair"] += 1
            assert np.array_equal(after.coc, before.coc)
            continue
        assert np.array_equal(after.left, after.right) and np.array_equal(after.left, after.target)
        if np.array_equal(after.left, before.target):
            seen["sharp"] += 1
            assert (after.coc == 0).all()
        else:
            seen["blurred"] += 1
            assert np.array_equal(after.left, before.left)
            assert np.isnan(after.coc).all()
    assert 110 < seen["pair"] < 190 and min(seen.values()) > 45


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_feature_half_of_the_patches_get_noise_in_their_views_alone(dtype):
    """Of every strength up to the greatest; each view its own; white or shared by neighbours."""
    white = np.iinfo(dtype).max
    grey = np.full((64, 64, 3), white // 2, dtype)
    some = Augmentation(64, noise=0.1)
    deviations, shared = [], []
    for seed in range(200):
        patch = some(grey, grey, grey, seed=seed)
        assert np.array_equal(patch.target, grey)
        noise = [(view.astype(float) - white // 2) / white for view in patch[:2]]
        if np.array_equal(patch.left, grey):
            assert np.array_equal(patch.right, grey)
            continue
        deviations.append([np.std(one) for one in noise])
        beside = np.mean(noise[0][:, 1:] * noise[0][:, :-1]) / np.var(noise[0])
        if deviations[-1][0] > 0.02:  # else rounding to 8 bit counts
            shared.append(beside)
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2
    assert 70 < len(deviations) < 130
    left, right = np.array(deviations).T
    np.testing.assert_allclose(left, right, rtol=0.15, atol=1e-3)
    assert 0.085 < left.max() < 0.115
    assert 0.04 < left.mean() < 0.06
    # The binomial's neighbours have a correlation of 2/3.
    white_noise = [one for one in shared if abs(one) < 0.15]
    smooth_noise = [one for one in shared if abs(one - 2 / 3) < 0.15]
    assert len(white_noise) + len(smooth_noise) == len(shared)
    assert min(len(white_noise), len(smooth_noise)) > len(shared) / 4


def test_feature_views_that_are_one_picture_share_one_noise_with_their_target():
    """Half of them get some: noise that both views show is the picture's own, grain or dither."""
    pair = [picture(offset) for offset in (0, 3000, 6000)]
    clean, noisy = (Augmentation(PATCH, same_views=1.0, noise=noise) for noise in (0.0, 0.5))
    changed = 0
    for seed in range(60):
        patch = noisy(*pair, seed=seed)
        assert np.array_equal(patch.left, patch.right)
        assert np.array_equal(patch.left, patch.target)
        changed += not np.array_equal(patch.target, clean(*pair, seed=seed).target)
    assert 18 < changed < 42
