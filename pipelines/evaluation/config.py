"""Configuration of evaluation and of the gate. Imports nothing heavy."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from pipelines.config import StepConfig

INPUT_MODEL = "input"
"""In place of a model: the mean of the two views."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureConfig(StepConfig):
    """What evaluation and the gate have in common: on what a model is measured, and where."""

    datasets: list[str] = field(default_factory=lambda: ["synth"])
    """Dataset references: name, name@version or name@latest."""
    split: str = "test"
    """The split to measure on; never one that was trained on."""
    max_pairs: int | None = None
    """Measure only the first pairs of each dataset, at most this many. None: all."""
    register: bool = False
    """Move pictures onto their truth, block by block, before they are scored: for sets whose truth
    does not lie on the views, such as Pixel 4."""
    masks: str | None = None
    """Folder of PNG masks, DATASET/PAIR_ID or PAIR_ID, white where a picture is in focus: for pairs
    without blur radii."""
    tile_px: int = 512
    """Side of the tiles that a picture is cut into, in px."""
    halo_px: int = 96
    """Surroundings that each tile sees, in px."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """fp32 gives the same figures on all machines; auto takes bf16 where that is faster."""
    num_workers: int = 2
    """Processes that measure at a time, no more than the cluster has CPUs for."""
    cpus_per_worker: float = 1.0
    """CPUs that Ray reserves for each of them."""
    use_gpu: bool | None = None
    """One GPU for each of them. None: if the cluster has one."""

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ValueError("datasets must name at least one dataset")
        if self.split not in ("train", "val", "test"):
            raise ValueError(f"split must be train, val or test, got {self.split!r}")
        if self.max_pairs is not None and self.max_pairs < 1:
            raise ValueError(f"max_pairs must be at least 1, got {self.max_pairs}")
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {self.num_workers}")
        if not self.cpus_per_worker > 0:  # NaN is not
            raise ValueError(f"cpus_per_worker must be positive, got {self.cpus_per_worker}")
        if self.tile_px < 32:
            raise ValueError(f"tile_px must be at least 32, got {self.tile_px}")
        if self.halo_px < 0:
            raise ValueError(f"halo_px must not be negative, got {self.halo_px}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig(MeasureConfig):
    """``k3dn evaluate``: measure models on held-out pairs, beside the blurred input."""

    model: list[str] = field(default_factory=lambda: ["models:/k3dn@challenger"])
    """Any number: models:/NAME@ALIAS, models:/NAME/VERSION, box:NAME, a .safetensors file,
    package.module:factory, or input (the mean of the views, which is always shown)."""
    factory: str | None = None
    """package.module:factory of the .safetensors files that are not for K3DN: code that may run."""
    labels: str | None = None
    """CSV with the columns pair_id and label, such as indoor and outdoor: figures of each, too."""
    pictures: int = 3
    """Pictures of each dataset on the page, from the worst to the best. 0: no page."""
    cost_size: str = "1120x1680"
    """Size at which multiply-adds are counted, HEIGHTxWIDTH in px."""

    def __post_init__(self) -> None:
        from pipelines.picture_keys import parse_size

        MeasureConfig.__post_init__(self)
        if isinstance(self.model, str):
            raise ValueError(f"model must be a list of models, got {self.model!r}")
        if not self.model:
            raise ValueError("model must name at least one model")
        if self.pictures < 0:
            raise ValueError(f"pictures must not be negative, got {self.pictures}")
        parse_size(self.cost_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateRules:
    """What a candidate must meet. Each field is a limit of the rule that it is named for."""

    required: list[str] = field(default_factory=list)
    """Datasets on which a gain must be shown. None named: the first of datasets."""
    min_scenes: int = 10
    """Least number of scenes in a required dataset."""
    confidence: float = 0.975
    """Confidence that the gain exceeds its limit: one-sided, paired bootstrap over scenes."""
    min_gain_db: float = 0.0
    """What the lower bound of the gain over the champion must exceed on required datasets, dB."""
    min_input_gain_db: float = 0.0
    """What the lower bound of the gain over the blurred input must exceed there, in dB."""
    champion_tolerance_db: float = 0.1
    """How far any dataset may lie below the champion in mean PSNR, in dB."""
    input_tolerance_db: float = 0.0
    """How far any dataset may lie below its own input in mean PSNR, in dB."""
    ssim_tolerance: float = 0.003
    """How far any dataset may lie below the champion, or its input where there is none, in SSIM."""
    mae_tolerance: float = 0.03
    """By what share any dataset may exceed the champion, or its input without one, in MAE."""
    region_tolerance_db: float = 0.5
    """How far pixels in focus, near and far may each lie below the champion, where known, in dB."""
    max_seconds_per_megapixel: float | None = None
    """Most seconds per megapixel, as the median over pictures. None: no limit."""
    max_slowdown: float | None = None
    """Most time per megapixel, as a multiple of the champion's. None: no limit."""
    max_memory_mib: float | None = None
    """Most memory of the process that restores, in MiB. None: no limit."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if isinstance(value, float) and math.isnan(value):
                raise ValueError(f"gate.{limit.name} must be a number, got {value}")
        if self.min_scenes < 2:
            raise ValueError(f"min_scenes must be at least 2, got {self.min_scenes}")
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0.5 and 1, got {self.confidence}")
        for name in ("max_seconds_per_megapixel", "max_slowdown", "max_memory_mib"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PromoteConfig(MeasureConfig):
    """``k3dn promote``: make the challenger the champion if it meets the rules of the gate."""

    name: str = "k3dn"
    """Registered model."""
    candidate: str | None = None
    """Alias or version number of the candidate. None: challenger; with from, the
    champion there."""
    from_: str | None = None
    """Copy the candidate from this store first: an MLflow store, or a root with one below it."""
    to: str | None = None
    """Store that it is copied into and where the gate decides. None: that of root."""
    gate: GateRules = field(default_factory=GateRules)
    """The rules."""
    again: bool = False
    """Allow a version that was champion and was rolled back."""
    accept_alias: bool = False
    """Accept a champion alias that was moved by hand, or a lost log of decisions; recorded."""

    def __post_init__(self) -> None:
        MeasureConfig.__post_init__(self)
        if self.split == "train":
            raise ValueError("split must be val or test: the gate does not judge by training pairs")
        if self.to is not None and self.from_ is None:
            raise ValueError("to names where a model is copied to: give from=STORE as well")
        unknown = [name for name in self.gate.required if name not in self.datasets]
        if unknown:
            raise ValueError(
                f"gate.required names {', '.join(unknown)}, which datasets does not; "
                f"datasets={','.join(self.datasets)}"
            )

    def required(self) -> list[str]:
        """Return the datasets, as they are named here, on which a gain must be shown."""
        return self.gate.required or self.datasets[:1]
