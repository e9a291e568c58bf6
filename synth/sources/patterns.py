"""Textures drawn by formula: noise, stripes, checks, tiles, dots and writing-like strokes.

Each is float32 (H, W, 3), sRGB, in [0, 1], with detail down to the pixel.
"""

from collections.abc import Callable

import numpy as np

Size = tuple[int, int]


def resize(picture: np.ndarray, size: Size) -> np.ndarray:
    """Resample a float (H, W, C) picture to a size (H, W), without aliasing when it shrinks."""
    if picture.shape[:2] == tuple(size):
        return picture.astype(np.float32)
    import torch
    from torch.nn import functional

    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))
    result = functional.interpolate(
        planes[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False
    )
    return result[0].permute(1, 2, 0).numpy()


def fractal_noise(rng: np.random.Generator, size: Size, *, roughness: float) -> np.ndarray:
    """Noise with power-law detail, (H, W) in [0, 1]. roughness: share each octave keeps, 0 to 1."""
    total, weight = np.zeros(size, dtype=np.float32), 1.0
    cells = int(rng.integers(2, 5))
    while True:
        grid = (min(cells, size[0]), min(cells * size[1] // size[0] + 1, size[1]))
        coarse = rng.standard_normal((*grid, 1), dtype=np.float32)
        total += np.float32(weight) * resize(coarse, size)[..., 0]
        if cells >= min(size):
            break
        cells, weight = cells * 2, weight * roughness
    spread = np.quantile(total, [0.02, 0.98])
    return np.clip((total - spread[0]) / max(spread[1] - spread[0], 1e-6), 0.0, 1.0)


def muted_colour(rng: np.random.Generator) -> np.ndarray:
    """An sRGB colour (3,) as most things have: browns, greys, some blue, little of it saturated."""
    value, saturation = rng.uniform(0.15, 0.9), 0.7 * rng.beta(1.3, 4.0)
    hues = [rng.normal(0.09, 0.05), rng.normal(0.58, 0.06), rng.random()]
    hue = rng.choice(hues, p=[0.6, 0.2, 0.2])
    turns = np.abs((hue + np.array([0.0, 2.0 / 3.0, 1.0 / 3.0])) % 1.0 * 6.0 - 3.0) - 1.0
    return (value * (1.0 - saturation * (1.0 - np.clip(turns, 0.0, 1.0)))).astype(np.float32)


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours (count, 3): one hue family, dark to light."""
    spread = rng.uniform(0.05, 0.35)
    brighter = rng.normal(0.0, spread, (count, 1)) + rng.normal(0.0, 0.15 * spread, (count, 3))
    return np.clip(muted_colour(rng) + brighter, 0.02, 0.98).astype(np.float32)


def _map_colours(share: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A ramp through the colours, share in [0, 1]."""
    position = share * (len(colours) - 1)
    lower = np.minimum(position.astype(np.int64), len(colours) - 2)
    rest = (position - lower)[..., None].astype(np.float32)
    return colours[lower] * (1.0 - rest) + colours[lower + 1] * rest


def _axes(rng: np.random.Generator, size: Size) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle = rng.choice([0.0, rng.uniform(0, np.pi)])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    bend = np.float32(rng.choice([0.0, rng.uniform(0.0, 6.0)]))
    u, v = cos * x + sin * y, cos * y - sin * x
    return u + bend * np.sin(v / np.float32(rng.uniform(8.0, 60.0))), v


def stone(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Fractal noise through a palette: stone, cloud, bark."""
    share = fractal_noise(rng, size, roughness=float(rng.uniform(0.5, 0.95)))
    return _map_colours(share, _palette(rng, int(rng.integers(2, 6))))


def grain(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Noise stretched along one axis: wood, brushed metal, hair."""
    u, v = _axes(rng, size)
    stretch = int(rng.integers(6, 24))
    streaks = fractal_noise(rng, size, roughness=0.9)
    rows = (np.abs(u).astype(np.int64)) % size[0]
    columns = (np.abs(v / stretch).astype(np.int64)) % size[1]
    return _map_colours(streaks[rows, columns], _palette(rng, 3))


def stripes(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Bars with crisp or soft edges."""
    u, _ = _axes(rng, size)
    period = float(np.exp(rng.uniform(np.log(4.0), np.log(40.0))))
    wave = np.abs((u / period) % 1.0 - 0.5) * 2.0
    hardness = rng.choice([1.0, period / 3.0])
    return _map_colours(np.clip((wave - 0.5) * hardness + 0.5, 0, 1), _palette(rng, 2))


def checks(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A checkerboard, each field a little different."""
    u, v = _axes(rng, size)
    period = float(np.exp(rng.uniform(np.log(5.0), np.log(40.0))))
    columns, rows = (np.floor(c / period).astype(np.int64) for c in (u, v))
    odd = (columns + rows) % 2
    variation = rng.normal(0.0, 0.06, (61, 67)).astype(np.float32)[columns % 61, rows % 67]
    return np.clip(_palette(rng, 2)[odd] + variation[..., None], 0.0, 1.0)


def tiles(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Tiles or bricks of many colours with joints between them."""
    u, v = _axes(rng, size)
    high = float(np.exp(rng.uniform(np.log(6.0), np.log(36.0))))
    wide = high * float(rng.choice([1.0, 2.0, 3.0]))
    rows = np.floor(v / high).astype(np.int64)
    u = u + np.float32(wide * rng.choice([0.0, 0.5])) * (rows % 2)
    columns = np.floor(u / wide).astype(np.int64)
    colours = _palette(rng, 97)[(columns * 31 + rows * 17) % 97]
    to_edge = np.minimum(
        wide / 2 - np.abs(u % wide - wide / 2), high / 2 - np.abs(v % high - high / 2)
    )
    joint = np.clip(to_edge - np.float32(rng.uniform(0.3, 1.5)), 0.0, 1.0)[..., None]
    return _palette(rng, 1)[0] * (1.0 - joint) + colours * joint


def dots(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Round dots on a plain or noisy ground."""
    u, v = _axes(rng, size)
    period = float(np.exp(rng.uniform(np.log(6.0), np.log(40.0))))
    reach = period * rng.uniform(0.15, 0.45)
    distance = np.hypot(u % period - period / 2, v % period - period / 2)
    inside = np.clip(reach - distance + 0.5, 0.0, 1.0)[..., None]
    ground = stone(rng, size) if rng.random() < 0.5 else _palette(rng, 1)[0]
    return (ground * (1.0 - inside) + _palette(rng, 1)[0] * inside).astype(np.float32)


def writing(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Rows of small strokes, like print on paper."""
    height, width = size
    ink = np.zeros(size, dtype=np.float32)
    line = int(rng.integers(7, 22))
    for top in range(2, height - line // 2, line):
        left = 2
        while left < width - line:
            letter = int(rng.integers(2, max(3, line // 2)))
            stroke = max(1, line // 9)
            if rng.random() < 0.8:
                bottom = top + int(line * rng.uniform(0.4, 0.7))
                kind = rng.integers(3)
                if kind != 0:
                    ink[top:bottom, left : left + stroke] = 1.0
                if kind != 1:
                    row = int(rng.integers(top, bottom))
                    ink[row : row + stroke, left : left + letter] = 1.0
                if rng.random() < 0.5:
                    ink[top:bottom, left + letter - stroke : left + letter] = 1.0
            left += letter + stroke + 1
    paper, colour = np.float32(rng.uniform(0.6, 0.98, 3)), np.float32(rng.uniform(0.0, 0.4, 3))
    if rng.random() < 0.3:
        paper, colour = colour, paper
    return paper * (1.0 - ink[..., None]) + colour * ink[..., None]


PATTERNS: tuple[Callable[[np.random.Generator, Size], np.ndarray], ...] = (
    stone,
    stone,
    grain,
    stripes,
    checks,
    tiles,
    dots,
    writing,
)


def random_pattern(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A pattern of random kind, float32 (H, W, 3), sRGB, with a little fine noise of its own."""
    picture = PATTERNS[int(rng.integers(len(PATTERNS)))](rng, size)
    fine = rng.standard_normal((*size, 1), dtype=np.float32) * np.float32(rng.uniform(0.0, 0.06))
    return np.clip(picture + fine, 0.0, 1.0).astype(np.float32)
