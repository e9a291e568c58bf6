"""Layered scenes made by formula, with exact depth, textured with photographs or patterns.

A backdrop, sometimes a ground and a wall that run towards the viewer, and a crowd of cut-outs and
thin structures at distinct depths before them. Surfaces are planes (their inverse depth is linear
in the picture, as a plane's is in perspective) or bulge towards the viewer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from synth.cells import Part
from synth.color import linear_to_srgb, srgb_to_linear
from synth.scene import Scene
from synth.sources.materials import coloured, natural_colour
from synth.sources.patterns import Size, random_pattern
from synth.sources.shapes import Grid, fence, matte, pixel_grid, random_shape
from synth.sources.textures import check_textures, crop_texture, vary_colours

_PHOTOGRAPH_SHARE = 0.92  # of surfaces, where photographs are given
_LATTICE_SHARE = 0.1  # of scenes: one looks through bars or a grid
_WALL_SHARE = 0.25  # of scenes


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface of a scene, whole, with what later surfaces hide of it."""

    window: Part
    """Rows and columns of the picture that it lies in; the arrays are of this part."""
    light: np.ndarray
    """float32 (h, w, 3), linear light, not weighted by the matte; too bright above 1."""
    matte: np.ndarray
    """float32 (h, w): share of each pixel that it covers of what is behind it, in [0, 1]."""
    depth_m: np.ndarray
    """float32 (h, w), metres."""


def procedural_scene(
    rng: np.random.Generator,
    *,
    scene_id: str,
    size: Size = (256, 256),
    textures: Sequence[np.ndarray] | None = None,
) -> Scene:
    """Make a scene: up to 14 objects before a backdrop. See `procedural_surfaces`."""
    return flatten(procedural_surfaces(rng, size=size, textures=textures), scene_id=scene_id)


def flatten(surfaces: Iterable[Surface], *, scene_id: str) -> Scene:
    """The picture of surfaces given back to front, the first of them the whole backdrop.

    The depth of a pixel is that of the nearest surface whose matte is at least one half there.
    """
    nearer = iter(surfaces)
    backdrop = next(nearer)
    canvas, depth_m = backdrop.light.copy(), backdrop.depth_m.copy()
    for surface in nearer:
        share = surface.matte[..., None]
        seen = canvas[surface.window]
        canvas[surface.window] = seen * (1.0 - share) + surface.light * share
        np.copyto(depth_m[surface.window], surface.depth_m, where=surface.matte >= 0.5)
    return Scene(scene_id, linear_to_srgb(canvas), depth_m)


def procedural_surfaces(
    rng: np.random.Generator,
    *,
    size: Size = (256, 256),
    textures: Sequence[np.ndarray] | None = None,
) -> Iterator[Surface]:
    """Make the surfaces of a scene, back to front: a backdrop, then what is before it.

    size: (H, W), at least 16. textures: photographs, uint8 or uint16 (H, W, 3); None or an empty
    sequence takes patterns alone. The same stream and textures give the same scene.
    """
    if min(size) < 16:
        raise ValueError(f"size must be at least 16 x 16, got {size[0]} x {size[1]}")
    textures = list(textures or [])
    check_textures(textures)
    grid = pixel_grid(size)
    far_m = float(np.exp(rng.uniform(np.log(2.5), np.log(30.0))))
    near_m = far_m * float(rng.uniform(0.08, 0.4))
    nearest, farthest = 1.0 / near_m, 1.0 / far_m
    exposure = np.float32(rng.uniform(0.7, 1.1))

    light = srgb_to_linear(_surface(rng, size, textures)) * exposure
    # Some scenes are one wall seen aslant with little before it, as many photographs are.
    wall = rng.random() < _WALL_SHARE
    if wall:
        dioptres = _aslant(rng, grid, nearest, farthest)
    else:
        dioptres = _plane(rng, grid, farthest, slant=0.3 * float(rng.random()) * farthest)
    limits = 0.5 * farthest, 1.5 * nearest
    whole = np.ones(size, dtype=np.float32)
    yield Surface((slice(0, size[0]), slice(0, size[1])), light, whole, _depth_m(dioptres, limits))

    count = int(rng.integers(0, 4) if wall else rng.integers(3, 15))
    furniture = [] if wall else _furniture(rng, grid, nearest, farthest)
    objects = _objects(rng, grid, nearest, farthest, count=count)
    for distance, surface_dioptres in chain(furniture, objects):
        cover = matte(distance) * (surface_dioptres > dioptres)
        rows, columns = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
        if rows.size == 0:
            continue
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        light = _light_of(rng, cover[window].shape, textures) * exposure
        np.copyto(dioptres[window], surface_dioptres[window], where=cover[window] >= 0.5)
        yield Surface(window, light, cover[window], _depth_m(surface_dioptres[window], limits))


