"""Rays through simple solids: what each sample of a picture sees, where, and how far away.

World: x to the right, y up, z ahead, metres; the ground is y = 0. Depth is along the optical axis,
so that a sample's place is its depth times (x, y, 1) in the camera's own axes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 2
"""Samples a pixel, along each side."""
NEAREST_M = 0.25
"""Nothing is seen nearer than this."""

Vector = np.ndarray
"""float64 (3,)."""


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera."""

    size: tuple[int, int]
    """(H, W) of the picture."""
    focal_px: float
    position: Vector
    axes: np.ndarray
    """(3, 3): the camera's right, down and ahead, a row each, in the world."""

    @classmethod
    def at(
        cls,
        size: tuple[int, int],
        *,
        field_of_view: float,
        height_m: float,
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
    ) -> "View":
        """A camera above (0, 0). Angles in radians: field of view across the width, yaw to the
        right, pitch up, roll clockwise."""
        focal_px = 0.5 * size[1] / np.tan(0.5 * field_of_view)
        ahead = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
        down = np.cross(level, ahead)
        right = np.cos(roll) * level + np.sin(roll) * down
        down = np.cos(roll) * down - np.sin(roll) * level
        position = np.array([0.0, height_m, 0.0])
        return cls(size, float(focal_px), position, np.stack([right, down, ahead]))

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the world in the camera's axes."""
        return (points - self.position) @ self.axes.T

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """Directions (..., 3) of the world in the camera's axes."""
        return directions @ self.axes.T

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """x (1, W S) and y (H S, 1) of the samples at depth 1, float32."""
        rows, columns = ((np.arange(n * SAMPLES) + 0.5) / SAMPLES - 0.5 * n for n in self.size)
        x, y = columns / self.focal_px, rows / self.focal_px
        return x[None].astype(np.float32), y[:, None].astype(np.float32)

    def window(self, points: np.ndarray) -> tuple[slice, slice] | None:
        """Rows and columns of samples that the convex hull of seen points (N, 3) may cover."""
        everything = tuple(slice(0, n * SAMPLES) for n in self.size)
        if (points[:, 2] < NEAREST_M).all():
            return None
        if (points[:, 2] < NEAREST_M).any():
            return everything  # type: ignore[return-value]
        at = points[:, :2] / points[:, 2:] * self.focal_px
        found = []
        for length, place in zip(self.size, (at[:, 1], at[:, 0]), strict=True):
            first = max(0, int(np.floor((place.min() + 0.5 * length) * SAMPLES)) - 1)
            last = min(length * SAMPLES, int(np.ceil((place.max() + 0.5 * length) * SAMPLES)) + 1)
            if first >= last:
                return None
            found.append(slice(first, last))
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Quad:
    """A rectangle, or the ellipse in it."""

    corner: Vector
    """Its lower left, as it is looked at."""
    across: Vector
    """From there to the lower right, metres."""
    up: Vector
    """And to the upper left; at a right angle to `across`."""
    material: int
    thing: int = 0
    """What it is a part of: things throw no shadow on themselves."""
    round: bool = False


@dataclass(frozen=True, slots=True)
class Cylinder:
    """The side of an upright cylinder."""

    base: Vector
    """The middle of its foot."""
    radius_m: float
    height_m: float
    material: int
    thing: int = 0


@dataclass(frozen=True, slots=True)
class Sphere:
    """A ball."""

    centre: Vector
    radius_m: float
    material: int
    thing: int = 0


Solid = Quad | Cylinder | Sphere


@dataclass(frozen=True, slots=True)
class Hits:
    """What the samples (H S, W S) of a picture see."""

    dioptres: np.ndarray
    """float32, 1 / depth; 0 where a ray meets nothing."""
    solid: np.ndarray
    """int16, number of the solid; -1 for none."""
    at: np.ndarray
    """float32 (2, h, w): where on it, metres across and down from its upper left."""
    footprint: np.ndarray
    """float32 (2, h, w): the extent of a sample there, metres."""
    normal: np.ndarray
    """float32 (3, h, w), towards the camera, in its axes."""


