"""Photographs as textures."""

from collections.abc import Sequence

import numpy as np

from synth.sources.patterns import Size, resize

_BUNDLED = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "rocket",
    "text",
)
"""Photographs in scikit-image's wheel that are sharp: CC0, public domain or, in its words,
without known restrictions."""


def skimage_textures() -> dict[str, np.ndarray]:
    """The photographs that come with scikit-image, by name: uint8 (H, W, 3). No download."""
    from skimage import data

    return {name: _three_channels(getattr(data, name)()) for name in _BUNDLED}


def _three_channels(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    return np.ascontiguousarray(picture[..., :3])


def as_unit_float(picture: np.ndarray) -> np.ndarray:
    """A grey or colour picture of uint8, uint16 or floats in [0, 1] as float32 (H, W, 3).

    ValueError for other integers: what their white is nobody knows.
    """
    picture = _three_channels(picture)
    if np.issubdtype(picture.dtype, np.integer):
        if picture.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"a picture must be uint8, uint16 or floating point, got {picture.dtype}"
            )
        return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)
    return picture.astype(np.float32)


def crop_texture(
    rng: np.random.Generator, picture: np.ndarray, size: Size, *, max_shrink: float = 3.0
) -> np.ndarray:
    """A random part of a photograph at a random scale, float32 (H, W, 3), sRGB.

    It is shrunk by up to max_shrink, never enlarged, so that it is sharp at the pixel, flipped at
    random, and goes on mirrored where the photograph is too small.
    """
    if min(picture.shape[:2]) < 2:
        raise ValueError(f"a texture must be at least 2 x 2 pixels, got {picture.shape[:2]}")
    shrink = float(np.exp(rng.uniform(0.0, np.log(max_shrink))))
    room = min(picture.shape[0] / size[0], picture.shape[1] / size[1])
    shrink = max(1.0, min(shrink, room))
    wanted = [int(np.ceil(length * shrink)) for length in size]
    short = [max(0, w - have) for w, have in zip(wanted, picture.shape[:2], strict=True)]
    if any(short):
        padding = [(0, short[0]), (0, short[1]), (0, 0)][: picture.ndim]
        picture = np.pad(picture, padding, mode="symmetric")
    top, left = (
        int(rng.integers(have - w + 1)) for have, w in zip(picture.shape[:2], wanted, strict=True)
    )
    part = as_unit_float(picture[top : top + wanted[0], left : left + wanted[1]])
    part = np.clip(resize(part, size), 0.0, 1.0)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.25:
        part = part[::-1]
    return np.ascontiguousarray(part)


def vary_colours(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Change gain, contrast and colour balance of a texture a little. Returns values in [0, 1]."""
    gain = np.float32(rng.uniform(0.6, 1.2)) * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    gamma = np.float32(np.exp(rng.normal(0.0, 0.25)))
    return np.clip(np.clip(picture * gain, 0.0, 1.0) ** gamma, 0.0, 1.0).astype(np.float32)


def check_textures(textures: Sequence[np.ndarray]) -> None:
    """ValueError where an array is not a picture."""
    for number, picture in enumerate(textures):
        if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] < 3):
            raise ValueError(f"texture {number} must be (H, W) or (H, W, 3), got {picture.shape}")
