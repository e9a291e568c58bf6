"""The step ``synth``: dual-pixel pairs from RGB-D scenes become a dataset version."""

import os
from dataclasses import replace
from typing import Any

from pipelines.config import deciding, settings_of
from pipelines.making.logged import log_version
from pipelines.making.plan import Plan, make_plan
from pipelines.making.provenance import code_fingerprint
from pipelines.making.publish import VersionResult, cheap_to_read, publish
from pipelines.storage import locate
from pipelines.synthesis.config import MADE, MOTORCYCLE, SynthConfig
from pipelines.synthesis.measured_kernels import LoadedBank, load_bank
from pipelines.synthesis.preset_values import published_preset
from pipelines.synthesis.published_pairs import plan_preset
from pipelines.synthesis.scene_sources import Scenes, open_scenes
from pipelines.synthesis.scenes import plan_scenes
from pipelines.synthesis.synthetic_pairs import SyntheticPairs

_CODE = ("pipelines.dataset", "pipelines.making", "pipelines.synthesis", "synth")


def run(config: SynthConfig) -> VersionResult:
    """Make the dataset version and log it to MLflow. Raises UserError."""
    result = make(config)
    log_version(config, result)
    return result


def make(config: SynthConfig) -> VersionResult:
    """Make the dataset version, or find it there. Raises UserError."""
    root = locate(config.root)
    config = with_absolute_paths(config)
    scenes, bank = open_scenes(config), load_bank(config.bank)
    plan = plan_version(config, scenes, bank)
    return publish(
        plan,
        root,
        SyntheticPairs(config=_anywhere(config), reader=scenes.reader, bank=bank),
        config=settings_of(config),
        code=code_fingerprint(_CODE),
        max_rejected=config.max_rejected,
        inputs=len(scenes.pictures) + len(scenes.rejects),
        move_latest=config.set_latest,
        ray_address=config.ray_address,
        read_inputs=cheap_to_read(*scenes.locations),
        device=config.device,
    )


def plan_version(config: SynthConfig, scenes: Scenes, bank: LoadedBank | None) -> Plan:
    """Return the plan of the version that a configuration describes, from its scenes."""
    preset = published_preset(config.preset)
    return make_plan(
        dataset=config.dataset,
        version=config.version,
        units=plan_preset(preset, scenes, config.pairs)
        if preset is not None
        else plan_scenes(config, scenes),
        rejects=scenes.rejects,
        content_config=_content(config, scenes.kind, bank),
        pairs_per_shard=config.pairs_per_shard,
    )


def with_absolute_paths(config: SynthConfig) -> SynthConfig:
    """The configuration with local paths that mean the same from every working folder."""
    bank = config.bank
    return replace(
        config,
        source=_absolute(config.source, but=(*MADE, MOTORCYCLE)),
        textures=_absolute(config.textures, but=("skimage", "none")),
        bank=bank if bank.file is None else replace(bank, file=_absolute(bank.file)),
    )


def _absolute(path: str, *, but: tuple[str, ...] = ()) -> str:
    if path in but or "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 ('..' goes)


def _content(config: SynthConfig, kind: str, bank: LoadedBank | None) -> dict[str, Any]:
    values = deciding(config)
    # Measured kernels are known by their content, whatever their file.
    values["bank"]["sha256"] = None if bank is None else bank.source.sha256
    return values | {"source": kind}


def _anywhere(config: SynthConfig) -> SynthConfig:
    """The configuration without the keys that workers do not need."""
    return replace(config, root="", tracking_uri=None, ray_address=None)
