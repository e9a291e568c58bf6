"""Rooms, and tables in them, lit by a lamp."""

from collections.abc import Sequence

import numpy as np

from synth.sources import materials
from synth.sources.patterns import Size
from synth.sources.place import Place, Point, stand
from synth.sources.raycast import Quad
from synth.sources.ripmap import RipMap
from synth.sources.shading import Light


def room(rng: np.random.Generator, size: Size, photographs: Sequence[np.ndarray]) -> Place:
    """A room with furniture, lamps on wires, and at times something near."""
    width, depth, high = rng.uniform(2.6, 6.5), rng.uniform(3.0, 9.0), rng.uniform(2.3, 3.2)
    left, front = -width * rng.uniform(0.25, 0.75), -rng.uniform(0.4, 1.5)
    lamp = (left + width * rng.uniform(0.2, 0.8), high - 0.2, rng.uniform(0.5, 0.9 * depth))
    place = stand(
        rng, size, photographs, fov_deg=(50, 82), height_m=(0.9, 1.7), yaw_deg=40,
        pitch_deg=(-22, 4), light=_lamp(rng, lamp, 3.5),
    )  # fmt: skip
    _shell(place, left, front, width, depth, high)
    for _ in range(int(rng.integers(5, 14))):
        x, z = place.spot(1.2, depth)
        kind = int(rng.integers(4))
        if kind != 2 and np.hypot(x, z) < 1.9:  # the camera stands in none of them
            continue
        if not (left + 0.5 < x < left + width - 0.5 and z < depth - 0.5):
            continue
        turn = float(rng.choice([0.0, 0.5 * np.pi, rng.uniform(0, np.pi)]))
        away = float(np.hypot(x, z))
        if kind == 0:
            extent = rng.uniform(0.7, 1.8), rng.uniform(0.45, 0.8), rng.uniform(0.5, 0.9)
            place.put_table(x, z, turn, extent)
        elif kind == 1:  # cupboard
            tall, wide = rng.uniform(0.5, 2.0), rng.uniform(0.5, 1.4)
            front_ = place.show(RipMap(materials.books(rng, photographs, place.side)), (wide, tall))
            faces = front_ if rng.random() < 0.5 else place.surface(away), place.surface(away)
            place.put_box((x, 0, z), (wide, tall, 0.4), turn, faces, place.thing())
            place.put_small((x, tall, z), rng.uniform(0.15, 0.4))
        elif kind == 2:
            place.put_small((x, 0.0, z), rng.uniform(0.3, 0.8))
        else:  # seat
            thing, cloth = place.thing(), place.surface(away)
            wide = rng.uniform(0.5, 1.6)
            place.put_box((x, 0.1, z), (wide, 0.35, 0.6), turn, (cloth,), thing)
            back = x + 0.3 * np.sin(turn), 0.1, z + 0.3 * np.cos(turn)
            place.put_box(back, (wide, 0.8, 0.15), turn, (cloth,), thing)
    for _ in range(int(rng.integers(0, 3))):
        x, z = place.spot(1.5, depth)
        place.put_wire((x, high, z), (x, high - rng.uniform(0.4, 1.0), z), 0.006)
    place.put_near()
    return place


