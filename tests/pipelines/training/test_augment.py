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
    assert all(p.dtype == dtype and p.shape == (PATCH, PATCH, 3) for p in patch)
    assert np.isin(patch.left, whole).all()


def test_the_seed_is_all_that_matters(augment: Augmentation) -> None:
    whole = picture(0)
    first = augment(whole, whole, whole, seed=11)
    augment(whole, whole, whole, seed=12)
    again = Augmentation(PATCH)(whole, whole, whole, seed=11)
    assert np.array_equal(first.left, augment(whole, whole, whole, seed=11).left)
    assert np.array_equal(first.left, again.left)


def test_a_picture_smaller_than_the_patch_is_continued(augment: Augmentation) -> None:
    for height, width in ((9, 40), (40, 9), (9, 11)):
        whole = picture(0, height=height, width=width)
        patch = augment(whole, whole, whole, seed=1)
        assert patch.left.shape == (PATCH, PATCH, 3)
        assert np.isin(patch.left, whole).all()
        # Values rise along both axes of the picture; a mirrored part of it would turn that round.
        for axis in (0, 1):
            steps = np.diff(patch.left.astype(int), axis=axis)
            assert (steps >= 0).all() or (steps <= 0).all()
