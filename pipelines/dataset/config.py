"""Configuration of the steps that look at datasets. Imports nothing heavy: help is printed from
it."""

from dataclasses import dataclass, field

from pipelines.config import StepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetsConfig(StepConfig):
    """List the datasets and their versions, show one, or compare two."""

    name: str | None = None
    """Dataset or name@version to show; none lists all."""
    verify: bool = False
    """Check every file of the versions shown against its checksum."""
    against: str | None = None
    """Dataset or name@version to compare it with, pair by pair."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.against is not None and self.name is None:
            raise ValueError("against compares two versions: give name=... with it")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig(StepConfig):
    """Write the pairs of a dataset version as pictures."""

    dataset: str
    """Dataset or name@version."""
    to: str
    """Folder or URL to write into."""
    splits: list[str] = field(default_factory=lambda: ["train", "val", "test"])
    """Splits to write: train, val, test."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not self.splits:
            raise ValueError("splits must name at least one of train, val, test")
        for split in self.splits:
            if split not in ("train", "val", "test"):
                raise ValueError(f"splits must be among train, val, test, got '{split}'")
