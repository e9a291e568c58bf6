"""Streets and gardens under the sun or an overcast sky."""

from collections.abc import Sequence

import numpy as np

from synth.sources import materials
from synth.sources.patterns import Size
from synth.sources.place import Place, Texture, stand
from synth.sources.raycast import Quad, Sphere
from synth.sources.ripmap import RipMap
from synth.sources.shading import Light


def street(rng: np.random.Generator, size: Size, photographs: Sequence[np.ndarray]) -> Place:
    """A street between walls, with poles, trees and wires."""
    place = stand(
        rng, size, photographs, fov_deg=(45, 78), height_m=(1.1, 1.8), yaw_deg=30,
        pitch_deg=(-9, 8), light=_sun(rng),
    )  # fmt: skip
    far_m = rng.uniform(22.0, 38.0)
    _outdoors(place, materials.material, far_m)
    fronts = [RipMap(materials.facade(rng, photographs, place.side)) for _ in range(3)]
    paving = place.cover(materials.material, 4.0)
    sides = [-1, 1] if rng.random() < 0.7 else [int(rng.choice([-1, 1]))]
    for side in sides:
        road = rng.uniform(1.5, 5.0)
        walk = rng.uniform(1.2, 3.0)
        kerb = side * (road + 0.5 * walk), 0.0, 0.5 * far_m
        place.put_box(kerb, (walk, 0.12, far_m + 4.0), 0.0, (paving,), place.thing())
        z = -rng.uniform(0.0, 6.0)
        while z < far_m - 4.0:
            length, tall = rng.uniform(4.0, 10.0), rng.uniform(4.0, 12.0)
            back = rng.uniform(0.0, 1.5)
            if rng.random() < 0.85:
                front = fronts[int(rng.integers(len(fronts)))]
                tile = rng.uniform(3.5, 7.0)
                shown = place.show(front, (tile, tile))
                x = side * (road + walk + back + 2.5)
                roof = place.surface(10.0)
                thing = place.thing()
                place.put_box(
                    (x, 0, z + 0.5 * length), (5.0, tall, length), 0.0, (shown, roof), thing
                )
            z += length + float(rng.choice([0.0, rng.uniform(0.5, 3.0)]))
        _along_street(place, side * road, far_m)
    for _ in range(int(rng.integers(1, 6))):
        x, z = place.spot(2.0, 12.0)
        place.put_small((x, 0.0, z), rng.uniform(0.3, 1.1))
    place.put_near()
    return place


def garden(rng: np.random.Generator, size: Size, photographs: Sequence[np.ndarray]) -> Place:
    """A garden of trees, clumps, stones, grass, at times a fence."""
    place = stand(
        rng, size, photographs, fov_deg=(35, 68), height_m=(0.4, 1.6), yaw_deg=10,
        pitch_deg=(-16, 2), light=_sun(rng),
    )  # fmt: skip
    far_m = rng.uniform(12.0, 35.0)
    _outdoors(place, materials.material, far_m)
    if rng.random() < 0.5:
        x, z = place.spot(4.0, 0.6 * far_m)
        wall = place.cover(materials.material, z)
        extent = rng.uniform(3.0, 12.0), rng.uniform(0.5, 2.5), 0.3
        place.put_box((x, 0, z), extent, rng.uniform(-0.7, 0.7), (wall,), place.thing())
    for _ in range(int(rng.integers(0, 5))):
        place.put_tree(*place.spot(2.5, 0.7 * far_m))
    for _ in range(int(rng.integers(2, 9))):
        x, z = place.spot(1.2, 0.5 * far_m)
        radius = rng.uniform(0.15, 0.6)
        place.put_clump((x, 0.8 * radius, z), radius, int(rng.integers(2, 6)))
    for _ in range(int(rng.integers(1, 8))):  # stones
        x, z = place.spot(1.0, 8.0)
        radius, thing = rng.uniform(0.08, 0.4), place.thing()
        stone = place.surface(float(np.hypot(x, z)))
        place.solids.append(Sphere(np.array([x, 0.3 * radius, z]), radius, stone, thing))
        place.block((x, 0, z), (1.5 * radius, radius, 1.5 * radius), 0.0, thing)
    if rng.random() < 0.35:  # fence
        away, apart = rng.uniform(1.5, 6.0), rng.uniform(0.4, 1.5)
        high, slant = rng.uniform(0.6, 1.3), rng.uniform(-0.5, 0.5)
        row = [(x, away + slant * x) for x in np.arange(-5.0, 5.0, apart)]
        row = [(x, z) for x, z in row if z > 0.5]
        for x, z in row:
            place.put_wire((x, 0, z), (x, high, z), 0.025)
        for share in np.linspace(0.35, 0.95, int(rng.integers(1, 5))):
            start, end = row[0], row[-1]
            place.put_wire(
                (start[0], share * high, start[1]), (end[0], share * high, end[1]), 0.006
            )
    for _ in range(int(rng.integers(0, 12))):
        place.put_grass(*place.spot(0.8, 4.0))
    for _ in range(int(rng.integers(0, 4))):
        x, z = place.spot(1.0, 6.0)
        place.put_small((x, 0.0, z), rng.uniform(0.15, 0.5))
    place.put_near()
    return place


