"""What is noticed about a pair: each fault made here is told, and a sound pair is not troubled."""

import functools
import re

import numpy as np
import pytest

from pipelines.deblur.notices import look
from tests.pipelines.deblur.pictures import scene

NAMES = ("1_L.png", "1_R.png")
SIZE = (360, 480)


@functools.cache
def fine(seed: int = 0) -> np.ndarray:
    """A sharp picture: rectangles of random values and fine texture, floats in [0, 255]."""
    rng = np.random.default_rng(seed)
    picture = np.full((SIZE[0] + 80, SIZE[1] + 80), 128.0)
    for _ in range(900):
        y, x = rng.integers(0, picture.shape[0] - 8), rng.integers(0, picture.shape[1] - 8)
        h, w = rng.integers(4, 40, 2)
        picture[y : y + h, x : x + w] = rng.uniform(20, 235)
    return picture


def half_disks(picture: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The two views of a plane out of focus: each blurred by one half of a disk."""
    reach = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    views = []
    for side in (-1, 1):
        kernel = disk * np.clip(0.5 + side * x, 0, 1)
        kernel /= kernel.sum()
        whole = np.zeros(picture.shape)
        whole[: kernel.shape[0], : kernel.shape[1]] = kernel
        whole = np.roll(whole, (-reach, -reach), (0, 1))
        spectrum = np.fft.rfft2(picture) * np.fft.rfft2(whole)
        views.append(np.fft.irfft2(spectrum, picture.shape))
    return views[0], views[1]


def finished(
    picture: np.ndarray, noise: float = 1.0, seed: int = 1, dtype: type = np.uint8
) -> np.ndarray:
    """Cut to size, with noise, as colours."""
    cut = picture[40 : 40 + SIZE[0], 40 : 40 + SIZE[1]]
    noisy = cut + np.random.default_rng(seed).normal(0, noise, cut.shape)
    values = np.clip(noisy, 0, 255) * (257 if dtype is np.uint16 else 1)
    return np.repeat(np.rint(values).astype(dtype)[..., None], 3, 2)


@functools.cache
def pair(dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """In focus on top, more and more blurred below, as a camera takes it."""
    picture = fine()
    left, right = picture.copy(), picture.copy()
    for row, radius in ((150, 2.0), (240, 4.0), (330, 7.0)):
        one, other = half_disks(picture, radius)
        left[row:], right[row:] = one[row:], other[row:]
    return finished(left, dtype=dtype), finished(right, seed=2, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_sound_pair_is_not_troubled(dtype: type) -> None:
    left, right = pair(dtype)
    noticed = look(left, right, NAMES)
    assert noticed.lines == () and not noticed.vertical
    exchanged = look(right, left, NAMES)  # near for far: as sound
    assert exchanged.lines == () and not exchanged.vertical


def test_vertical_parallax_is_turned() -> None:
    left, right = (np.ascontiguousarray(np.rot90(view)) for view in pair())
    noticed = look(left, right, NAMES)
    assert noticed.vertical and "parallax is vertical" in noticed.lines[0]
    assert len(noticed.lines) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("equal", "the views are equal"),
        ("sharp", "sharp already"),
        ("stereo", "not a dual-pixel pair: sharp detail is shifted by up to 9 px"),
        ("cropped", "shifted by 3.0 px across the parallax"),
        ("scaled", r"differ in scale by (1.9|2.0|2.1)%"),
        ("dark", r"right view is 1.4\d times as bright"),
        ("other", "show different things"),
    ],
)
def test_a_fault_is_told_in_one_line(fault: str, words: str) -> None:
    sharp = fine()
    left, right = finished(sharp), finished(sharp, seed=2)
    if fault == "equal":
        right = left
    elif fault == "stereo":
        right = finished(np.roll(sharp, 9, 1), seed=2)
    elif fault == "cropped":
        left, right = pair()
        left, right = left[3:], right[:-3]
    elif fault == "scaled":
        y, x = ((np.arange(n) - n / 2) * 1.02 + n / 2 for n in sharp.shape)
        rows = np.clip(np.rint(y), 0, sharp.shape[0] - 1).astype(int)
        columns = np.clip(np.rint(x), 0, sharp.shape[1] - 1).astype(int)
        right = finished(sharp[rows][:, columns], seed=2)
    elif fault == "dark":
        left, right = pair()
        left = (left * 0.7).astype(np.uint8)
    elif fault == "other":
        right = finished(fine(5), seed=2)
    lines = look(left, right, NAMES).lines
    assert len(lines) == 1 and re.search(words, lines[0]), lines


def test_names_that_contradict_are_told() -> None:
    left, right = pair()
    (line,) = look(left, right, ("1_R.png", "1_L.png")).lines
    assert "by their names the views are exchanged: 1_R.png" in line
    (line,) = look(left, right, ("1_L.png", "2_L.png")).lines
    assert "both are left views" in line


def test_little_to_see_says_nothing_of_parallax() -> None:
    small = scene(0, 3, np.uint8)
    assert look(small, scene(1, 3, np.uint8), NAMES).lines == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_view_of_nothing_is_told_and_not_compared(dtype: type) -> None:
    white = np.iinfo(dtype).max
    view = scene(0, 3, dtype)
    for level, word in ((0, "black"), (white, "white"), (white // 3, "of one value")):
        nothing = np.full_like(view, level)
        nothing[0, 0] ^= 1  # not equal to another one to the bit
        (line,) = look(view, nothing, NAMES).lines
        assert line.startswith(f"the right picture shows nothing: it is {word}"), line
        assert line.endswith("give the two views of one exposure")
        assert len(look(nothing, np.full_like(view, level), NAMES).lines) == 2
    night = (view // 40).astype(dtype)
    lines = look(night, night[:, ::-1].copy(), NAMES).lines
    assert [line.partition(":")[0] for line in lines] == [
        f"the {side} picture is nearly black" for side in ("left", "right")
    ]