def table(rng: np.random.Generator, size: Size, photographs: Sequence[np.ndarray]) -> Place:
    """A table with things on it, seen from nearby."""
    high, back = rng.uniform(0.6, 0.8), rng.uniform(1.6, 6.0)
    lamp = rng.uniform(-1.5, 1.5), high + rng.uniform(0.8, 1.6), rng.uniform(0.0, 1.5)
    place = stand(
        rng, size, photographs, fov_deg=(35, 60), height_m=(high + 0.2, high + 0.55), yaw_deg=15,
        pitch_deg=(-30, -8), light=_lamp(rng, lamp, 2.5),
    )  # fmt: skip
    _shell(place, -rng.uniform(1.5, 3.0), -1.0, rng.uniform(3.5, 6.0), back, 2.5)
    thing = place.thing()
    deep = rng.uniform(0.7, min(1.6, back - 0.3))
    wood = place.cover(materials.material, 0.6)
    middle = (0.0, high - 0.04, 0.15 + 0.5 * deep)
    turn = rng.uniform(-0.3, 0.3)
    place.put_box(middle, (rng.uniform(1.2, 2.6), 0.04, deep), turn, (wood,), thing)
    for _ in range(int(rng.integers(4, 13))):
        x, z = place.spot(0.45, deep)
        place.put_small((x, high, z), rng.uniform(0.06, 0.28))
    for _ in range(int(rng.integers(0, 3))):
        x, z = place.spot(0.4, deep)
        end = (x + rng.uniform(-0.4, 0.4), high + 0.005, z + rng.uniform(-0.2, 0.5))
        place.put_wire((x, high + 0.005, z), end, 0.003)
    if back > 3.0 and rng.random() < 0.7:
        x, z = place.spot(deep + 0.8, back - 0.4)
        place.put_table(x, z, rng.uniform(0, np.pi), (1.0, 0.7, 0.7))
    if rng.random() < 0.3:
        place.put_near()
    return place


def _shell(
    place: Place, left: float, front: float, width: float, depth: float, high: float
) -> None:
    """Floor, walls, ceiling, with pictures and windows on the walls."""
    rng = place.rng
    x, y, z = np.array([width, 0, 0]), np.array([0, high, 0]), np.array([0, 0, depth - front])
    near_left = np.array([left, 0.0, front])
    floor = place.cover(materials.material, 1.8)
    wall = materials.plain if rng.random() < 0.65 else materials.material
    paint = place.cover(wall, 0.7 * depth)
    other = paint if rng.random() < 0.7 else place.cover(materials.material, 0.6 * depth)
    ceiling = place.cover(materials.plain, 3.0)
    place.solids += [
        Quad(near_left, x, z, floor),
        Quad(near_left + y, x, z, ceiling),
        Quad(near_left + z, x, y, other),
        Quad(near_left, z, y, paint),
        Quad(near_left + x + z, -z, y, paint),
        Quad(near_left + x, -x, y, paint),
    ]
    walls = [(near_left + z, x), (near_left, z), (near_left + x + z, -z)]
    inwards = [np.array([0, 0, -1.0]), np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])]
    for corner, along in walls:
        inward = inwards.pop(0)
        length = float(np.linalg.norm(along))
        for _ in range(int(rng.integers(0, 4))):
            print_, aspect = place.print()
            tall = rng.uniform(0.3, 1.3)
            wide = min(tall * aspect, 0.8 * length)
            start, foot = rng.uniform(0.0, length - wide), rng.uniform(0.5, high - 0.3 - 0.6 * tall)
            tall = min(tall, high - foot)
            window = rng.random() < 0.3
            shown = place.show(print_, (wide, tall), brightness=1.0 + window, shines=window)
            unit = along / length
            proud = 0.02 + 0.01 * rng.random()
            at = corner + start * unit + [0, foot, 0] + proud * inward
            frame, edge = place.surface(2.0), 0.04
            rim = at - edge * unit - [0, edge, 0] - 0.4 * proud * inward
            place.solids.append(
                Quad(rim, (wide + 2 * edge) * unit, np.array([0, tall + 2 * edge, 0]), frame)
            )
            place.solids.append(Quad(at, wide * unit, np.array([0, tall, 0]), shown))


def _lamp(rng: np.random.Generator, place: Point, reach_m: float) -> Light:
    warm = np.array([1.0, 0.9, 0.75]) ** rng.uniform(0.0, 1.0)
    cool = np.array([0.92, 0.97, 1.0]) ** rng.uniform(0.0, 1.0)
    return Light(
        np.array(place), rng.uniform(0.8, 1.6) * warm, reach_m, rng.uniform(0.2, 0.5) * cool
    )
