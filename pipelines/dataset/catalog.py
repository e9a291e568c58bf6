"""The step ``datasets``: list the datasets and their versions, show one, or compare two."""

import json
from dataclasses import dataclass
from typing import Any

from pipelines.dataset.config import DatasetsConfig
from pipelines.dataset.difference import Difference, difference
from pipelines.dataset.record import SPLITS
from pipelines.dataset.verify import problems_of
from pipelines.dataset.version import (
    PREVIEW,
    DatasetVersion,
    dataset_names,
    open_version,
    published_versions,
    read_latest,
)
from pipelines.errors import UserError
from pipelines.next_steps import command
from pipelines.storage import Location, locate


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetsResult:
    """What there is."""

    root: str
    versions: list[dict[str, Any]]
    """One entry a version: dataset, version, latest, rows, bytes, rejected, created_utc, ..."""
    detailed: bool
    """True where one version was asked for."""
    difference: Difference | None = None
    """What differs from the version that it was to be compared with."""

    def describe(self) -> str:
        """Return the text for a human."""
        if not self.versions:
            return f"there are no datasets at {self.root}"
        if self.difference is not None:
            return self.difference.describe()
        if self.detailed:
            return "\n".join(_details(entry) for entry in self.versions)
        header = ("dataset@version", *SPLITS, "rejected", "MB", "made (UTC)", "")
        rows = [header, *(_cells(entry) for entry in self.versions)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = [
            "  ".join(
                cell.ljust(width) if column in (0, 6, 7) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"datasets: {self.root}"])

    def next_steps(self) -> list[str]:
        """Return command lines that one may run next."""
        if not self.versions:
            return [command("synth")]
        reference = f"{self.versions[-1]['dataset']}@{self.versions[-1]['version']}"
        if self.detailed:
            return [command("train", datasets=reference)]
        return [command("datasets", name=reference)]


def run(config: DatasetsConfig) -> DatasetsResult:
    """List or show. Raises UserError for a name that is not there, or damaged files."""
    root = locate(config.root)
    compared: Difference | None = None
    if config.name is not None and config.against is not None:
        first, second = (open_version(root, name) for name in (config.name, config.against))
        found, detailed = [first, second], True
        compared = difference(first, second)
    elif config.name is None:
        found = [
            _open(root, n, v) for n in dataset_names(root) for v in published_versions(root, n)
        ]
        detailed = False
    elif "@" in config.name:
        found, detailed = [open_version(root, config.name)], True
    else:
        versions = published_versions(root, config.name)
        if not versions:
            open_version(root, config.name)  # says what there is instead
        found, detailed = [_open(root, config.name, v) for v in versions], len(versions) == 1
    if config.verify:
        problems = [
            problem
            for version in found
            for problem in problems_of(version, ray_address=config.ray_address)
        ]
        if problems:
            more = f" and {len(problems) - 1} more" if problems[1:] else ""
            raise UserError(f"{problems[0]}{more}; make the version again under another name")
    entries = [_entry(root, version, verified=config.verify) for version in found]
    return DatasetsResult(root=root.url, versions=entries, detailed=detailed, difference=compared)


def _open(root: Location, name: str, version: str) -> DatasetVersion:
    return open_version(root, f"{name}@{version}")


def _entry(root: Location, version: DatasetVersion, *, verified: bool) -> dict[str, Any]:
    manifest = version.manifest
    return {
        "dataset": version.name,
        "version": version.version,
        "latest": read_latest(root, version.name) == version.version,
        "rows": dict(manifest["rows"]),
        "bytes": manifest["bytes"],
        "rejected": manifest["rejected"],
        "created_utc": manifest["created_utc"],
        "digest": manifest["digest"],
        "config": manifest["config"],
        "code": manifest["code"],
        "processors": manifest["processors"],
        "shards": len(manifest["shards"]),
        "location": version.location.url,
        "verified": verified,
    }


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{entry['dataset']}@{entry['version']}",
        *(str(entry["rows"][split]) for split in SPLITS),
        str(entry["rejected"]),
        f"{entry['bytes'] / 1e6:.1f}",
        entry["created_utc"].replace("T", " ").rstrip("Z"),
        "latest" if entry["latest"] else "",
    )


def _details(entry: dict[str, Any]) -> str:
    splits = ", ".join(f"{entry['rows'][split]} {split}" for split in SPLITS)
    marks = ", latest" * entry["latest"] + ", every checksum agrees" * entry["verified"]
    lines = [
        f"{entry['dataset']}@{entry['version']}{marks}",
        f"  pairs     {splits}; {entry['rejected']} inputs rejected",
        f"  size      {entry['bytes'] / 1e6:.1f} MB in {entry['shards']} shards",
        f"  made      {entry['created_utc']} by k3dn {entry['code']['k3dn']} on "
        f"{', '.join(entry['processors'])}",
        f"  digest    {entry['digest']}",
    ]
    lines += [f"  {key:<16} {json.dumps(value)}" for key, value in entry["config"].items()]
    lines += [f"contact sheet: {entry['location']}/{PREVIEW}"]
    lines += [f"dataset version: {entry['location']}"]
    return "\n".join(lines)
