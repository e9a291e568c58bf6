"""The step ``synth``: dual-pixel pairs from RGB-D scenes become a dataset version."""

import os
from dataclasses import asdict, replace
from typing import Any

from pipelines.config import SHARED_KEYS, as_dict
from pipelines.making.logged import log_version
from pipelines.making.plan import make_plan
from pipelines.making.provenance import code_fingerprint
from pipelines.making.publish import VersionResult, cheap_to_read, publish
from pipelines.storage import locate
from pipelines.synthesis.config import MADE, MOTORCYCLE, SynthConfig
from pipelines.synthesis.measured_kernels import LoadedBank, load_bank
from pipelines.synthesis.preset_values import published_preset
from pipelines.synthesis.published_pairs import plan_preset
from pipelines.synthesis.scene_sources import open_scenes
from pipelines.synthesis.scenes import plan_scenes
from pipelines.synthesis.synthetic_pairs import SyntheticPairs

_CODE = ("pipelines.dataset", "pictures", "synth")
# What decides pixels: not where things lie, and not how strict the run is.
_CONTENT = (
    "preset",
    "mirror",
    "recolour",
    "kernels",
    "kernel_weights",
    "lens",
    "optics",
    "sensor",
    "target",
    "renderer",
    "composite",
    "light",
    "size",
    "min_coc_px",
    "max_coc_px",
    "radial_distortion",
    "gain",
    "shot_noise",
    "read_noise",
    "bit_depth",
    "seed",
    "depth_unit",
    "device",
)


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
    preset = published_preset(config.preset)
    plan = make_plan(
        dataset=config.dataset,
        version=config.version,
        units=plan_preset(preset, scenes, config.pairs)
        if preset is not None
        else plan_scenes(config, scenes),
        rejects=scenes.rejects,
        content_config=_content(config, scenes.kind, bank),
        pairs_per_shard=config.pairs_per_shard,
    )
    return publish(
        plan,
        root,
        SyntheticPairs(config=_anywhere(config), reader=scenes.reader, bank=bank),
        config={key: value for key, value in as_dict(config).items() if key not in SHARED_KEYS},
        code=code_fingerprint(_CODE),
        max_rejected=config.max_rejected,
        inputs=len(scenes.pictures) + len(scenes.rejects),
        move_latest=config.set_latest,
        ray_address=config.ray_address,
        read_inputs=cheap_to_read(*scenes.locations),
        device=config.device,
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
    values = {key: value for key, value in asdict(config).items() if key in _CONTENT}
    # Kernels are settings: those of a version are known by their content, whatever their file.
    kernels = {key: value for key, value in asdict(config.bank).items() if key != "file"}
    kernels["sha256"] = None if bank is None else bank.source.sha256
    return values | {"source": kind, "bank": kernels}


def _anywhere(config: SynthConfig) -> SynthConfig:
    """The configuration without what a worker has no business with."""
    return replace(config, root="", tracking_uri=None, ray_address=None)
