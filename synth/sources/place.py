"""A place while it is built: what stands in it, seen by a camera, with one light."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from synth.color import srgb_to_linear
from synth.sources import materials
from synth.sources.materials import natural_colour
from synth.sources.overlays import CutOut, Overlay, Wire
from synth.sources.patterns import Size
from synth.sources.raycast import Cylinder, Quad, Solid, Sphere, View, box
from synth.sources.ripmap import RipMap
from synth.sources.shading import Blocker, Light, Material

Point = tuple[float, float, float]
Texture = Callable[[np.random.Generator, Sequence[np.ndarray], int], np.ndarray]


@dataclass(kw_only=True)
class Place:
    """What has been built so far. Lengths in metres, angles in radians."""

    rng: np.random.Generator
    photographs: Sequence[np.ndarray]
    view: View
    field_of_view: float
    yaw: float
    light: Light
    solids: list[Solid] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    overlays: list[Overlay] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    things: int = 0
    side: int
    """Of textures, texels."""
    _foliage: list[RipMap] = field(default_factory=list)
    _surfaces: list[RipMap] = field(default_factory=list)
    _prints: dict[int, tuple[RipMap, float]] = field(default_factory=dict)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def by_ratio(self, low: float, high: float) -> float:
        """A number whose logarithm is uniform."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def spot(self, near_m: float, far_m: float) -> tuple[float, float]:
        """(x, z) of a place on the ground that is in view."""
        angle = self.yaw + self.field_of_view * self.uniform(-0.5, 0.5)
        away = self.by_ratio(near_m, far_m)
        return away * float(np.sin(angle)), away * float(np.cos(angle))

    def cover(self, texture: Texture, distance_m: float) -> int:
        """A material of its own with about one texel a pixel at a distance, finer farther off."""
        found = RipMap(texture(self.rng, self.photographs, self.side))
        tile_m = self._tile_m(found, distance_m)
        return self.add(Material(found, (tile_m, tile_m), self._offset()))

    def show(
        self,
        picture: RipMap,
        extent_m: tuple[float, float],
        *,
        brightness: float = 1.0,
        shines: bool = False,
    ) -> int:
        """A material of a picture that covers so many metres."""
        return self.add(Material(picture, extent_m, tint=(brightness,) * 3, shines=shines))

    def add(self, found: Material) -> int:
        self.materials.append(found)
        return len(self.materials) - 1

    def thing(self) -> int:
        self.things += 1
        return self.things

    def put_box(
        self, foot: Point, size: Point, turn: float, faces: Sequence[int], thing: int
    ) -> None:
        self.solids += box(foot, size, turn, faces, thing)
        self.block(foot, size, turn, thing)

    def put_cylinder(
        self, foot: Point, radius: float, height: float, side: int, top: int, thing: int
    ) -> None:
        base = np.array(foot)
        self.solids.append(Cylinder(base, radius, height, side, thing))
        lid = base + np.array([-radius, height, -radius])
        x, z = np.array([2 * radius, 0.0, 0.0]), np.array([0.0, 0.0, 2 * radius])
        self.solids.append(Quad(lid, x, z, top, thing, round=True))
        self.block(foot, (1.7 * radius, height, 1.7 * radius), 0.0, thing)

    def block(self, foot: Point, size: Point, turn: float, thing: int) -> None:
        half = 0.5 * np.array(size)
        middle = np.array(foot) + np.array([0.0, half[1], 0.0])
        self.blockers.append(Blocker(middle, half, turn, thing))

    def put_clump(self, middle: Point, radius: float, count: int) -> None:
        """Leaves: cut-outs that face the camera, at several depths."""
        if len(self._foliage) < 2:
            leaves = materials.foliage(self.rng, self.photographs, self.side)
            self._foliage.append(RipMap(leaves))
        across, up = self.view.axes[0].copy(), np.array([0.0, 1.0, 0.0])
        across[1] = 0.0
        across /= np.linalg.norm(across)
        glow = self.light.ambient + 0.4 * self.light.colour
        for _ in range(count):
            centre = np.array(middle) + radius * self.rng.normal(0.0, 0.4, 3)
            half = radius * self.uniform(0.6, 1.0)
            lean = self.uniform(-0.6, 0.6)
            right = np.cos(lean) * across + np.sin(lean) * up
            top = np.cos(lean) * up - np.sin(lean) * across
            picture = self._foliage[int(self.rng.integers(len(self._foliage)))]
            quad = Quad(centre - half * (right + top), 2 * half * right, 2 * half * top, 0)
            self.overlays.append(CutOut(quad, picture, glow * self.uniform(0.6, 1.2)))

    def put_tree(self, x: float, z: float) -> None:
        height, thing = self.uniform(1.8, 4.0), self.thing()
        radius = height * self.uniform(0.02, 0.05)
        bark = self.cover(materials.material, float(np.hypot(x, z)))
        self.put_cylinder((x, 0.0, z), radius, height, bark, bark, thing)
        crown = height * self.uniform(0.35, 0.6)
        self.put_clump((x, height, z), crown, int(self.rng.integers(4, 9)))

    def colour(self) -> np.ndarray:
        """Linear RGB of a small thing in the light."""
        glow = self.light.ambient + 0.4 * self.light.colour
        return srgb_to_linear(natural_colour(self.rng, self.photographs)) * glow

    def put_wire(self, start: Point, end: Point, radius: float, *, sag: float = 0.0) -> None:
        """Hangs between two points, lower by sag in the middle."""
        share = np.linspace(0.0, 1.0, 12 if sag else 2)[:, None]
        points = (1.0 - share) * np.array(start) + share * np.array(end)
        points[:, 1] -= (4.0 * sag * share * (1.0 - share))[:, 0]
        self.overlays.append(Wire(points, np.full(len(points), radius), self.colour()))

    def put_twig(self, root: Point, length: float, heading: np.ndarray) -> None:
        """Bends at random and grows thin."""
        count = int(self.rng.integers(4, 8))
        steps = heading + np.cumsum(self.rng.normal(0.0, 0.25, (count, 3)), axis=0)
        steps *= length / count / np.linalg.norm(steps, axis=1, keepdims=True)
        points = np.array(root) + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
        radius = length * self.by_ratio(0.004, 0.015) * np.linspace(1.0, 0.3, count + 1)
        self.overlays.append(Wire(points, radius, self.colour()))

    def put_grass(self, x: float, z: float) -> None:
        """A tuft of blades."""
        high, spread = self.uniform(0.08, 0.3), self.uniform(0.03, 0.2)
        base = srgb_to_linear(np.array([0.35, 0.5, 0.2], np.float32) * self.uniform(0.6, 1.2))
        for _ in range(int(self.rng.integers(12, 36))):
            root = np.array([x, 0.0, z]) + self.rng.normal(0.0, spread, 3) * [1.0, 0.0, 1.0]
            lean = self.rng.normal(0.0, 0.25, 3) * high
            share = np.linspace(0.0, 1.0, 4)[:, None]
            points = root + share * [0.0, high, 0.0] + share**2 * lean
            width = high * self.uniform(0.006, 0.016) * np.array([1.0, 0.9, 0.6, 0.1])
            self.overlays.append(Wire(points, width, base * self.by_ratio(0.5, 1.8)))

    def surface(self, distance_m: float) -> int:
        """The material of a small thing: a few textures serve all, at scales and tints of their
        own."""
        if len(self._surfaces) < 3:
            kind = (materials.plain, materials.material)[int(self.rng.random() < 0.6)]
            self._surfaces.append(RipMap(kind(self.rng, self.photographs, self.side)))
        shared = self._surfaces[int(self.rng.integers(len(self._surfaces)))]
        colour = srgb_to_linear(0.4 + 0.6 * natural_colour(self.rng, self.photographs))
        tint = (colour / max(float(colour.mean()), 0.05)) ** np.float32(0.6)
        tile_m = self._tile_m(shared, distance_m)
        return self.add(Material(shared, (tile_m, tile_m), self._offset(), tuple(tint)))

    def picture(self, width: float, height: float) -> int:
        """The material of a printed thing: a whole photograph over so many metres."""
        return self.show(self.print()[0], (width, height))

    def print(self) -> tuple[RipMap, float]:
        """A photograph, each prepared once, and its width over its height."""
        number = int(self.rng.integers(len(self.photographs) or 3))
        if number not in self._prints:
            chosen = self.photographs[number : number + 1]
            light, aspect = materials.picture(self.rng, chosen, self.side)
            self._prints[number] = RipMap(light), aspect
        return self._prints[number]

    def _tile_m(self, texture: RipMap, distance_m: float) -> float:
        """Metres that a texture covers with about one texel a pixel at a distance."""
        return texture.width * distance_m / self.view.focal_px * self.by_ratio(0.5, 1.2)

    def _offset(self) -> tuple[float, float]:
        return self.uniform(0.0, 2.0), self.uniform(0.0, 2.0)

    def put_small(self, foot: Point, scale: float) -> None:
        """A box, can, bottle, ball, pile of books or pot with leaves, scale metres or so high."""
        thing, turn = self.thing(), self.uniform(0.0, np.pi)
        away = float(np.linalg.norm(np.array(foot) - self.view.position))
        kind, width = int(self.rng.integers(6)), scale * self.uniform(0.5, 1.1)
        x, y, z = foot
        if kind == 0:
            side = self.picture(width, scale) if self.rng.random() < 0.7 else self.surface(away)
            depth = scale * self.uniform(0.3, 1.0)
            self.put_box(foot, (width, scale, depth), turn, (side, self.surface(away)), thing)
        elif kind == 1:
            radius = 0.4 * width
            side = self.picture(np.pi * radius, scale)
            self.put_cylinder(foot, radius, scale, side, self.surface(away), thing)
        elif kind == 2:
            glass, radius = self.surface(away), 0.18 * scale
            self.put_cylinder(foot, radius, 0.65 * scale, glass, glass, thing)
            self.solids.append(
                Sphere(np.array([x, y + 0.65 * scale, z]), radius * 0.98, glass, thing)
            )
            self.put_cylinder(
                (x, y + 0.6 * scale, z), 0.4 * radius, 0.5 * scale, glass, glass, thing
            )
        elif kind == 3:
            radius = 0.45 * width
            self.solids.append(
                Sphere(np.array([x, y + radius, z]), radius, self.surface(away), thing)
            )
            self.block(foot, (1.4 * radius, 1.7 * radius, 1.4 * radius), 0.0, thing)
        elif kind == 4:
            for _ in range(int(self.rng.integers(1, 6))):
                thick = 0.16 * scale * self.uniform(0.6, 1.4)
                cover = self.picture(width, 1.4 * width), self.surface(away)
                turn += float(self.rng.normal(0.0, 0.15))
                self.put_box((x, y, z), (width, thick, 1.4 * width), turn, cover[::-1], thing)
                y += thick
        else:
            radius, clay = 0.3 * width, self.surface(away)
            self.put_cylinder(foot, radius, 0.5 * scale, clay, clay, thing)
            self.put_clump((x, y + 0.9 * scale, z), 0.5 * scale, int(self.rng.integers(2, 6)))

    def put_table(self, x: float, z: float, turn: float, size: Point) -> None:
        """A top on four legs, with small things on it. size: width, height, depth."""
        width, height, depth = size
        away, thing = float(np.hypot(x, z)), self.thing()
        near = max(away - 0.5 * max(width, depth), 0.4)
        wood, legs = self.cover(materials.material, near), self.surface(near)
        self.put_box((x, height - 0.04, z), (width, 0.04, depth), turn, (wood,), thing)
        cos, sin = np.cos(turn), np.sin(turn)
        for i, k in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            a, b = 0.45 * width * i, 0.45 * depth * k
            foot = (x + cos * a + sin * b, 0.0, z - sin * a + cos * b)
            self.put_box(foot, (0.05, height - 0.04, 0.05), turn, (legs,), thing)
        for _ in range(int(self.rng.integers(1, 7))):
            a, b = self.uniform(-0.42, 0.42) * width, self.uniform(-0.42, 0.42) * depth
            foot = (x + cos * a + sin * b, height, z - sin * a + cos * b)
            self.put_small(foot, self.uniform(0.08, 0.3))

    def put_near(self) -> None:
        """Sometimes something close to the camera: leaves, twigs, bars, a wire."""
        kind = int(self.rng.choice(5, p=[0.55, 0.15, 0.15, 0.1, 0.05]))
        away, aside = self.by_ratio(0.45, 1.2), self.uniform(-0.6, 0.6)
        reach = 0.5 * away * self.view.size[1] / self.view.focal_px
        drop = 0.5 * away * self.view.size[0] / self.view.focal_px
        ahead = np.array([aside * 2 * reach, self.uniform(-1, 1) * drop, away])
        at = self.view.position + ahead @ self.view.axes
        if kind == 1:
            self.put_clump(tuple(at), away * self.uniform(0.1, 0.25), int(self.rng.integers(2, 5)))
        elif kind == 2:
            for _ in range(int(self.rng.integers(2, 6))):
                heading = np.array([-np.sign(aside), self.uniform(-0.5, 1.0), 0.0])
                self.put_twig(tuple(at), reach * self.uniform(0.4, 1.2), heading)
        elif kind == 3:
            right, up, radius = (
                self.view.axes[0],
                -self.view.axes[1],
                away * self.by_ratio(2e-3, 9e-3),
            )
            middle = self.view.position + away * self.view.axes[2]
            apart, colour = reach * self.by_ratio(0.25, 0.8), self.colour()
            first = self.uniform(-0.2, 0.6)
            for place in np.arange(first * reach, 1.2 * reach, apart):
                points = middle + place * right + np.array([[-2.0], [2.0]]) * drop * up
                self.overlays.append(Wire(points, np.full(2, radius), colour))
        elif kind == 4:
            start = at - 2.0 * reach * self.view.axes[0]
            end = at + 2.0 * reach * self.view.axes[0] + [0.0, self.uniform(-0.3, 0.3) * drop, 0.0]
            self.put_wire(tuple(start), tuple(end), away * 2e-3, sag=0.1 * drop)

    def behind(self, light: np.ndarray, aspect: float, far_m: float) -> None:
        """A picture behind everything, upright on the horizon as photographs are."""
        height, width = (far_m * n / self.view.focal_px for n in self.view.size)
        corner = self.view.position + np.array([-3.0 * width, 3.0 * height, far_m]) @ self.view.axes
        right, up = 6.0 * width * self.view.axes[0], -6.0 * height * self.view.axes[1]
        # From a little below the horizon to the top of the view, at least.
        horizon = far_m * self.view.axes[2, 1] / max(-self.view.axes[1, 1], 0.2)
        foot = 3.0 * height + min(horizon + 0.08 * far_m, 0.45 * height)
        tall = max(foot - 2.5 * height, 0.4 * height) * self.uniform(1.0, 1.4)
        wide = max(tall * aspect, 0.5 * width)
        offset = self.uniform(0.0, 1.0) - 2.5 * width / wide, 1.0 - foot / tall
        shown = Material(RipMap(light), (wide, tall), offset, shines=True)
        self.solids.append(Quad(corner, right, up, self.add(shown)))


