"""Configuration of the step ``compare``. Imports nothing heavy."""

from dataclasses import dataclass, field

from pipelines.config import StepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig(StepConfig):
    """``k3dn compare``: how unlike two dataset versions are, measured on their pictures."""

    datasets: list[str]
    """Two dataset references: name, name@version or name@latest."""
    splits: list[str] = field(default_factory=lambda: ["train", "val", "test"])
    """Splits whose pairs are measured: train, val, test."""
    pairs: int = 40
    """Largest number of pairs to measure of each dataset, drawn by the seed."""
    patches: int = 480
    """Largest number of textured patches to fit of each dataset, spread evenly over its pairs."""
    seed: int = 0
    """Seed by which pairs and patches are drawn."""
    output: str | None = None
    """Folder or URL for the page and the figures. None: _comparisons under the root."""

    def __post_init__(self) -> None:
        if len(self.datasets) != 2:
            raise ValueError(
                "datasets names the two versions to compare, such as datasets=real,synth@v2; "
                f"got {len(self.datasets)}"
            )
        if not self.splits or any(split not in ("train", "val", "test") for split in self.splits):
            raise ValueError(f"splits must be among train, val and test, got {self.splits}")
        for key in ("pairs", "patches"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