def _outdoors(place: Place, ground: Texture, far_m: float) -> None:
    if place.photographs and place.rng.random() < 0.8:
        light, aspect = materials.picture(place.rng, place.photographs, 2 * place.side)
    else:
        light, aspect = materials.sky(place.rng, place.side).astype(np.float32), 2.0
    place.behind(light, aspect, far_m)
    wide = np.array([80.0, 0.0, 0.0])
    ahead = np.array([0.0, 0.0, 1.5 * far_m])
    corner = np.array([-40.0, 0.0, -2.0])
    place.solids.append(Quad(corner, wide, ahead, place.cover(ground, 3.0)))
    for _ in range(int(place.rng.integers(0, 12))):
        x, z = place.spot(0.5 * far_m, 0.95 * far_m)
        radius = place.uniform(0.02, 0.08) * far_m
        place.put_clump((x, 0.7 * radius, z), radius, int(place.rng.integers(1, 4)))


def _along_street(place: Place, x: float, far_m: float) -> None:
    """Poles with wires, trees, bollards."""
    rng = place.rng
    kind = int(rng.integers(3))
    z, apart, last = rng.uniform(1.5, 5.0), rng.uniform(3.0, 8.0), None
    tall, metal = rng.uniform(2.8, 5.5), place.surface(4.0)
    while z < 0.8 * far_m:
        if kind == 0:
            place.put_cylinder((x, 0, z), 0.05, tall, metal, metal, place.thing())
            if last is not None:
                for hang in (0.05, 0.4):
                    place.put_wire((x, tall - hang, last), (x, tall - hang, z), 0.012, sag=0.3)
            last = z
        elif kind == 1:
            place.put_tree(x, z)
        else:
            place.put_cylinder((x, 0, z), 0.09, 0.9, metal, metal, place.thing())
        z += apart
        apart *= 1.0 if kind == 0 else rng.uniform(0.8, 1.4)


def _sun(rng: np.random.Generator) -> Light:
    high, around = rng.uniform(0.4, 1.2), rng.uniform(-2.4, 2.4)
    place = 1e4 * np.array(
        [np.sin(around) * np.cos(high), np.sin(high), np.cos(around) * np.cos(high)]
    )
    overcast = rng.random() < 0.35
    warm = np.array([1.0, 0.93, 0.82]) ** rng.uniform(0.3, 1.5)
    strength = rng.uniform(0.05, 0.3) if overcast else rng.uniform(0.8, 1.6)
    blue = np.array([0.85, 0.94, 1.0])
    return Light(
        place, strength * warm, np.inf, (0.9 if overcast else rng.uniform(0.3, 0.5)) * blue
    )
