"""Configuration of the steps that use a trained model. Imports nothing heavy."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pipelines.config import StepConfig


def parse_size(text: str) -> tuple[int, int]:
    """Read ``1152x1792`` as (height, width) in px; raises ValueError."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"size must be HEIGHTxWIDTH such as 1152x1792, got {text!r}")
    if min(int(height), int(width)) < 16:
        raise ValueError(f"size must be at least 16x16, got {text!r}")
    return int(height), int(width)


ANY_BOX = "box"
"""The model of ``k3dn deblur`` that means weights in the box, whichever suit."""
DEFAULT_MEMORY = "1GiB"
_UNITS = {"mb": 1e6, "mib": 2**20, "gb": 1e9, "gib": 2**30}


def parse_memory_mib(text: str) -> int:
    """Read ``1.5GB`` or ``800MiB`` as whole MiB; raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text.strip().lower())
    mib = float(found[1]) * _UNITS.get(found[2], 0) / 2**20 if found else 0.0
    if not 1 <= mib < math.inf:
        raise ValueError(f"memory must be a size such as 1500MB or 2GiB, got {text[:40]!r}")
    return int(mib)


def check_tiles(tile_px: int | None, halo_px: int) -> None:
    """Raise ValueError for tiles that no picture is cut into."""
    if tile_px is not None and tile_px < 32:
        raise ValueError(f"tile_px must be at least 32, got {tile_px}")
    if halo_px < 0:
        raise ValueError(f"halo_px must not be negative, got {halo_px}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackConfig(StepConfig):
    """``k3dn rollback``: give the champion's place back to the version that had it before."""

    name: str = "k3dn"
    """Registered model."""
    accept_alias: bool = False
    """Take a champion alias moved by hand, or a lost log of decisions, as it is; recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelsConfig(StepConfig):
    """``k3dn models``: list registered versions, or show one."""

    name: str = "k3dn"
    """Registered model."""
    version: str | None = None
    """Alias or version number to show whole. None: list all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterConfig(StepConfig):
    """``k3dn register``: make weights a version of a registered model."""

    model: str = "box:nano"
    """box:NAME, or a .safetensors file for a K3DN."""
    name: str = "k3dn"
    """Registered model that gets the version, which becomes its challenger."""
    champion: bool = False
    """Make it the champion too, unmeasured, where the model has none yet: the gate then compares
    with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsConfig(StepConfig):
    """``k3dn weights``: list the box, install a file into it, or pack what comes with the package.

    The words behind ``k3dn weights`` are action and source."""

    action: Literal["list", "install", "pack"] = "list"
    """list; install SOURCE for this user; pack SOURCE as what comes with the package."""
    source: str | None = None
    """install: path or URL of a .safetensors file. pack: a file or models:/NAME/VERSION."""
    name: str | None = None
    """Name in the box. None: that of the entry or file beside it."""
    sha256: str | None = None
    """What an installed file must have. None: as its NAME.json or FILE.sha256 says."""
    overwrite: bool = False
    """Replace weights of this name."""
    to: str | None = None
    """pack: folder. None: where the package's own weights lie."""
    facts: str | None = None
    """pack: YAML file with what is known of the training beyond what its run recorded."""
    figures: str | None = None
    """pack: JSON of tests/benchmarks/real_pictures.py with figures of these weights."""
    float16: bool | None = None
    """pack: store numbers in 16 bit. None: where no answer changes by half a step of 255."""

    def __post_init__(self) -> None:
        if self.action != "list" and self.source is None:
            raise ValueError(f"source must name what to {self.action}: k3dn weights install FILE")


@dataclass(frozen=True, kw_only=True, slots=True)
class CardConfig(StepConfig):
    """``k3dn card``: write a model card."""

    model: str = "models:/k3dn@champion"
    """models:/NAME@ALIAS, models:/NAME/VERSION, box:NAME, or a .safetensors file."""
    output: str = "model-card.md"
    """Where the card goes, Markdown."""
    overwrite: bool = False
    """Replace a file of this name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportModelConfig(StepConfig):
    """``k3dn export-model``: write a network as a file that runs without this project."""

    model: str = "models:/k3dn@champion"
    """models:/NAME@ALIAS, models:/NAME/VERSION, box:NAME, or a .safetensors file."""
    factory: str | None = None
    """package.module:factory of a network that is not K3DN: code of this checkout that may run."""
    output: str = "k3dn.onnx"
    """Where the file goes: .onnx, or .pt2 for torch.export."""
    size: str | None = None
    """The only picture size that it shall take, HEIGHTxWIDTH in px. None: sizes are free."""
    overwrite: bool = False
    """Replace a file of this name."""

    def __post_init__(self) -> None:
        if self.size is not None:
            parse_size(self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertConfig(StepConfig):
    """``k3dn convert``: weights of the authors' public network as a weights file of ours."""

    checkpoint: str
    """Path or URL of a torch checkpoint with tensors in the authors' naming."""
    output: str = "authors.safetensors"
    """Where the weights go."""
    overwrite: bool = False
    """Replace a file of this name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryConfig(StepConfig):
    """``k3dn summary``: a network's layers, parameters and multiply-adds."""

    EXTRA_KEYS: ClassVar[str] = "network"
    """Keys that are none of the step's go into this field."""

    model: str = "nano"
    """nano, tiny, lightweight, large, or package.module:factory."""
    network: dict[str, Any] = field(default_factory=dict)
    """Options of the network that differ from the named variant."""
    size: str = "1152x1792"
    """Picture size as HEIGHTxWIDTH in px."""

    def __post_init__(self) -> None:
        parse_size(self.size)
