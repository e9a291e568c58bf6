"""What surfaces are covered with: parts of photographs, or patterns, in natural colours.

All pictures here are square and of linear light; side: a power of two from 64 on, for `RipMap`.
"""

from collections.abc import Sequence

import numpy as np

from synth.color import srgb_to_linear
from synth.sources.patterns import (
    checks,
    fractal_noise,
    grain,
    muted_colour,
    resize,
    stone,
    tiles,
    writing,
)
from synth.sources.textures import as_unit_float

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def natural_colour(rng: np.random.Generator, photographs: Sequence[np.ndarray]) -> np.ndarray:
    """An sRGB colour (3,) out of a photograph; without any, a muted one."""
    if photographs:
        picture = photographs[int(rng.integers(len(photographs)))]
        part = _square(rng, picture, max(2, min(picture.shape[:2]) // 16))
        colour = as_unit_float(part).mean(axis=(0, 1))
        grey = float(colour @ _GREY)
        return np.clip(grey + 0.8 * (colour - grey), 0.03, 0.95).astype(np.float32)
    return muted_colour(rng)


def plain(rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Plaster or paint: one colour, a little uneven."""
    colour = srgb_to_linear(0.35 + 0.6 * natural_colour(rng, photographs))
    uneven = fractal_noise(rng, (side, side), roughness=float(rng.uniform(0.7, 0.95)))
    fine = rng.standard_normal((side, side), dtype=np.float32)
    strength = np.float32(rng.uniform(0.03, 0.2)), np.float32(rng.uniform(0.0, 0.05))
    return colour * np.exp(strength[0] * (uneven - 0.5) + strength[1] * fine)[..., None]


def material(rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Stone, wood, brick, cloth, lawn: fine texture, alike all over."""
    if photographs and rng.random() < 0.75:
        picture = _even_part(rng, photographs[int(rng.integers(len(photographs)))], side)
        middle = float(picture.mean())
        contrast = min(1.0, rng.uniform(0.08, 0.25) / max(float((picture @ _GREY).std()), 1e-3))
        picture = np.clip(middle + contrast * (picture - middle), 0.0, 1.0).astype(np.float32)
        colour = natural_colour(rng, photographs)
        colour = colour + 0.5 * (colour.mean() - colour)
        picture = coloured(picture, colour, rng.uniform(0.2, 0.9))
        return _of_brightness(rng, srgb_to_linear(picture))
    pattern = (stone, grain, grain, tiles, tiles, checks)[int(rng.integers(6))]
    picture = pattern(rng, (side, side))
    low, high = np.sort(rng.uniform(0.1, 0.8, 2))
    relief = _normal(picture @ _GREY)[..., None]
    colour = natural_colour(rng, photographs)
    colour = 0.2 + 0.8 * colour / max(float(colour.mean()), 0.05)
    share = (
        low
        + (high - low) * (0.5 + 0.25 * relief)
        + 0.03 * rng.standard_normal(relief.shape, dtype=np.float32)
    )
    return srgb_to_linear(np.clip(share * colour, 0.0, 1.0).astype(np.float32))


def picture(
    rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int
) -> tuple[np.ndarray, float]:
    """A whole photograph, pressed into a square, and its width over its height.

    Without photographs: writing or a pattern.
    """
    if not photographs:
        pattern = (writing, stone, tiles)[int(rng.integers(3))]
        return _of_brightness(rng, srgb_to_linear(pattern(rng, (side, side)))), 1.0
    found = photographs[int(rng.integers(len(photographs)))]
    aspect = found.shape[1] / found.shape[0]
    side = min(side, 1 << int(np.log2(min(found.shape[:2]))))
    found = resize(as_unit_float(found), (side, side))
    found = found[:, ::-1] if rng.random() < 0.5 else found
    return srgb_to_linear(np.clip(found, 0.0, 1.0)), aspect


def facade(rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int) -> np.ndarray:
    """The front of a house: a wall with windows."""
    wall = (plain if rng.random() < 0.5 else material)(rng, photographs, side)
    wall = resize(wall, (side, side)).copy()
    glass = resize(picture(rng, photographs, side)[0], (side, side)) * np.float32(0.5)
    frame = srgb_to_linear(natural_colour(rng, photographs))
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    wide, high = side // columns, side // rows
    width, height = int(wide * rng.uniform(0.35, 0.7)), int(high * rng.uniform(0.4, 0.75))
    edge, bars = max(1, int(side * rng.uniform(0.006, 0.018))), int(rng.integers(1, 4))
    for row in range(rows):
        for column in range(columns):
            top = row * high + (high - height) // 2
            left = column * wide + (wide - width) // 2
            wall[top : top + height, left : left + width] = frame
            inner = width - 2 * edge
            brightness = np.float32(rng.uniform(0.1, 1.2))
            for bar in range(bars):
                start = left + edge + bar * inner // bars
                end = left + edge + (bar + 1) * inner // bars - (edge // 2 if bar < bars - 1 else 0)
                pane = slice(top + edge, top + height - edge), slice(start, end)
                wall[pane] = glass[pane] * brightness
            sill = slice(top + height, top + height + edge)
            wall[sill, max(0, left - edge) : left + width + edge] *= 0.5
    return wall


def books(rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Shelves with things in rows: books, boxes, bottles."""
    board = srgb_to_linear(natural_colour(rng, photographs))
    result = np.empty((side, side, 3), np.float32)
    result[:] = 0.15 * board
    rows = int(rng.integers(2, 5))
    high, unit = side // rows, side / 512
    plank = max(1, round(10 * unit))
    for row in range(rows):
        left, bottom = 0, (row + 1) * high - plank
        while left < side:
            width = max(2, round(unit * rng.uniform(6, 34)))
            top = row * high + int(high * rng.uniform(0.05, 0.33))
            colour = srgb_to_linear(natural_colour(rng, photographs))
            across = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :, None]
            spine = (colour * (1.0 - 0.45 * across * across))[:, : side - left]
            result[top:bottom, left : left + width] = spine
            label = int(rng.integers(top, bottom))
            ink = srgb_to_linear(natural_colour(rng, photographs))
            tall = max(1, round(unit * rng.uniform(2, 24)))
            result[label : min(label + tall, bottom), left : left + width] = ink
            left += width + (round(24 * unit) if rng.random() < 0.1 else int(rng.integers(0, 2)))
        result[bottom : bottom + plank] = board
    return result


def foliage(rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int) -> np.ndarray:
    """A clump of leaves to be cut out: (h, w, 4), light times matte, and the matte."""
    if photographs and rng.random() < 0.4:
        source, matte = _keyed(rng, photographs, side)
    else:
        source, matte = _leaves(rng, photographs, side)
    grey = (source @ _GREY)[..., None]
    if rng.random() < 0.8:
        leaf = np.array([rng.uniform(0.22, 0.42), rng.uniform(0.34, 0.45), 0.12], np.float32)
        leaf[2] = rng.uniform(0.1, 0.25)
    else:
        leaf = natural_colour(rng, photographs)
    toned = grey * (leaf / max(float(leaf @ _GREY), 0.05))
    light = srgb_to_linear(np.clip(0.8 * toned + 0.2 * source, 0.0, 1.0))
    within = float((light * matte[..., None]).sum() / (3.0 * matte.sum() + 1e-3))
    light = light * np.float32(rng.uniform(0.06, 0.2)) / max(within, 1e-3)
    return np.concatenate([light * matte[..., None], matte[..., None]], axis=2)


def _keyed(
    rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """What is greener or darker than around it in the most finely detailed of a few parts of
    photographs, within a lumpy outline: sRGB (h, w, 3) and matte (h, w)."""
    best, source = -1.0, None
    for _ in range(4):
        picture = photographs[int(rng.integers(len(photographs)))]
        extent = max(2, int(min(picture.shape[:2]) * rng.uniform(0.5, 1.0)))
        part = resize(as_unit_float(_square(rng, picture, extent)), (side, side))
        grey = resize((part @ _GREY)[..., None], (128, 128))[..., 0]
        blocks = np.abs(np.diff(grey, axis=0))[:112].reshape(7, 16, 8, 16).mean(axis=(1, 3))
        green = float((part @ np.array([-1.0, 2.0, -1.0], np.float32)).mean())
        detail = float(np.quantile(blocks, 0.3)) * (1.0 + 5.0 * max(green, 0.0))
        if detail > best:
            best, source = detail, part
    assert source is not None
    keys = -(source @ _GREY), source @ np.array([-1.0, 2.0, -1.0], np.float32)
    key = keys[int(rng.random() < 0.4)]
    around = resize(resize(key[..., None], (32, 32)), (side, side))[..., 0]
    y, x = np.mgrid[-1.0 : 1.0 : side * 1j, -1.0 : 1.0 : side * 1j].astype(np.float32)
    lumps = fractal_noise(rng, (side, side), roughness=0.75)
    outline = np.minimum(8.0 * (0.65 - np.hypot(x, y)) + 3.0 * (lumps - 0.5), 1.0)
    matte = np.clip(2.0 * (_normal(key - around) + 1.5 * outline) + 0.5, 0.0, 1.0)
    matte[[0, -1]] = matte[:, [0, -1]] = 0.0
    return source * (0.5 + lumps)[..., None], matte.astype(np.float32)


def _leaves(
    rng: np.random.Generator, photographs: Sequence[np.ndarray], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leaves on twigs, the upper ones brighter, each a part of a photograph: as `_keyed`."""
    if photographs:
        grain_of = _even_part(rng, photographs[int(rng.integers(len(photographs)))], side)
    else:
        grain_of = stone(rng, (side, side))
    light = np.zeros((side, side), np.float32)
    matte = np.zeros((side, side), np.float32)
    count, length = int(rng.integers(120, 320)), side * rng.uniform(0.03, 0.09)
    slim, veins = rng.uniform(1.5, 4.5), rng.uniform(0.0, 0.25)
    heads = rng.uniform(0.0, 2.0 * np.pi, 7)
    for number in range(count):
        twig = int(rng.integers(7))
        away = 0.42 * side * np.sqrt(rng.random())
        heading = heads[twig] + rng.normal(0.0, 0.3)
        middle = 0.5 * side + away * np.array([np.cos(heading), np.sin(heading)])
        half = 0.5 * length * rng.uniform(0.6, 1.3)
        low = np.clip(middle - half - 2, 0, side - 1).astype(int)
        high = np.clip(middle + half + 3, 1, side - 1).astype(int)
        if (high <= low + 1).any():
            continue
        x = np.arange(low[0], high[0], dtype=np.float32)[None] - np.float32(middle[0])
        y = np.arange(low[1], high[1], dtype=np.float32)[:, None] - np.float32(middle[1])
        angle = heading + rng.normal(0.0, 0.7)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along, beside = (cos * x + sin * y) / half, (cos * y - sin * x) / half
        wide = (1.0 - along * along) / slim
        cover = np.clip((wide - np.abs(beside)) * half * 0.9 + 0.5, 0.0, 1.0) * (np.abs(along) < 1)
        part = slice(low[1], high[1]), slice(low[0], high[0])
        bright = rng.uniform(0.5, 1.0) * (0.45 + 0.65 * number / count)
        tone = bright * (
            1.0 - veins * (np.abs(beside) < 1.5 / half) + 0.25 * np.sign(beside) * veins
        )
        light[part] += cover * (tone - light[part])
        matte[part] = np.maximum(matte[part], cover)
    return light[..., None] * (0.4 + 0.6 * grain_of), matte


def sky(rng: np.random.Generator, side: int) -> np.ndarray:
    """Blue or grey, paler towards the horizon at the bottom, with clouds."""
    clouds = fractal_noise(rng, (side, side), roughness=0.6)
    cover = np.clip((clouds - np.float32(rng.uniform(0.2, 0.9))) * 3.0, 0.0, 1.0)[..., None]
    high = np.linspace(1.0, 0.0, side, dtype=np.float32)[:, None, None]
    blue = srgb_to_linear(np.array([0.35, 0.55, 0.85], np.float32))
    pale = srgb_to_linear(np.array([0.8, 0.86, 0.92], np.float32))
    white = np.float32(rng.uniform(0.6, 1.0))
    return (high * blue + (1.0 - high) * pale) * (1.0 - cover) + white * cover


def _even_part(rng: np.random.Generator, photograph: np.ndarray, side: int) -> np.ndarray:
    """The most even of a few square parts, its large changes of light taken off, sRGB."""
    best, found = np.inf, None
    least = min(side, *photograph.shape[:2])
    for _ in range(5):
        part = as_unit_float(_square(rng, photograph, max(2, int(least * rng.uniform(0.5, 1.0)))))
        grey = resize((part @ _GREY)[..., None], (64, 64))[..., 0]
        blocks = grey.reshape(8, 8, 8, 8).mean(axis=(1, 3))
        detail = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
        uneven = blocks.std() / (detail + 0.005)
        if uneven < best:
            best, found = uneven, part
    assert found is not None
    part = np.clip(resize(found, (side, side)), 0.0, 1.0)
    low = resize(resize(part, (4, 4)), (side, side))
    return np.clip(part * ((low.mean(axis=(0, 1)) + 0.05) / (low + 0.05)) ** 0.8, 0.0, 1.0)


def _square(rng: np.random.Generator, picture: np.ndarray, side: int) -> np.ndarray:
    side = min(side, *picture.shape[:2])
    top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def coloured(picture: np.ndarray, colour: np.ndarray, share: float) -> np.ndarray:
    """An sRGB picture whose mean colour is moved to another one."""
    grey = (picture @ _GREY)[..., None]
    toned = grey / max(float(grey.mean()), 0.05) * colour
    return np.clip(picture + np.float32(share) * (toned - picture), 0.0, 1.0).astype(np.float32)


def _of_brightness(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """Scaled to reflect a share of light as things do: 8 to 55%."""
    wanted = float(np.exp(rng.uniform(np.log(0.08), np.log(0.55))))
    return light * np.float32(wanted / max(float(light.mean()), 0.02))


def _normal(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(float(values.std()), 1e-4)
