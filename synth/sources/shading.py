"""Light on the solids of a scene: texture, lamp or sun, shadows, dark corners."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synth.sources.raycast import SAMPLES, Hits, Solid, Vector, View
from synth.sources.ripmap import RipMap

# One of these for each sample of a pixel: four steps between two levels of a texture.
_DITHER = np.array([[0.125, 0.625], [0.875, 0.375]], np.float32)
_OCCLUDED = 0.55  # share of the light from all around that contact takes


@dataclass(frozen=True, slots=True)
class Material:
    """What a surface is made of."""

    texture: RipMap
    """Linear light (h, w, 3)."""
    tile_m: tuple[float, float]
    """Metres that the texture covers, across and down."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Where on it a surface begins, in textures."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors on its red, green and blue."""
    shines: bool = False
    """It is as bright as its texture, whatever the light."""


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp or the sun, and the light from all around."""

    place: Vector
    """World, metres."""
    colour: Vector
    """Linear RGB that it adds to a white surface at no distance."""
    reach_m: float
    """Where it is half as bright; infinite for the sun."""
    ambient: Vector
    """Linear RGB on a white surface that looks up; one that looks down gets half."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """An upright box that throws a shadow and darkens what it touches."""

    middle: Vector
    half: Vector
    turn: float
    thing: int


def shade(
    view: View,
    hits: Hits,
    solids: Sequence[Solid],
    materials: Sequence[Material],
    light: Light,
    blockers: Sequence[Blocker] = (),
) -> np.ndarray:
    """Linear light of every sample, float32 (H S, W S, 3); black where nothing was hit."""
    shape = hits.solid.shape
    numbers = np.array([solid.material for solid in solids], np.int16)
    material = np.where(hits.solid >= 0, numbers[hits.solid], -1)
    brightness = _irradiance(view, hits, solids, light, blockers)
    dither = np.tile(_DITHER, (shape[0] // SAMPLES, shape[1] // SAMPLES)).reshape(-1)
    result = np.zeros((shape[0] * shape[1], 3), np.float32)
    at, extent = hits.at.reshape(2, -1), hits.footprint.reshape(2, -1)
    for number in np.unique(material[material >= 0]):
        of = materials[number]
        chosen = np.flatnonzero(material.reshape(-1) == number)
        found = of.texture.sample(
            at[0, chosen] / np.float32(of.tile_m[0]) + np.float32(of.offset[0]),
            at[1, chosen] / np.float32(of.tile_m[1]) + np.float32(of.offset[1]),
            (
                extent[0, chosen] / np.float32(of.tile_m[0]),
                extent[1, chosen] / np.float32(of.tile_m[1]),
            ),
            dither[chosen],
        )
        found = found * np.array(of.tint, np.float32)
        result[chosen] = found if of.shines else found * brightness.reshape(-1, 3)[chosen]
    return result.reshape(*shape, 3)


def _irradiance(
    view: View,
    hits: Hits,
    solids: Sequence[Solid],
    light: Light,
    blockers: Sequence[Blocker],
) -> np.ndarray:
    """Light that falls on each sample, (H S, W S, 3)."""
    x, y = view.slopes()
    depth_m = 1.0 / np.maximum(hits.dioptres, np.float32(1e-3))
    lamp = view.seen(light.place).astype(np.float32)
    to_lamp = [lamp[axis] - ray * depth_m for axis, ray in enumerate((x, y, np.float32(1.0)))]
    distance = np.sqrt(to_lamp[0] ** 2 + to_lamp[1] ** 2 + to_lamp[2] ** 2)
    normal = hits.normal
    facing = normal[0] * to_lamp[0] + normal[1] * to_lamp[1] + normal[2] * to_lamp[2]
    direct = np.maximum(facing, 0.0) / distance
    if np.isfinite(light.reach_m):
        direct /= 1.0 + (distance / np.float32(light.reach_m)) ** 2
    up = view.axes[:, 1].astype(np.float32)
    upward = up[0] * normal[0] + up[1] * normal[1] + up[2] * normal[2]
    around = np.float32(0.75) + np.float32(0.25) * upward
    if blockers:
        # One ray a pixel: a shadow has a soft edge, and need not be sharper.
        lit, open_ = _hidden(view, hits, solids, light, blockers)
        direct *= _finer(lit)
        around *= _finer(open_)
    return direct[..., None] * light.colour.astype(np.float32) + around[
        ..., None
    ] * light.ambient.astype(np.float32)


def _hidden(
    view: View,
    hits: Hits,
    solids: Sequence[Solid],
    light: Light,
    blockers: Sequence[Blocker],
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the lamp's light and of that from all around that reach each pixel, (H, W)."""
    x, y = (s[..., 1::SAMPLES] if s.shape[0] == 1 else s[1::SAMPLES] for s in view.slopes())
    dioptres, solid = (a[1::SAMPLES, 1::SAMPLES] for a in (hits.dioptres, hits.solid))
    depth_m = 1.0 / np.maximum(dioptres, np.float32(1e-3))
    # In the world, from the camera's place on.
    ahead = [
        (
            np.float32(view.axes[0, k]) * x
            + np.float32(view.axes[1, k]) * y
            + np.float32(view.axes[2, k])
        )
        * depth_m
        for k in range(3)
    ]
    things = np.array([s.thing for s in solids], np.int16)[solid]
    lit, open_ = np.ones_like(depth_m), np.ones_like(depth_m)
    for blocker in blockers:
        own = things == blocker.thing
        cos, sin = np.float32(np.cos(blocker.turn)), np.float32(np.sin(blocker.turn))
        shift = (view.position - blocker.middle).astype(np.float32)
        east, rise, north = (a + s for a, s in zip(ahead, shift, strict=True))
        place = cos * east - sin * north, rise, sin * east + cos * north
        lamp = light.place - blocker.middle
        to = (
            cos * np.float32(lamp[0]) - sin * np.float32(lamp[2]),
            np.float32(lamp[1]),
            sin * np.float32(lamp[0]) + cos * np.float32(lamp[2]),
        )
        enter, leave = np.float32(0.0), np.float32(1.0)
        gaps = []
        for at, goal, half in zip(place, to, blocker.half.astype(np.float32), strict=True):
            way = goal - at
            way = np.where(np.abs(way) < 1e-6, np.float32(1e-6), way)
            first, second = (-half - at) / way, (half - at) / way
            enter = np.maximum(enter, np.minimum(first, second))
            leave = np.minimum(leave, np.maximum(first, second))
            gaps.append(np.maximum(np.abs(at) - half, 0.0))
        lit[(enter < leave) & ~own] = 0.0
        gap = np.sqrt(gaps[0] ** 2 + gaps[1] ** 2 + gaps[2] ** 2)
        spread = np.float32(-1.0 / (0.35 * float(blocker.half.mean())))
        open_ *= np.where(own, np.float32(1.0), 1.0 - np.float32(_OCCLUDED) * np.exp(gap * spread))
    return lit, open_


def _finer(share: np.ndarray) -> np.ndarray:
    """A share for each sample from one for each pixel, its edges softened over three pixels."""
    padded = np.pad(share, 1, mode="edge")
    rows = (padded[:-2] + padded[1:-1] + padded[2:]) / np.float32(3.0)
    soft = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / np.float32(3.0)
    return np.repeat(np.repeat(soft, SAMPLES, axis=0), SAMPLES, axis=1)
