"""What a person must not see in an answer of the weights in the box: noise, halos, borders, harm.

The pairs are made here, by a convolution in linear light: each view of a point out of focus is the
light of a disc that falls off to the other side, so that the views' centroids lie 0.38 radii apart.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.signal import fftconvolve

import k3dn
from k3dn import box
from k3dn.metrics import psnr

pytestmark = pytest.mark.slow  # together half a minute, of weights that a change rarely touches

PACKED = ["nano", "tiny"]
GAMMA = 2.2
Picture = NDArray[np.float64]


@cache
def restorer(name: str) -> k3dn.Restorer:
    return k3dn.Restorer(box.load(name), precision="fp32")


def restored(name: str, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Picture:
    answer = restorer(name)(left, right)
    assert answer.dtype == np.uint8 and answer.shape == left.shape
    return answer / 255.0


def photograph(name: str) -> Picture:
    """A crop of a photograph, ``(192, 192, 3)`` in [0, 1]: a face, wood and metal, fur, print."""
    crops = {
        "astronaut": skimage.data.astronaut()[:192, 130:322],
        "coffee": skimage.data.coffee()[120:312, 180:372],
        "fur": skimage.data.cat()[40:232, 130:322],
        "print": np.stack([np.pad(skimage.data.text(), ((0, 20), (0, 0)), "edge")] * 3, -1)[
            :, :192
        ],
    }
    return crops[name] / 255.0


def kernel(radius: float, side: int) -> Picture:
    """The light of one view, centred. radius: in px, positive for far; side: -1 left, 1 right."""
    reach = int(np.ceil(abs(radius))) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    disc = np.clip(abs(radius) + 0.5 - np.hypot(x, y), 0.0, 1.0)
    light = disc * np.clip(0.5 + 0.45 * side * x / radius, 0.0, 1.0)
    return light / light.sum()


def kernel_beside_the_middle(radius: float, side: int) -> Picture:
    """As at the right of a Pixel 4's field: the left view a crescent, the right a whole disc."""
    reach = int(np.ceil(abs(radius))) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    disc = np.clip(abs(radius) + 0.5 - np.hypot(x, y), 0.0, 1.0)
    light = disc if side == 1 else disc * np.exp(-2.0 * x / radius)
    return light / light.sum()


def blurred(
    picture: Picture, radius: float, kernel: Callable[[float, int], Picture] = kernel
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pad = 32
    light = np.pad(picture**GAMMA, ((pad, pad), (pad, pad), (0, 0)), "reflect")
    views = []
    for side in (-1, 1):
        view = fftconvolve(light, kernel(radius, side)[..., None], "same", axes=(0, 1))
        view = np.clip(view[pad:-pad, pad:-pad], 0.0, 1.0) ** (1.0 / GAMMA)
        views.append(np.rint(255.0 * view).astype(np.uint8))
    return views[0], views[1]


def decibels(found: Picture, wanted: Picture) -> float:
    """Of the mean square error: less is better."""
    return 10.0 * float(np.log10(np.mean((found - wanted) ** 2)))


def mean_of(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Picture:
    return (left / 255.0 + right / 255.0) / 2.0


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_noise_is_not_above_that_of_the_views_mean(name: str, level: float) -> None:
    rng = np.random.default_rng(0)
    for deviation in (0.01, 0.02, 0.04):
        left, right = (
            np.rint(255.0 * np.clip(rng.normal(level, deviation, (96, 96, 3)), 0, 1))
            for _ in ("left", "right")
        )
        left, right = left.astype(np.uint8), right.astype(np.uint8)
        answer, mean = restored(name, left, right), mean_of(left, right)
        assert answer.std() <= mean.std()
        assert abs(answer.mean() - mean.mean()) < 1.0 / 255.0


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("radius", [1.0, 2.0, 5.0])
def test_weak_and_strong_blur_of_both_signs_gains_everywhere(name: str, radius: float) -> None:
    for of in ("astronaut", "coffee", "fur", "print"):
        picture = photograph(of)
        for signed in (radius, -radius):
            views = blurred(picture, signed)
            gain = psnr(restored(name, *views), picture) - psnr(mean_of(*views), picture)
            assert gain > (0.0 if radius < 2.0 else 0.5 if radius < 5.0 else 1.5), (
                of,
                signed,
                gain,
            )


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_views_that_are_unlike_at_the_sides_of_the_field_gain(name: str, radius: float) -> None:
    for of in ("astronaut", "coffee", "fur", "print"):
        picture = photograph(of)
        for signed in (radius, -radius):
            views = blurred(picture, signed, kernel_beside_the_middle)
            gain = psnr(restored(name, *views), picture) - psnr(mean_of(*views), picture)
            assert gain > (0.5 if radius < 5.0 else 2.0), (of, signed, gain)


@pytest.mark.parametrize("name", PACKED)
def test_borders_gain_like_the_rest(name: str) -> None:
    picture = photograph("astronaut")
    views = blurred(picture, 4.0)
    border = np.ones(picture.shape[:2], bool)
    border[12:-12, 12:-12] = False
    answer, mean = restored(name, *views), mean_of(*views)
    at_the_border, within = (
        decibels(mean[part], picture[part]) - decibels(answer[part], picture[part])
        for part in (border, ~border)
    )
    assert at_the_border > 0.6 * within > 0.0


@pytest.mark.parametrize("name", PACKED)
def test_lights_have_no_rings_around_them(name: str) -> None:
    """From 4 px beside the discs of lights on, the dark stays what it is."""
    scene = np.full((128, 128, 3), 12.0 / 255.0)
    for y, x in ((40, 40), (90, 70), (50, 100)):
        scene[y - 1 : y + 2, x - 1 : x + 2] = 1.0
    for radius in (3.0, -3.0, 8.0):
        views = blurred(scene, radius)
        dark = ~binary_dilation((mean_of(*views) > 12.6 / 255.0).any(-1), iterations=4)
        assert dark.mean() > 0.5
        change = np.abs(restored(name, *views) - 12.0 / 255.0)[dark]
        assert change.max() < 6.0 / 255.0 and change.mean() < 0.5 / 255.0, radius


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 40), (23, 31), (64, 19)])
def test_any_size_from_16_px_up_is_no_worse_than_its_input(
    name: str, size: tuple[int, int]
) -> None:
    picture = photograph("astronaut")
    views = [view[60 : 60 + size[0], 40 : 40 + size[1]] for view in blurred(picture, 3.0)]
    cut = picture[60 : 60 + size[0], 40 : 40 + size[1]]
    answer = restored(name, *views)
    assert np.mean((answer - cut) ** 2) < np.mean((mean_of(*views) - cut) ** 2)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("of", ["astronaut", "coffee", "fur", "print"])
def test_what_is_sharp_and_what_is_no_pair_comes_back(name: str, of: str) -> None:
    sharp = np.rint(255.0 * photograph(of)).astype(np.uint8)
    assert psnr(restored(name, sharp, sharp), sharp / 255.0) > 45.0
    soft, _ = blurred(photograph(of), 4.0)
    assert psnr(restored(name, soft, soft), soft / 255.0) > 48.0
    grey = np.full((48, 48, 3), 128, np.uint8)
    assert np.abs(restored(name, grey, grey) * 255.0 - 128.0).max() <= 2.0
