"""Pairs with known content: clean ones of every kind, and each of them made wrong in one way."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from tests.pipelines.deblur.test_notices import half_disks

SIZE = (216, 288)
PAD = 24


class Pictures(NamedTuple):
    """Left, right and target, ``(H, W, 3)``."""

    left: np.ndarray
    right: np.ndarray
    target: np.ndarray


@functools.cache
def sharp(seed: int) -> np.ndarray:
    """Grey light (H, W) in [0, 1]: things of all sizes and colours before each other, larger than
    SIZE by PAD to each side."""
    rng = np.random.default_rng(seed)
    height, width = SIZE[0] + 2 * PAD, SIZE[1] + 2 * PAD
    picture = np.full((height, width), rng.uniform(0.2, 0.6))
    for most in (160, 90, 40, 20, 9):
        for _ in range(height * width // (3 * most * most) + 2):
            y, x = rng.integers(-most // 2, height), rng.integers(-most // 2, width)
            h, w = rng.integers(most // 3, most, 2)
            picture[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = rng.uniform(0.03, 0.9)
    return picture + 0.01 * rng.standard_normal(picture.shape)


@functools.cache
def clean(
    seed: int,
    *,
    most: float = 4.0,
    sign: int = 0,
    noise: float = 1.0,
    contrast: float = 1.0,
    bits: int = 8,
) -> Pictures:
    """A pair whose blur grows from top to bottom, up to ``most`` px of radius.

    sign: 1 for all of it nearer than focus, -1 for farther, 0 from farther to nearer. noise: its
    deviation in the views, of 255.
    """
    light = sharp(seed)
    light = 0.3 + contrast * (light - 0.3)
    height = light.shape[0]
    low, high = {0: (-most, most), 1: (0.0, most), -1: (-most, 0.0)}[sign]
    radii = np.linspace(low, high, 5)
    left, right = light.copy(), light.copy()
    for number, radius in enumerate(radii):
        rows = slice(number * height // 5, (number + 1) * height // 5)
        views = (light, light)
        if abs(radius) > 0.4:
            views = half_disks(light, abs(radius))[:: -1 if radius > 0 else 1]
        left[rows], right[rows] = views[0][rows], views[1][rows]
    rng = np.random.default_rng([seed, 1])
    pair = Pictures(
        *(
            encoded(picture, deviation, bits, rng)
            for picture, deviation in ((left, noise), (right, noise), (light, noise / 2))
        )
    )
    for picture in pair:
        picture.flags.writeable = False  # the next one who asks gets the same
    return pair


def encoded(light: np.ndarray, noise: float, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Light (H, W) as a picture in sRGB, cut to SIZE, with noise."""
    cut = np.clip(light[PAD:-PAD, PAD:-PAD], 0, 1)
    encoded = 255 * np.where(cut <= 0.0031308, 12.92 * cut, 1.055 * cut ** (1 / 2.4) - 0.055)
    values = np.clip(encoded + rng.normal(0, noise, encoded.shape), 0, 255)
    tint = np.array([1.0, 0.92, 0.8])
    levels = values[..., None] * tint * (1 if bits == 8 else 257)
    return np.rint(levels).astype(np.uint8 if bits == 8 else np.uint16)


def scaled(picture: np.ndarray, factor: float) -> np.ndarray:
    """Brighter or darker."""
    most = np.iinfo(picture.dtype).max
    return np.clip(np.rint(picture * factor), 0, most).astype(picture.dtype)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """What is left of an 8-bit picture."""
    return cv2.imdecode(cv2.imencode(".jpg", picture, [1, quality])[1], cv2.IMREAD_COLOR)


