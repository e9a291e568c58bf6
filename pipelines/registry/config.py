"""Configuration of the steps that look after models. Imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pipelines.config import StepConfig
from pipelines.model_name import check_model_name
from pipelines.picture_keys import parse_size


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackConfig(StepConfig):
    """``k3dn rollback``: give the champion's place back to the version that had it before."""

    name: str = "k3dn"
    """Registered model."""
    accept_alias: bool = False
    """Accept a champion alias that was moved by hand, or a lost log of decisions; recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelsConfig(StepConfig):
    """``k3dn models``: list registered versions, or show one."""

    name: str = "k3dn"
    """Registered model."""
    version: str | None = None
    """Alias or version number to show in full. None: list all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterConfig(StepConfig):
    """``k3dn register``: make weights a version of a registered model."""

    model: str = "box:nano"
    """box:NAME, or a .safetensors file for a K3DN."""
    name: str = "k3dn"
    """Registered model that gets the version, as its challenger."""
    champion: bool = False
    """Make it the champion too, unmeasured, where the model has none yet: the gate then compares
    with it."""

    def __post_init__(self) -> None:
        check_model_name("name", self.name)


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
    """The only picture size that it accepts, HEIGHTxWIDTH in px. None: any size."""
    overwrite: bool = False
    """Replace a file that has this name."""

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
    """Replace a file that has this name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryConfig(StepConfig):
    """``k3dn summary``: a network's layers, parameters and multiply-adds."""

    EXTRA_KEYS: ClassVar[str] = "network"
    """Keys that are not the step's own go into this field."""

    model: str = "nano"
    """nano, tiny, lightweight, large, or package.module:factory."""
    network: dict[str, Any] = field(default_factory=dict)
    """Options of the network that differ from the named variant."""
    size: str = "1152x1792"
    """Picture size as HEIGHTxWIDTH in px."""

    def __post_init__(self) -> None:
        parse_size(self.size)
