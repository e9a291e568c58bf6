"""Configuration of the steps that show and pack weights. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from pipelines.config import StepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsConfig(StepConfig):
    """``k3dn weights``: list the box, install a file into it, or pack what comes with the package.

    The words behind ``k3dn weights`` are action and source."""

    action: Literal["list", "install", "pack"] = "list"
    """list; install SOURCE for this user; pack SOURCE as what comes with the package."""
    source: str | None = None
    """install: path or URL of a .safetensors file. pack: a file or models:/NAME/VERSION."""
    name: str | None = None
    """Name in the box. None: the name of the entry or file beside it."""
    sha256: str | None = None
    """SHA-256 that an installed file must have. None: that of its NAME.json or FILE.sha256."""
    overwrite: bool = False
    """Replace weights that have this name."""
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
    """Replace a file that has this name."""
