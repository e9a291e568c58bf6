"""Configuration of ``k3dn ingest``. Imports nothing heavy: help is printed from it."""

from dataclasses import dataclass, field
from typing import Literal

from pipelines.config import BY_CONTENT, StepConfig, aside, at_least, by_content, fraction

Role = Literal["left", "right", "target", "target_right", "combined", "other"]
"""What a file is to its pair. ``target_right`` is the target's right view where ``target`` is its
left one; ``other`` is part of a set and not taken in: depth, calibration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig(StepConfig):
    """Turn a folder of real dual-pixel pairs into a dataset version."""

    source: str = field(metadata=BY_CONTENT)
    """Folder, archive (zip, tar, tgz) or URL that holds the pictures."""
    layout: str = by_content("auto")
    """How they lie in it: the name of a layout, or auto to find out."""
    left: str | None = by_content(None)
    """Pattern of the left views, e.g. '{split}/l/*.png': * is what a pair's files share."""
    right: str | None = by_content(None)
    """Pattern of the right views."""
    target: str | None = by_content(None)
    """Pattern of the sharp pictures."""
    combined: str | None = by_content(None)
    """Pattern of the combined views."""
    val_fraction: float = by_content(0.1)
    """Share of scenes kept for validation, of a set without splits."""
    test_fraction: float = by_content(0.1)
    """Share of scenes kept for the test, of a set without splits."""
    offsets: list[int] | None = by_content(None)
    """Target number minus source number, where names leave it open: [0], [1], [-1, 1, 2]."""
    check: Literal["none", "sample", "all"] = by_content("sample")
    """Look at the pictures of a sample of pairs, or of all, before anything is written."""
    sheet: str | None = aside(None)
    """PNG to write, in a dry run too, that shows a few of the pairs that were looked at."""
    dataset: str = by_content("dpd-blur")
    """Name of the dataset."""
    version: str = aside("v1")
    """Version to make; a published one never changes."""
    pairs_per_shard: int = by_content(8)
    """Pairs in one Parquet file, which a task makes as a whole."""
    max_rejected: float = aside(0.1)
    """Largest share of unusable inputs, 0 to 1; with more the run fails."""
    set_latest: bool = aside(True)
    """Let 'latest' point to this version when it is published."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        at_least(self.pairs_per_shard, 1, "pairs_per_shard")
        fraction(self.max_rejected, "max_rejected")
        fraction(self.val_fraction, "val_fraction")
        fraction(self.test_fraction, "test_fraction")
        if self.val_fraction + self.test_fraction > 1:
            raise ValueError("val_fraction and test_fraction together are more than 1")
        given = self.patterns()
        if given and not {"left", "right"} <= given.keys():
            raise ValueError("a layout of your own needs at least left=... and right=...")
        if given and self.layout != "auto":
            raise ValueError(f"left, right, ... state a layout: leave layout={self.layout} out")

    def patterns(self) -> "dict[Role, str]":
        """Return the patterns that are given, by role."""
        roles: tuple[Role, ...] = ("left", "right", "target", "combined")
        return {role: text for role in roles if (text := getattr(self, role)) is not None}