def mean(pair: Pictures) -> np.ndarray:
    """The combined picture."""
    return ((pair.left.astype(int) + pair.right + 1) // 2).astype(pair.left.dtype)


def turned(pair: Pictures) -> Pictures:
    """By 90 degrees."""
    return Pictures(*(np.ascontiguousarray(np.rot90(picture)) for picture in pair))


def _blank(picture: np.ndarray) -> np.ndarray:
    return np.full_like(picture, 3)


def _noise(picture: np.ndarray, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(120, 5, picture.shape)
    return np.rint(values).astype(picture.dtype)


def _cut_off(picture: np.ndarray) -> np.ndarray:
    cut = picture.copy()
    cut[int(0.7 * len(cut)) :] = 128
    return cut


WRONG: dict[str, tuple[str, Callable[[Pictures, Pictures], Pictures]]] = {
    "another target": ("!target", lambda p, q: p._replace(target=q.target)),
    "mirrored": ("!target", lambda p, _: p._replace(target=p.target[:, ::-1].copy())),
    "upside down": ("!target", lambda p, _: p._replace(target=p.target[::-1].copy())),
    "target is left": ("!target-is-view", lambda p, _: p._replace(target=p.left)),
    "target is right": ("!target-is-view", lambda p, _: p._replace(target=p.right)),
    "target is mean": ("!target-is-view", lambda p, _: p._replace(target=mean(p))),
    "target is a JPEG of the mean": (
        "target-blurred",
        lambda p, _: p._replace(target=jpeg(mean(p), 92)),
    ),
    "target beside": ("target-beside", lambda p, _: p._replace(target=np.roll(p.target, 10, 1))),
    "dark target": ("target-exposure", lambda p, _: p._replace(target=scaled(p.target, 0.6))),
    "dark view": ("exposure", lambda p, _: p._replace(left=scaled(p.left, 0.8))),
    "black left": ("!constant", lambda p, _: p._replace(left=_blank(p.left))),
    "black target": ("!constant", lambda p, _: p._replace(target=_blank(p.target))),
    "cut off": ("!missing", lambda p, _: p._replace(right=_cut_off(p.right))),
    "equal": ("!equal", lambda p, _: p._replace(right=p.left)),
    "another view": ("!different", lambda p, q: p._replace(right=q.right)),
    "two cameras": (
        "!stereo",
        lambda p, _: p._replace(left=np.roll(p.target, 4, 1), right=np.roll(p.target, -5, 1)),
    ),
    "target in BGR": ("!colour", lambda p, _: p._replace(target=p.target[..., ::-1].copy())),
    "right view in BGR": ("!colour", lambda p, _: p._replace(right=p.right[..., ::-1].copy())),
    "grey target": (
        "colour",
        lambda p, _: p._replace(target=np.repeat(p.target[..., 1:2], 3, axis=2)),
    ),
    "yellow target": (
        "colour",
        lambda p, _: p._replace(target=(p.target * [1.0, 1.0, 0.8]).astype(p.target.dtype)),
    ),
    "target and left exchanged": (
        "sharpness",
        lambda p, _: p._replace(left=p.target, target=p.left),
    ),
    "nothing but noise": (
        "flat",
        lambda p, q: Pictures(*(_noise(p.left, seed) for seed in range(3))),
    ),
    "overexposed target": (
        "target-exposure",
        lambda p, _: p._replace(target=scaled(p.target, 1.6)),
    ),
    "cropped": ("shifted", lambda p, _: p._replace(right=np.roll(p.right, 3, 0))),
    "night": ("dark", lambda p, _: Pictures(*(scaled(picture, 0.025) for picture in p))),
    "8 in 16": (
        "depth",
        lambda p, _: Pictures(*(picture.astype(np.uint16) * 257 for picture in p)),
    ),
    "8 in 16, shifted": (
        "depth",
        lambda p, _: Pictures(*(picture.astype(np.uint16) << 8 for picture in p)),
    ),
    "raw": ("depth", lambda p, _: Pictures(*(picture.astype(np.uint16) << 4 for picture in p))),
}
"""What is wrong, the finding that says so (! for a fault), how it is made of two clean pairs."""
