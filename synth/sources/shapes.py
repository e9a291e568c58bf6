"""Signed distances to random shapes: cut-outs with holes and thin structures.

A shape is a map of distances in pixels on a grid, negative inside. Its matte, with an edge one
pixel wide, is `matte(distance)`.
"""

from collections.abc import Callable

import numpy as np

Grid = tuple[np.ndarray, np.ndarray]
Shape = Callable[[np.random.Generator, Grid, float], np.ndarray]


def pixel_grid(size: tuple[int, int]) -> Grid:
    """(x, y) of the pixel centres of a picture (H, W), float32."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return x, y


def matte(distance_px: np.ndarray) -> np.ndarray:
    """Share of each pixel inside the shape, float32 in [0, 1]."""
    return np.clip(0.5 - distance_px, 0.0, 1.0).astype(np.float32)


def _turned(rng: np.random.Generator, grid: Grid, margin: float = 0.0) -> Grid:
    """The grid about a random centre, turned by a random angle. margin: share kept off edges."""
    x, y = grid
    height, width = x.shape
    centre_x = rng.uniform(margin, 1.0 - margin) * width
    centre_y = rng.uniform(margin, 1.0 - margin) * height
    angle = rng.uniform(0.0, 2.0 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(centre_x), y - np.float32(centre_y)
    return cos * dx + sin * dy, cos * dy - sin * dx


def _segment(grid: Grid, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance to a line segment."""
    (x, y), (along_x, along_y) = grid, (end - start).astype(np.float32)
    dx, dy = x - np.float32(start[0]), y - np.float32(start[1])
    length = max(float(along_x**2 + along_y**2), 1e-6)
    share = np.clip((dx * along_x + dy * along_y) / np.float32(length), 0.0, 1.0)
    return np.hypot(dx - share * along_x, dy - share * along_y)


def box(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """A turned rectangle, sometimes a frame with a window in it."""
    x, y = _turned(rng, grid)
    dx = np.abs(x) - np.float32(radius_px * rng.uniform(0.5, 1.2))
    dy = np.abs(y) - np.float32(radius_px * rng.uniform(0.3, 1.0))
    distance = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)
    if rng.random() < 0.3:
        wall = np.float32(radius_px * rng.uniform(0.08, 0.2))
        distance = np.abs(distance + wall) - wall
    return distance


def blob(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """A round, lobed or star-like outline, sometimes a ring."""
    x, y = _turned(rng, grid)
    y = y * np.float32(rng.uniform(1.0, 2.0))
    angle = np.arctan2(y, x)
    rim = np.ones_like(x)
    for _ in range(int(rng.integers(1, 4))):
        lobes = int(rng.integers(2, 9))
        rim += np.float32(rng.uniform(0.02, 0.25)) * np.cos(
            lobes * angle + np.float32(rng.uniform(0, 2 * np.pi))
        )
    field = np.hypot(x, y) - np.float32(radius_px) * rim
    slope_y, slope_x = np.gradient(field)
    distance = field / np.maximum(np.hypot(slope_x, slope_y), 0.5)
    if rng.random() < 0.25:
        wall = np.float32(radius_px * rng.uniform(0.06, 0.15))
        distance = np.abs(distance + wall) - wall
    return distance


def polygon(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """A polygon with corners at random angles and distances."""
    x, y = _turned(rng, grid)
    count = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0.0, 2.0 * np.pi, count))
    reach = radius_px * rng.uniform(0.5, 1.3, count)
    corners = np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)
    distance = np.full_like(x, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        distance = np.minimum(distance, _segment((x, y), start, end))
        crosses = (start[1] > y) != (end[1] > y)
        if start[1] != end[1]:
            inside ^= crosses & (
                x < start[0] + (y - start[1]) * (end[0] - start[0]) / (end[1] - start[1])
            )
    return np.where(inside, -distance, distance)


def fence(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """Parallel bars across the picture, sometimes crossed: thin structures to look through."""
    x, y = _turned(rng, grid)
    period = np.float32(max(radius_px * rng.uniform(0.25, 0.7), 8.0))
    half_width = np.float32(rng.uniform(0.6, 0.14 * period))
    distance = np.abs((x % period) - period / 2) - half_width
    if rng.random() < 0.5:
        other = period * np.float32(rng.uniform(0.8, 2.5))
        distance = np.minimum(distance, np.abs((y % other) - other / 2) - half_width)
    if rng.random() < 0.5:
        distance = np.maximum(distance, np.abs(y) - np.float32(radius_px * rng.uniform(0.8, 2.0)))
    return distance


def branches(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """A tangle of tapering lines that grow from one place: twigs, grass, cables."""
    height, width = grid[0].shape
    origin = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    main = rng.uniform(0.0, 2.0 * np.pi)
    spread = rng.uniform(0.3, np.pi)
    distance = np.full_like(grid[0], np.inf)
    for _ in range(int(rng.integers(3, 7))):
        place, heading = origin, main + rng.uniform(-spread, spread)
        half_width = rng.uniform(0.7, max(0.8, 0.06 * radius_px))
        for _ in range(int(rng.integers(2, 5))):
            step = radius_px * rng.uniform(0.4, 0.9)
            reached = place + step * np.array([np.cos(heading), np.sin(heading)])
            distance = np.minimum(distance, _segment(grid, place, reached) - np.float32(half_width))
            place, heading = reached, heading + rng.uniform(-0.6, 0.6)
            half_width = max(0.5, half_width * 0.75)
    return distance


def leaves(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """A cluster of small ellipses: foliage, gravel, confetti."""
    x, y = grid
    height, width = x.shape
    centre = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    distance = np.full_like(x, np.inf)
    for _ in range(int(rng.integers(8, 20))):
        offset = centre + rng.normal(0.0, 0.6 * radius_px, 2)
        length = max(radius_px * rng.uniform(0.08, 0.3), 2.0)
        flatness = rng.uniform(1.0, 3.0)
        angle = rng.uniform(0.0, np.pi)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = x - np.float32(offset[0]), y - np.float32(offset[1])
        along, across = cos * dx + sin * dy, (cos * dy - sin * dx) * np.float32(flatness)
        # Times the short half-axis over the long one, so that the edge is one pixel wide.
        leaf = (np.hypot(along, across) - np.float32(length)) / np.float32(flatness)
        distance = np.minimum(distance, leaf)
    return distance


SHAPES: dict[str, tuple[Shape, float]] = {
    "box": (box, 0.22),
    "blob": (blob, 0.24),
    "polygon": (polygon, 0.18),
    "fence": (fence, 0.0),
    "branches": (branches, 0.18),
    "leaves": (leaves, 0.18),
}
"""Shapes by name, each with how often it is drawn; a fence fills a picture and is asked for."""


def random_shape(rng: np.random.Generator, grid: Grid, radius_px: float) -> np.ndarray:
    """Signed distance, in pixels, to a shape of random kind of about the given radius."""
    names = list(SHAPES)
    name = names[int(rng.choice(len(names), p=[SHAPES[n][1] for n in names]))]
    return SHAPES[name][0](rng, grid, radius_px)