def stand(
    rng: np.random.Generator,
    size: Size,
    photographs: Sequence[np.ndarray],
    *,
    fov_deg: tuple[float, float],
    height_m: tuple[float, float],
    yaw_deg: float,
    pitch_deg: tuple[float, float],
    light: Light,
) -> Place:
    """Put a camera into an empty place; its view is drawn.

    size: (H, W), px. fov_deg: field of view across the diagonal; yaw_deg: most, either way.
    """
    fov, pitch, yaw, roll = np.deg2rad(
        [
            rng.uniform(*fov_deg),
            rng.uniform(*pitch_deg),
            rng.uniform(-yaw_deg, yaw_deg),
            rng.normal(0.0, 1.5),
        ]
    )
    # As a photographer does: a picture of whatever shape has that field across its diagonal.
    across = 2.0 * np.arctan(np.tan(0.5 * fov) * size[1] / np.hypot(*size) * 1.25)
    view = View.at(
        size,
        field_of_view=float(across),
        height_m=float(rng.uniform(*height_m)),
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
    )
    return Place(
        rng=rng,
        photographs=photographs,
        view=view,
        field_of_view=float(across),
        yaw=float(yaw),
        light=light,
        # About as many texels as the picture has pixels.
        side=2 ** int(np.clip(np.rint(np.log2(max(size))), 6, 10)),
    )