def cast(view: View, solids: Sequence[Solid]) -> Hits:
    """The nearest of the solids along the ray of each sample."""
    height, width = (n * SAMPLES for n in view.size)
    hits = Hits(
        dioptres=np.zeros((height, width), np.float32),
        solid=np.full((height, width), -1, np.int16),
        at=np.zeros((2, height, width), np.float32),
        footprint=np.zeros((2, height, width), np.float32),
        normal=np.zeros((3, height, width), np.float32),
    )
    slopes = view.slopes()
    for number, solid in enumerate(solids):
        if isinstance(solid, Quad):
            _meet_quad(view, slopes, solid, number, hits)
        else:
            _meet_round(view, slopes, solid, number, hits)
    return hits


def box(
    middle: tuple[float, float, float],
    size: tuple[float, float, float],
    turn: float,
    materials: Sequence[int],
    thing: int = 0,
) -> Iterator[Quad]:
    """The five faces of an upright box that can be seen from above its foot.

    middle: of its foot. size: width, height, depth. turn: about the vertical, radians. materials:
    of the sides and of the top.
    """
    width, height, depth = size
    along = np.array([np.cos(turn), 0.0, -np.sin(turn)])
    ahead = np.array([np.sin(turn), 0.0, np.cos(turn)])
    up, foot = np.array([0.0, height, 0.0]), np.array(middle)
    x, z = 0.5 * width * along, 0.5 * depth * ahead
    for corner, across in (
        (foot - x - z, 2 * x),
        (foot + x - z, 2 * z),
        (foot + x + z, -2 * x),
        (foot - x + z, -2 * z),
    ):
        yield Quad(corner, across, up, materials[0], thing)
    yield Quad(foot - x - z + up, 2 * x, 2 * z, materials[-1], thing)


def quad_plane(view: View, quad: Quad) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Its unit normal, distance, and unit directions across and up, in the camera's axes."""
    across, up = view.turned(quad.across), view.turned(quad.up)
    across, up = across / np.linalg.norm(across), up / np.linalg.norm(up)
    normal = np.cross(across, up)
    return normal, float(normal @ view.seen(quad.corner)), across, up


def quad_corners(view: View, quad: Quad) -> np.ndarray:
    """Its corners (4, 3) in the camera's axes."""
    a, b = quad.across, quad.up
    return view.seen(quad.corner + np.stack([0 * a, a, b, a + b]))