def _depth_m(dioptres: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (1.0 / np.clip(dioptres, *limits)).astype(np.float32)


def _objects(
    rng: np.random.Generator, grid: Grid, nearest: float, farthest: float, *, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut-outs and thin structures: (signed distance, inverse depth), farthest first."""
    size = grid[0].shape
    lattice = int(rng.integers(max(count, 1))) if rng.random() < _LATTICE_SHARE else -1
    for number, place in enumerate(np.sort(rng.uniform(0.0, 1.0, count))):
        middle = farthest + (nearest - farthest) * float(place)
        radius_px = min(size) * float(np.exp(rng.uniform(np.log(0.06), np.log(0.36))))
        shape = fence if number == lattice else random_shape
        distance = shape(rng, grid, radius_px)
        slant = (nearest - farthest) * float(rng.choice([0.0, rng.uniform(0.0, 0.25)]))
        dioptres = _plane(rng, grid, middle, slant=slant)
        if rng.random() < 0.3:
            depth_of_bulge = (nearest - farthest) * float(rng.uniform(0.02, 0.12))
            inside = np.clip(-distance / np.float32(radius_px), 0.0, 1.0)
            dioptres = dioptres + depth_of_bulge * np.sqrt(inside)
        yield distance, dioptres


def _surface(rng: np.random.Generator, size: Size, textures: list[np.ndarray]) -> np.ndarray:
    """The colours of one surface, sRGB float32 (H, W, 3)."""
    if textures and rng.random() < _PHOTOGRAPH_SHARE:
        picture = crop_texture(rng, textures[int(rng.integers(len(textures)))], size)
    else:
        picture = random_pattern(rng, size)
        if textures:
            picture = coloured(picture, natural_colour(rng, textures), 0.8)
    return vary_colours(rng, picture)


def _plane(rng: np.random.Generator, grid: Grid, middle: float, *, slant: float) -> np.ndarray:
    """Inverse depth of a plane, (H, W): `middle` at a random place, changing by `slant` across."""
    x, y = grid
    height, width = x.shape
    angle = rng.uniform(0.0, 2.0 * np.pi)
    across = np.cos(angle) * (x / width - rng.random()) + np.sin(angle) * (
        y / height - rng.random()
    )
    return np.maximum(middle + slant * across, 0.3 * middle)


def _aslant(rng: np.random.Generator, grid: Grid, nearest: float, farthest: float) -> np.ndarray:
    """Inverse depth of a plane through most of the depth range, (H, W)."""
    x, y = grid
    height, width = x.shape
    angle = rng.uniform(0.0, 2.0 * np.pi)
    across = np.cos(angle) * (x / width - 0.5) + np.sin(angle) * (y / height - 0.5)
    share = (across - across.min()) / (across.max() - across.min())
    return farthest + (nearest - farthest) * float(rng.uniform(0.4, 1.0)) * share


def _furniture(
    rng: np.random.Generator, grid: Grid, nearest: float, farthest: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ground and wall: (signed distance, inverse depth), running from the backdrop to the front."""
    x, y = grid
    height, width = x.shape
    result = []
    if rng.random() < 0.6:
        horizon = height * float(rng.uniform(0.3, 0.85))
        tilt = np.float32(rng.normal(0.0, 0.08))
        depth_below = y - np.float32(horizon) - tilt * (x - width / 2)
        reach = (nearest - farthest) * float(rng.uniform(0.4, 1.0)) / max(height - horizon, 1.0)
        result.append((-depth_below, farthest * 1.01 + reach * np.maximum(depth_below, 0.0)))
    if rng.random() < 0.35:
        corner = width * float(rng.uniform(0.15, 0.5))
        depth_beside = np.float32(corner) - (x if rng.random() < 0.5 else width - 1.0 - x)
        reach = (nearest - farthest) * float(rng.uniform(0.3, 1.0)) / corner
        result.append((-depth_beside, farthest * 1.01 + reach * np.maximum(depth_beside, 0.0)))
    return result


def _light_of(rng: np.random.Generator, size: Size, textures: list[np.ndarray]) -> np.ndarray:
    """The linear light of a surface, (H, W, 3)."""
    texture = srgb_to_linear(_surface(rng, (max(size[0], 16), max(size[1], 16)), textures))
    return texture[: size[0], : size[1]] * _shading(rng, size)[..., None]


def _shading(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A smooth change of light across a surface, (H, W), about 1."""
    strength = rng.normal(0.0, 0.25, 2)
    down = np.linspace(-1.0, 1.0, size[0])[:, None] * strength[0]
    across = np.linspace(-1.0, 1.0, size[1])[None, :] * strength[1]
    return np.exp(down + across).astype(np.float32)
