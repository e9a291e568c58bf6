"""Configuration of ``k3dn split``. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from pipelines.config import StepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig(StepConfig):
    """``k3dn split``: take the two views out of dual-pixel raw files."""

    source: str
    """A raw file (CR2, CR3, DNG), a left view of the Pixel capture app (NAME_left.pgm), a folder,
    or a pattern such as 'DCIM/*.CR2', in quotes."""
    output: str | None = None
    """Folder for NAME_L.tif and NAME_R.tif. None: beside the raw file."""
    second: Literal["left", "right"] = "left"
    """Which view the file's second frame is; Canon does not say. The other is the first frame less
    it. A wrong one exchanges near and far, which changes little."""
    black: int | None = None
    """Black level in the file's own numbers. None: what a raw file states, 4096 for PGM."""
    overwrite: bool = False
    """Replace views that exist already; false leaves them as they are."""

    def __post_init__(self) -> None:
        if self.black is not None and not 0 <= self.black < 65535:
            raise ValueError(f"black must be 0 to 65534, got {self.black}")
