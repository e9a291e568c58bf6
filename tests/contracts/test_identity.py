"""What decides a version, a run, a search: every field of their configurations, one by one.

A field counts, or it is declared not to (``aside``), and stands in ``ASIDE`` here as well. A new
field is in no table: the test of the table fails until somebody has decided.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.config import StepConfig, deciding, keys_aside
from pipelines.ingest.config import IngestConfig
from pipelines.synthesis.config import CAMERA, SynthConfig
from pipelines.synthesis.lens_config import BankConfig, LensConfig
from pipelines.synthesis.measured_kernels import load_bank
from pipelines.synthesis.scene_sources import open_scenes
from pipelines.synthesis.synthesize import plan_version
from pipelines.training.config import TrainConfig
from pipelines.training.live.config import LiveConfig
from pipelines.training.live.pack import pack_bytes
from pipelines.training.plan import plan_run
from tests.pipelines.training.live.conftest import packed
from tests.pipelines.training.versions import make_pair, write_version
from tune.config import TuneConfig
from tune.plan import plan_search


@dataclass(frozen=True)
class Changed:
    """A field with another value. base: what must be set besides for the field to mean something"""

    to: Any
    base: Callable[[Path], dict[str, Any]] = lambda _: {}


def folder(path: Path) -> dict[str, Any]:
    """Four scenes in two sub-folders."""
    rng = np.random.default_rng(0)
    for number in range(4):
        inside = path / "scenes" / f"part{number % 2}"
        inside.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        depth = np.full((48, 64), 1000 + number, np.uint16)
        cv2.imwrite(str(inside / f"{number:03d}_image.png"), picture)
        cv2.imwrite(str(inside / f"{number:03d}_depth.png"), depth)
    return {"source": str(path / "scenes"), "textures": "skimage", "size": None}


def camera(_: Path) -> dict[str, Any]:
    return SynthConfig.fill_in({"preset": CAMERA}) | {"preset": CAMERA, **SYNTH_BASE}


def measured(path: Path) -> dict[str, Any]:
    kernel = np.zeros((1, 1, 2, 9, 9), np.float32)
    kernel[0, 0, 0, 3:6, 2:6], kernel[0, 0, 1, 3:6, 3:7] = 1 / 12, 1 / 12
    np.save(path / "bank.npy", kernel)
    bank = BankConfig(file=str(path / "bank.npy"), radius_px=3.0)
    return {"kernels": ["measured"], "bank": bank}


def pack(path: Path) -> dict[str, Any]:
    """Of two scenes, for pairs that are made while training."""
    scenes = [packed("first", "train", 1), packed("held", "val", 2)]
    (path / "pack").write_bytes(pack_bytes(scenes))
    return {"datasets": [f"synth://{path / 'pack'}"], "num_workers": 1}


def lens(_: Path) -> dict[str, Any]:
    return {"lens": LensConfig(focal_length_mm=[50.0])}


PLACE = {"root": Changed("/elsewhere"), "tracking_uri": Changed("x"), "ray_address": Changed("y")}
SYNTH = {
    **PLACE,
    "preset": Changed("k3dn"),
    "dataset": Changed("other"),
    "version": Changed("v2"),
    "source": Changed("places"),
    "textures": Changed("skimage"),
    "mirror": Changed(0.25, folder),
    "recolour": Changed(0.25, folder),
    "kernels": Changed(["butterworth"]),
    "kernel_weights": Changed([3.0, 1.0]),
    "bank": Changed(BankConfig(recentred=True), measured),
    "lens": Changed(LensConfig(focal_length_mm=[85.0]), lens),
    "optics": Changed({"near_share": 0.25}, camera),
    "sensor": Changed({"mosaic_share": 0.5}, camera),
    "target": Changed({"exposure": 0.1}, camera),
    "renderer": Changed("gather"),
    "composite": Changed("sum"),
    "light": Changed("srgb"),
    "pairs": Changed(21),
    "size": Changed("64x64"),
    "min_coc_px": Changed(1.0),
    "max_coc_px": Changed(6.0),
    "radial_distortion": Changed(0.01),
    "gain": Changed(0.1),
    "shot_noise": Changed(0.02),
    "read_noise": Changed(0.01),
    "bit_depth": Changed(16),
    "val_fraction": Changed(0.4),
    "test_fraction": Changed(0.4),
    "seed": Changed(1),
    "scene_of": Changed("picture", folder),
    "depth_unit": Changed("cm", folder),
    "device": Changed("cuda"),
    "pairs_per_shard": Changed(3),
    "max_rejected": Changed(0.5),
    "set_latest": Changed(False),
}
TRAIN = {
    **PLACE,
    "model": Changed("tiny"),
    "network": Changed({"width": 16}),
    "datasets": Changed(["soft*2"]),
    "name": Changed("named"),
    "steps": Changed(7),
    "batch_size": Changed(5),
    "patch": Changed(48),
    "lr": Changed(1e-3),
    "weight_decay": Changed(0.1),
    "warmup_steps": Changed(2),
    "schedule": Changed("constant"),
    "step_at": Changed([0.25], lambda _: {"schedule": "step"}),
    "step_factor": Changed(0.5, lambda _: {"schedule": "step"}),
    "lambda_1": Changed(0.3),
    "deblur_loss": Changed("l1"),
    "reblur_loss": Changed("l1"),
    "disparity_loss": Changed(0.3),
    "exchange_views": Changed(0.3),
    "recolour": Changed(0.3),
    "same_views": Changed(0.3),
    "noise": Changed(0.3),
    "seconds": Changed(60.0),
    "live": Changed(LiveConfig(reuse=3), pack),
    "pair_workers": Changed(1),
    "pair_device": Changed("cpu"),
    "tf32": Changed(False),
    "val_precision": Changed("bf16"),
    "on_nan": Changed("skip"),
    "start_from": Changed("box:nano"),
    "train_only": Changed(["srp"], lambda _: {"start_from": "box:nano"}),
    "reblur_every": Changed(2),
    "grad_clip": Changed(0.5),
    "ema": Changed(0.9),
    "seed": Changed(1),
    "num_workers": Changed(1),
    "min_workers": Changed(1),
    "gpus_per_worker": Changed(0.5),
    "cpus_per_worker": Changed(1.0),
    "readers_per_worker": Changed(2),
    "cpus_per_reader": Changed(1.0),
    "reader_label": Changed("role=reader"),
    "placement": Changed("spread"),
    "threads_per_worker": Changed(2),
    "use_gpu": Changed(False),
    "precision": Changed("bf16"),
    "channels_last": Changed(True),
    "compile": Changed(True),
    "accumulate": Changed(2),
    "log_every": Changed(3),
    "checkpoint_every": Changed(3),
    "keep": Changed(3),
    "val_every": Changed(3),
    "max_val_pairs": Changed(1),
    "stop_grace_s": Changed(1.0),
    "max_failures": Changed(0),
    "patience_s": Changed(1.0),
    "register": Changed(None),
}
TUNE = {
    **PLACE,
    "name": Changed("named"),
    "trials": Changed(3),
    "steps": Changed(9),
    "validations": Changed(2),
    "space": Changed({"lr": "1e-4..1e-2 log"}),
    "sampler": Changed("random"),
    "retries": Changed(0),
    "budget_s": Changed(60.0),
    "train_best": Changed(True),
    "lambda_1": Changed([0.1, 2.0]),
    "num_kernels": Changed([16]),
    "metric": Changed("val_ssim"),
    "reduction_factor": Changed(3),
    "max_concurrent": Changed(1),
    "seed": Changed(1),
    "train": Changed({"lr": 1e-3}),
}


ASIDE = {
    "synth": {*PLACE, "version", "max_rejected", "set_latest"},
    "train": {
        *PLACE, "name", "num_workers", "min_workers", "gpus_per_worker", "cpus_per_worker",
        "readers_per_worker", "cpus_per_reader", "reader_label", "placement",
        "threads_per_worker", "use_gpu", "channels_last", "compile", "accumulate", "log_every",
        "checkpoint_every", "keep", "val_every", "max_val_pairs", "stop_grace_s", "max_failures",
        "patience_s",
        "register", "pair_workers", "pair_device", "tf32", "val_precision", "on_nan",
    },
    "tune": {*PLACE, "name", "max_concurrent", "retries", "budget_s", "train_best"},
}  # fmt: skip
"""What decides nothing, written down a second time: a declaration is a decision, and one that is
made by mistake would lose a version its name."""


def version_digest(config: SynthConfig, root: Path) -> str:
    return plan_version(config, open_scenes(config), load_bank(config.bank)).digest


def run_digest(config: TrainConfig, root: Path) -> str:
    return plan_run(replace(config, root=_data(root))).digest


def search_digest(config: TuneConfig, root: Path) -> str:
    training = replace(config.train, root=_data(root))
    return plan_search(replace(config, root=_data(root), train=training)).digest


def _data(root: Path) -> str:
    """Where the data is; the root of the configuration is changed, the data does not move."""
    place = root / "data"
    if not place.exists():
        pairs = [make_pair("soft", split, n) for split in ("train", "val") for n in range(3)]
        write_version(str(place), "soft", "v1", pairs)
    return str(place)


SYNTH_BASE = {"textures": "none", "pairs": 20, "size": "48x64"}
STEPS: dict[str, tuple[Callable[..., Any], dict[str, Changed], Callable[..., str]]] = {
    "synth": (partial(SynthConfig, **SYNTH_BASE), SYNTH, version_digest),
    "train": (partial(TrainConfig, datasets=["soft"]), TRAIN, run_digest),
    "tune": (
        partial(TuneConfig, trials=2, steps=8, train=TrainConfig(datasets=["soft"])),
        TUNE,
        search_digest,
    ),
}


@pytest.mark.parametrize(
    ("step", "name"), [(step, name) for step, row in STEPS.items() for name in row[1]]
)
def test_a_field_decides_or_is_declared_not_to(step: str, name: str, tmp_path: Path) -> None:
    make, table, digest = STEPS[step]
    change = table[name]
    given = make.keywords | change.base(tmp_path)  # type: ignore[attr-defined]
    config: StepConfig = make.func(**given)  # type: ignore[attr-defined]
    other = replace(config, **{name: _other(getattr(config, name), change.to)})
    assert getattr(other, name) != getattr(config, name)
    same = digest(config, tmp_path) == digest(other, tmp_path)
    assert same == (name in ASIDE[step])


def _other(value: Any, to: Any) -> Any:
    """Another value of a field: of a group, the same with the keys that are given changed."""
    if isinstance(value, BankConfig):
        return replace(value, recentred=not value.recentred)
    if not dataclasses.is_dataclass(value) or dataclasses.is_dataclass(to):
        return to
    return replace(value, **to)  # type: ignore[type-var]


@pytest.mark.parametrize("step", list(STEPS))
def test_the_table_knows_every_field(step: str) -> None:
    make, table, _ = STEPS[step]
    names = {field.name for field in dataclasses.fields(make.func)}  # type: ignore[attr-defined]
    assert names == table.keys()
    assert set(keys_aside(make.func)) == ASIDE[step]  # type: ignore[attr-defined]


def test_a_version_of_real_pairs_is_decided_by_its_files() -> None:
    """Nothing of the configuration goes into its digest; what is not aside decides by content."""
    config = IngestConfig(source="somewhere")
    assert deciding(config) == {}
    assert set(keys_aside(IngestConfig)) == {
        "root", "tracking_uri", "ray_address", "version", "max_rejected", "set_latest", "sheet",
    }  # fmt: skip


def test_groups_inside_decide_field_by_field() -> None:
    config = SynthConfig()
    for group in ("bank", "lens", "optics", "sensor", "target"):
        names = {field.name for field in dataclasses.fields(getattr(config, group))}
        assert deciding(config)[group].keys() == names - ({"file"} if group == "bank" else set())
