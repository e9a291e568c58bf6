"""Configuration of ``k3dn app``. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from pipelines.config import StepConfig
from pipelines.picture_keys import ANY_BOX, DEFAULT_MEMORY, parse_bytes, parse_memory_mib


@dataclass(frozen=True, kw_only=True, slots=True)
class AppConfig(StepConfig):
    """``k3dn app``: sharpen pairs on a page of this machine."""

    port: int = 0
    """Port on 127.0.0.1, which no other machine can reach. 0: any free one."""
    open: bool = True
    """Open the page in a browser where there is a screen."""
    model: str = ANY_BOX
    """As for k3dn deblur: box, box:NAME, models:/NAME@ALIAS, or a .safetensors file."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """As for k3dn deblur."""
    passes: int = 1
    """As for k3dn deblur: 1, 2 or 4."""
    memory: str | None = None
    """What the process may take, such as 2GB."""
    largest: str = "400MB"
    """Size of the largest file that is accepted."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"port must be 0 to 65535, got {self.port}")
        if self.passes not in (1, 2, 4):
            raise ValueError(f"passes must be 1, 2 or 4, got {self.passes}")
        parse_memory_mib(self.memory or DEFAULT_MEMORY)
        parse_bytes(self.largest, "largest")