def meet_plane(
    view: View, slopes: tuple[np.ndarray, np.ndarray], quad: Quad
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Inverse depth of its plane, metres across and down from its upper left, and inside or not.

    None where it is seen edge on. Inverse depth is linear in the picture.
    """
    x, y = slopes
    normal, distance, across, up = quad_plane(view, quad)
    if abs(distance) < 1e-5:
        return None
    dioptres = _along(normal / distance, x, y)
    depth_m = 1.0 / np.maximum(dioptres, np.float32(1e-4))
    corner = view.seen(quad.corner)
    lengths = np.float32(np.linalg.norm(quad.across)), np.float32(np.linalg.norm(quad.up))
    u = _along(across, x, y) * depth_m - np.float32(across @ corner)
    v = lengths[1] - (_along(up, x, y) * depth_m - np.float32(up @ corner))
    if quad.round:
        inside = (2.0 * u / lengths[0] - 1.0) ** 2 + (2.0 * v / lengths[1] - 1.0) ** 2 <= 1.0
    else:
        inside = (u >= 0.0) & (u <= lengths[0]) & (v >= 0.0) & (v <= lengths[1])
    return dioptres, u, v, inside


def plane_footprint(
    view: View, quad: Quad, dioptres: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Extent of a sample in metres across and down a quad: from the derivatives of u and v."""
    normal, distance, across, up = quad_plane(view, quad)
    corner, depth_m = view.seen(quad.corner), 1.0 / dioptres
    slope = normal / distance
    step = np.float32(1.0 / (view.focal_px * SAMPLES))
    found = []
    for direction, place in (
        (across, u + np.float32(across @ corner)),
        (up, np.float32(np.linalg.norm(quad.up) + up @ corner) - v),
    ):
        rates = (
            np.abs(np.float32(direction[axis]) - place * np.float32(slope[axis])) for axis in (0, 1)
        )
        found.append(np.maximum(*rates) * depth_m * step)
    return found[0], found[1]


def _meet_quad(
    view: View, slopes: tuple[np.ndarray, np.ndarray], quad: Quad, number: int, hits: Hits
) -> None:
    window = view.window(quad_corners(view, quad))
    if window is None:
        return
    met = meet_plane(view, (slopes[0][:, window[1]], slopes[1][window[0]]), quad)
    if met is None:
        return
    dioptres, u, v, inside = met
    inside &= (dioptres > hits.dioptres[window]) & (dioptres < 1.0 / NEAREST_M)
    dioptres, u, v = dioptres[inside], u[inside], v[inside]
    normal, distance, *_ = quad_plane(view, quad)
    towards = -np.sign(distance) * normal
    hits.dioptres[window][inside] = dioptres
    hits.solid[window][inside] = number
    footprint = plane_footprint(view, quad, dioptres, u, v)
    for axis, (place, extent) in enumerate(zip((u, v), footprint, strict=True)):
        hits.at[axis][window][inside] = place
        hits.footprint[axis][window][inside] = extent
    for axis in range(3):
        hits.normal[axis][window][inside] = towards[axis]


def _meet_round(
    view: View,
    slopes: tuple[np.ndarray, np.ndarray],
    solid: Cylinder | Sphere,
    number: int,
    hits: Hits,
) -> None:
    """Cylinders and balls: the nearer root of |P - axis|² = radius²."""
    reach, radius = np.full(3, solid.radius_m), np.float32(solid.radius_m)
    upright = isinstance(solid, Cylinder)
    if isinstance(solid, Cylinder):
        low, high = solid.base - reach, solid.base + reach
        low[1], high[1] = solid.base[1], solid.base[1] + solid.height_m
        centre = view.seen(solid.base)
    else:
        low, high = solid.centre - reach, solid.centre + reach
        centre = view.seen(solid.centre)
    corners = np.stack([np.where([i & 1, i & 2, i & 4], high, low) for i in range(8)])
    window = view.window(view.seen(corners))
    if window is None:
        return
    x, y = slopes[0][:, window[1]], slopes[1][window[0]]
    # The world's axes in the camera's.
    side, up, ahead = (axis.astype(np.float32) for axis in view.axes.T)
    rise = _along(up, x, y)
    a, b = x * x + y * y + np.float32(1.0), _along(centre, x, y)
    c = float(centre @ centre) - solid.radius_m**2
    if upright:  # what is along the axis does not count
        a = a - rise * rise
        b = b - rise * np.float32(up @ centre)
        c -= float(up @ centre) ** 2
    root = b * b - a * np.float32(c)
    depth_m = (b - np.sqrt(np.maximum(root, 0.0))) / a
    inside = (root > 0.0) & (depth_m > NEAREST_M)
    if isinstance(solid, Cylinder):
        above = depth_m * rise - np.float32(up @ centre)
        inside &= (above >= 0.0) & (above <= solid.height_m)
    inside &= depth_m * hits.dioptres[window] < 1.0
    depth_m = depth_m[inside]
    ray = np.stack([np.broadcast_to(s, inside.shape)[inside] for s in (x, y, np.ones_like(x))])
    away = ray * depth_m - centre[:, None].astype(np.float32)
    height_m = up @ away
    if upright:
        away -= up[:, None] * height_m
    normal = away / radius
    around = np.arctan2(side @ normal, -(ahead @ normal)) * radius
    if isinstance(solid, Cylinder):
        down = np.float32(solid.height_m) - height_m
    else:
        down = radius * np.arccos(np.clip(up @ normal, -1.0, 1.0))
    facing = np.abs(np.sum(normal * ray, axis=0)) / np.linalg.norm(ray, axis=0)
    extent = depth_m / np.float32(view.focal_px * SAMPLES)
    slanted = extent / np.maximum(facing, 0.1)
    hits.dioptres[window][inside] = 1.0 / depth_m
    hits.solid[window][inside] = number
    hits.at[0][window][inside], hits.at[1][window][inside] = around, down
    hits.footprint[0][window][inside] = slanted
    hits.footprint[1][window][inside] = extent if upright else slanted
    for axis in range(3):
        hits.normal[axis][window][inside] = normal[axis]


def _along(direction: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The product of a direction with the rays (x, y, 1)."""
    first, second, third = direction.astype(np.float32)
    return first * x + (second * y + third)
