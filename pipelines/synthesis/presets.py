"""The presets of ``k3dn synth``: what they say of its keys, and which pairs a published set has."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.dataset.record import SPLITS
from pipelines.errors import UserError
from pipelines.making.splits import place_of
from pipelines.progress import say
from pipelines.synthesis.scene_sources import Picture, Scenes, SceneUnit
from pipelines.synthesis.scenes import in_order

if TYPE_CHECKING:
    from synth.presets import PublishedPreset


def plan_preset(preset: "PublishedPreset", scenes: Scenes, pairs: int) -> list[SceneUnit]:
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
        raise UserError(f"preset {preset.name} has {whole} pairs, not {pairs}")
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


def _warn_of_straddling(preset: "PublishedPreset", units: Sequence[SceneUnit]) -> None:
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


def published_preset(name: str | None) -> "PublishedPreset | None":
    """Return the preset of a published set; None for a set of our own."""
    if name is None:
        return None
    from synth.presets import PRESETS, PublishedPreset

    preset = PRESETS.get(name)
    return preset if isinstance(preset, PublishedPreset) else None


def preset_values(name: str) -> dict[str, Any]:
    """Return the keys of ``k3dn synth`` that a preset has a say in, by name; empty for unknown."""
    from synth.camera import CameraRanges
    from synth.presets import PRESETS, CameraPreset, PublishedPreset

    preset = PRESETS.get(name)
    if preset is None:
        return {}
    if isinstance(preset, PublishedPreset):
        return {
            "dataset": name,
            "pairs": sum(preset.pairs.values()),
            **fixed_values(name),
        }
    if isinstance(preset, CameraPreset):
        shots = preset.ranges
        return {
            "dataset": name,
            "pairs": preset.pairs,
            "size": f"{preset.size[0]}x{preset.size[1]}",
            "kernels": list(shots.families),
            "bit_depth": shots.bit_depth,
            "shot_noise": shots.shot_noise[1],
            "read_noise": shots.read_noise[1],
            "gain": shots.gain,
            **CAMERA_FIXED,
        }
    ranges = preset.ranges
    assert isinstance(ranges.cameras, CameraRanges)  # so that blur is drawn
    least_px, most_px = ranges.cameras.extreme_coc_px
    return {
        "dataset": name,
        "pairs": preset.pairs,
        "size": f"{preset.size[0]}x{preset.size[1]}",
        "kernels": list(ranges.families),
        "renderer": ranges.renderer,
        "composite": ranges.composite,
        "light": ranges.light,
        "min_coc_px": least_px,
        "max_coc_px": most_px,
        "bit_depth": ranges.bit_depth,
        "shot_noise": ranges.shot_noise,
        "read_noise": ranges.read_noise,
        "radial_distortion": ranges.radial_distortion,
        "gain": ranges.gain,
    }


CAMERA_FIXED: dict[str, Any] = {
    "renderer": "layered",
    "composite": "over",
    "light": "linear",
    "min_coc_px": None,
    "max_coc_px": None,
    "radial_distortion": 0.0,
}
"""The keys that are what they are in preset camera: blur is a share of the width there."""


def fixed_values(name: str) -> dict[str, Any]:
    """Return the keys that are what they are in a published set."""
    preset = published_preset(name)
    assert preset is not None
    fixed: dict[str, Any] = {} if preset.distorts else {"radial_distortion": 0.0}
    return fixed | {
        "kernels": [preset.name],
        "renderer": preset.renderer,
        "composite": "over",
        "light": preset.light,
        "size": None,
        "min_coc_px": None,
        "bit_depth": preset.bit_depth,
        "max_coc_px": preset.max_coc_px,
        "shot_noise": 0.0,
        "read_noise": 0.0,
        "gain": 0.0,
        "mirror": 0.0,
        "recolour": 0.0,
    }


def source_of(name: str) -> str:
    """Return in words what a published set is made from."""
    preset = published_preset(name)
    assert preset is not None
    return _SOURCES[preset.source]


_SOURCES = {
    "nyu": "NYU Depth v2's labelled file, source=.../nyu_depth_v2_labeled.mat",
    "synthia-sf": "SYNTHIA-SF, source=FOLDER with SEQ1/RGBLeft and SEQ1/DepthLeft in it",
}
