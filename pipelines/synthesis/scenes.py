"""Which pairs are made of which scenes, and in which split they lie. Pure; reads no picture."""

from collections.abc import Sequence

from pipelines.dataset.record import SPLITS
from pipelines.making.splits import assign_splits, place_of
from pipelines.synthesis.config import MADE, SynthConfig
from pipelines.synthesis.scene_sources import Scenes, SceneUnit

_TEXTURES_PER_PAIR = 6


def plan_scenes(config: SynthConfig, scenes: Scenes) -> list[SceneUnit]:
    """Return the pairs to make, split by split.

    Splits go by scene, whichever of its pictures is taken; a photograph that is used in training
    is used in training alone.
    """
    pictures = {picture.picture_id: picture for picture in scenes.pictures}
    # Fewer pairs than pictures: a fixed choice that has nothing to do with the splits.
    by_chance = sorted(sorted(pictures), key=lambda name: place_of(f"choose {name}"))
    chosen = [pictures[name] for name in sorted(by_chance[: config.pairs])]
    fractions = {"val_fraction": config.val_fraction, "test_fraction": config.test_fraction}
    split_of = assign_splits(sorted({p.scene_id for p in chosen}), **fractions)
    texture_split = assign_splits(scenes.textures, **fractions)
    textures_of = {
        split: [name for name in scenes.textures if texture_split[name] == split]
        for split in SPLITS
    }
    units = []
    for number in range(config.pairs):
        picture, repeat = chosen[number % len(chosen)], number // len(chosen)
        pair_id = picture.picture_id
        if scenes.kind not in MADE:
            pair_id = f"{pair_id}-{repeat:04d}"
        split = split_of[picture.scene_id]
        units.append(
            SceneUnit(
                pair_id=pair_id,
                scene_id=picture.scene_id,
                split=split,
                picture=picture,
                textures=tuple(_draw(textures_of[split], f"{config.seed} {pair_id}")),
            )
        )
    return in_order(units)


def in_order(units: Sequence[SceneUnit]) -> list[SceneUnit]:
    """Return the units split by split, by their names."""
    return sorted(units, key=lambda unit: (SPLITS.index(unit.split), unit.pair_id))


def _draw(names: Sequence[str], key: str) -> list[str]:
    """Return a few of the names; by few hashes, as there may be many pairs and many names."""
    left = list(names)
    return [
        left.pop(int(place_of(f"{key} {number}") * len(left)))
        for number in range(min(_TEXTURES_PER_PAIR, len(left)))
    ]
