"""Rooms, tables, streets and gardens of simple solids, seen by a camera that stands in them.

Exact depth from 0.4 to 40 m with slopes and steps, surfaces in perspective covered with parts of
photographs at a scale of their own, foliage keyed from photographs, wires, one light, shadows.
"""

from collections.abc import Callable, Sequence

import numpy as np

from synth.scene import Scene
from synth.sources.develop import develop
from synth.sources.indoors import room, table
from synth.sources.outdoors import garden, street
from synth.sources.overlays import draw
from synth.sources.patterns import Size
from synth.sources.place import Place
from synth.sources.raycast import cast
from synth.sources.shading import shade
from synth.sources.textures import check_textures

_PLACES: tuple[
    tuple[Callable[[np.random.Generator, Size, Sequence[np.ndarray]], Place], float], ...
] = ((room, 0.35), (table, 0.2), (street, 0.25), (garden, 0.2))
"""How places are built, each with how often it is."""


def place_scene(
    rng: np.random.Generator,
    *,
    scene_id: str,
    size: Size = (256, 256),
    textures: Sequence[np.ndarray] | None = None,
) -> Scene:
    """Build a place and look at it.

    size: (H, W), at least 16. textures: photographs, uint8 or uint16 (H, W, 3); None or an empty
    sequence takes patterns alone. The same stream and textures give the same scene.
    """
    if min(size) < 16:
        raise ValueError(f"size must be at least 16 x 16, got {size[0]} x {size[1]}")
    photographs = list(textures or [])
    check_textures(photographs)
    for photograph in photographs:
        if min(photograph.shape[:2]) < 2:
            raise ValueError(f"a texture must be at least 2 x 2 pixels, got {photograph.shape[:2]}")
    build, share = zip(*_PLACES, strict=True)
    place = build[int(rng.choice(len(build), p=share))](rng, size, photographs)
    hits = cast(place.view, place.solids)
    light = shade(place.view, hits, place.solids, place.materials, place.light, place.blockers)
    draw(place.view, place.overlays, light, hits)
    bright = float(np.quantile(light[::4, ::4].max(axis=2), 0.96))
    exposure = float(np.clip(rng.uniform(0.55, 1.1) / max(bright, 1e-3), 0.2, 8.0))
    return develop(scene_id, light, hits, exposure=exposure)
