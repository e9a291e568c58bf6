"""What a synthetic pair is made from, and in which split it lies. Pure; reads no picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.dataset.config import SynthConfig
from pipelines.dataset.record import SPLITS
from pipelines.dataset.splits import assign_splits, place_of

_TEXTURES_PER_PAIR = 6
MOTORCYCLE = "motorcycle"
PROCEDURAL = "procedural"
SceneFiles = tuple[tuple[str, str, int], ...]
"""(role, path below the source, bytes) of a scene's image and depth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneUnit:
    """One synthetic pair to make."""

    pair_id: str
    scene_id: str
    split: str
    files: SceneFiles = ()
    """Image and depth; empty for the sources that need none."""
    textures: tuple[str, ...] = ()
    """Photographs for the surfaces of a procedural scene, all of this pair's split."""


def plan_scenes(
    config: SynthConfig,
    *,
    scenes: Mapping[str, SceneFiles],
    textures: Sequence[str],
) -> list[SceneUnit]:
    """Return the pairs to make, split by split.

    scenes: scene_id to its files for a folder; empty for the sources that need none.
    textures: names of photographs. One that is used in training is used in training alone.
    """
    if config.source == PROCEDURAL:
        scenes = {f"scene-{number:06d}": () for number in range(config.pairs)}
    elif config.source == MOTORCYCLE:
        scenes = {MOTORCYCLE: ()}
    # Fewer pairs than scenes: a fixed choice that has nothing to do with the splits.
    chosen = sorted(sorted(scenes, key=lambda s: place_of(f"choose {s}"))[: config.pairs])
    fractions = {"val_fraction": config.val_fraction, "test_fraction": config.test_fraction}
    split_of = assign_splits(chosen, **fractions)
    texture_split = assign_splits(textures, **fractions)
    units = []
    for number in range(config.pairs):
        scene_id, repeat = chosen[number % len(chosen)], number // len(chosen)
        pair_id = scene_id if config.source == PROCEDURAL else f"{scene_id}-{repeat:04d}"
        split = split_of[scene_id]
        allowed = [name for name in textures if texture_split[name] == split]
        units.append(
            SceneUnit(
                pair_id=pair_id,
                scene_id=scene_id,
                split=split,
                files=scenes[scene_id],
                textures=tuple(_draw(allowed, f"{config.seed} {pair_id}")),
            )
        )
    return sorted(units, key=lambda unit: (SPLITS.index(unit.split), unit.pair_id))


def _draw(names: Sequence[str], key: str) -> list[str]:
    return sorted(names, key=lambda name: place_of(f"{key} {name}"))[:_TEXTURES_PER_PAIR]
