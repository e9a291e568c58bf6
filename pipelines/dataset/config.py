"""Configuration of the data steps. Imports nothing heavy: help is printed from it."""

import re
from dataclasses import dataclass, field

from pipelines.config import StepConfig

KERNEL_FAMILIES = ("butterworth", "integral", "translating_disk")
DEPTH_UNITS = ("m", "mm")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig(StepConfig):
    """Turn a folder of real dual-pixel pairs into a dataset version."""

    source: str
    """Folder or URL that holds the pictures."""
    layout: str = "auto"
    """How they lie in it: dpd-blur, or auto to find out."""
    dataset: str = "dpd-blur"
    """Name of the dataset."""
    version: str = "v1"
    """Version to make; a published one never changes."""
    pairs_per_shard: int = 8
    """Pairs in one Parquet file; one task makes one file."""
    max_rejected: float = 0.1
    """Largest share of unusable inputs, 0 to 1; with more the run fails."""
    set_latest: bool = True
    """Let 'latest' point to this version when it is published."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _at_least(self.pairs_per_shard, 1, "pairs_per_shard")
        _fraction(self.max_rejected, "max_rejected")


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthConfig(StepConfig):
    """Synthesise dual-pixel pairs from RGB-D scenes into a dataset version."""

    dataset: str = "synth"
    """Name of the dataset."""
    version: str = "v1"
    """Version to make; a published one never changes."""
    source: str = "procedural"
    """procedural, motorcycle, or a folder or URL of NNN_image.png with NNN_depth.png."""
    textures: str = "skimage"
    """Photographs on procedural surfaces: skimage, none, or a folder or URL of pictures."""
    kernels: list[str] = field(default_factory=lambda: ["butterworth", "integral"])
    """Families of point spread functions to draw from: butterworth, integral, translating_disk."""
    pairs: int = 200
    """Number of pairs."""
    size: str | None = "256x256"
    """Height x width of a pair in pixels; none keeps a folder's own size."""
    max_coc_px: float = 8.0
    """Largest radius of the blur disc in pixels."""
    bit_depth: int = 8
    """8 or 16."""
    val_fraction: float = 0.1
    """Share of scenes, and of photographs, kept for validation."""
    test_fraction: float = 0.1
    """Share of scenes, and of photographs, kept for the test."""
    seed: int = 0
    """Every random number follows from it and the pair_id."""
    depth_unit: str = "mm"
    """Unit of a folder's depth files: mm or m."""
    pairs_per_shard: int = 16
    """Pairs in one Parquet file; one task makes one file."""
    max_rejected: float = 0.1
    """Largest share of unusable inputs, 0 to 1; with more the run fails."""
    set_latest: bool = True
    """Let 'latest' point to this version when it is published."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        _at_least(self.pairs, 1, "pairs")
        _at_least(self.pairs_per_shard, 1, "pairs_per_shard")
        _fraction(self.max_rejected, "max_rejected")
        _fraction(self.val_fraction, "val_fraction")
        _fraction(self.test_fraction, "test_fraction")
        if self.val_fraction + self.test_fraction > 1:
            raise ValueError("val_fraction and test_fraction together are more than 1")
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth is 8 or 16, not {self.bit_depth}")
        if not 0 < self.max_coc_px <= 128:
            raise ValueError(f"max_coc_px is above 0 and at most 128, not {self.max_coc_px:g}")
        if self.seed < 0:
            raise ValueError(f"seed is at least 0, not {self.seed}")
        if self.depth_unit not in DEPTH_UNITS:
            raise ValueError(f"depth_unit is one of {', '.join(DEPTH_UNITS)}")
        if not self.kernels:
            raise ValueError(f"kernels names at least one of {', '.join(KERNEL_FAMILIES)}")
        for family in self.kernels:
            if family not in KERNEL_FAMILIES:
                raise ValueError(f"kernels: '{family}' is none of {', '.join(KERNEL_FAMILIES)}")
        if self.size is None and self.source == "procedural":
            raise ValueError("size: procedural scenes have no size of their own; give e.g. 256x256")
        _ = self.height_width

    @property
    def height_width(self) -> tuple[int, int] | None:
        """``size`` as numbers; None for the source's own."""
        if self.size is None:
            return None
        match = re.fullmatch(r"(\d+)x(\d+)", self.size)
        if match is None:
            raise ValueError(f"size is height x width such as 256x384, not '{self.size}'")
        height, width = int(match[1]), int(match[2])
        if not (16 <= height <= 16384 and 16 <= width <= 16384):
            raise ValueError(f"size is from 16 to 16384 pixels a side, not '{self.size}'")
        return height, width


@dataclass(frozen=True, kw_only=True, slots=True)
class RegenerateConfig(StepConfig):
    """Make the next version of a synthetic dataset from its stored settings."""

    dataset: str = "synth"
    """Name of the dataset."""
    synth: SynthConfig | None = None
    """Settings to store as the dataset's recipe; none takes the stored ones."""
    stamp: str | None = None
    """Name of the version, e.g. a date: run twice, it is made once. None: the next number."""
    new_seed: bool = True
    """Draw fresh pairs: the seed then follows from the recipe's and the version's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetsConfig(StepConfig):
    """List the datasets and their versions, or show one."""

    name: str | None = None
    """Dataset or name@version to show; none lists all."""
    verify: bool = False
    """Check every file of the versions shown against its checksum."""


def _at_least(value: int, least: int, key: str) -> None:
    if value < least:
        raise ValueError(f"{key} is at least {least}, not {value}")


def _fraction(value: float, key: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{key} is from 0 to 1, not {value:g}")
