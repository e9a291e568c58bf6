"""Which pairs a published set has, of the pictures that a source has."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from pipelines.dataset.record import SPLITS
from pipelines.errors import UserError
from pipelines.making.splits import place_of
from pipelines.progress import say
from pipelines.synthesis.preset_values import source_of
from pipelines.synthesis.scene_sources import Picture, Scenes, SceneUnit
from pipelines.synthesis.scenes import in_order
from synth.presets import PublishedPreset


def plan_preset(preset: PublishedPreset, scenes: Scenes, pairs: int) -> list[SceneUnit]:
    """Return the pairs of a published set that the source has pictures for, split by split.

    pairs: how many of them; fewer than all are a fixed choice. Raises UserError where the source
    is another one or has too few pictures.
    """
    if scenes.kind != preset.source:
        raise UserError(
            f"preset {preset.name} is made from {source_of(preset.name)}, and the source is "
            f"{scenes.kind}"
        )
    whole = sum(preset.pairs.values())
    if pairs > whole:
        raise UserError(f"preset {preset.name} has {whole} pairs, got pairs={pairs}")
    pictures: dict[int, list[Picture]] = defaultdict(list)
    for picture in scenes.pictures:
        pictures[picture.number].append(picture)
    units = [
        SceneUnit(
            pair_id=part.pair_id(scene, picture.frame),
            scene_id=preset.scene_id(scene),
            split=part.split,
            picture=picture,
            part=index,
        )
        for index, part in enumerate(preset.parts)
        for scene in part.scenes
        for picture in pictures[scene]
    ]
    if len(units) < pairs:
        raise UserError(
            f"the source has pictures for {_counts(units)} of the {whole} "
            f"pairs of preset {preset.name}, not for {pairs}; get the rest of it, or make those "
            f"with pairs={len(units)}"
        )
    _warn_of_straddling(preset, units)
    chosen = sorted(units, key=lambda unit: place_of(f"choose {unit.pair_id}"))[:pairs]
    return in_order(chosen)


def _warn_of_straddling(preset: PublishedPreset, units: Sequence[SceneUnit]) -> None:
    """Say where the published splits cut through what the source calls one scene."""
    splits: dict[str, set[str]] = defaultdict(set)
    for unit in units:
        splits[unit.picture.scene_id].add(unit.split)
    cut = sorted(scene for scene, found in splits.items() if len(found) > 1)
    if cut:
        say(
            f"preset {preset.name}: its published splits cut through {len(cut)} of the "
            f"source's scenes, e.g. {cut[0]}: their pictures are in training and in the test"
        )


def _counts(units: Sequence[SceneUnit]) -> str:
    found = Counter(unit.split for unit in units)
    splits = ", ".join(f"{found[split]} {split}" for split in SPLITS if found[split])
    return f"{len(units)} ({splits})" if units else "none"
