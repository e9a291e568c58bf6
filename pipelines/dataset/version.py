"""Open a dataset version through its manifest. Readers never list a folder.

A version exists when its ``_manifest.json`` does, and is never changed after that.
"""

import bisect
import difflib
import functools
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from pipelines.dataset.names import DATASET_NAME
from pipelines.dataset.record import Pair, decode_pair
from pipelines.dataset.shard import ShardInfo, read_row
from pipelines.errors import UserError
from pipelines.storage import Location

MANIFEST = "_manifest.json"
LATEST = "_latest.json"
PREVIEW = "preview.png"
SCHEMA_VERSION = "k3dn.dataset/2"
"""What is written."""
READ_SCHEMAS = ("k3dn.dataset/1", SCHEMA_VERSION)
"""What is read: in 1 pictures are not in strips, so that a patch costs a whole picture."""


@dataclass(frozen=True, kw_only=True)
class DatasetVersion:
    """A published version of a dataset."""

    name: str
    version: str
    location: Location
    manifest: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content: names, splits, rows and checksums of all shards."""
        return str(self.manifest["digest"])

    @functools.cached_property
    def _catalogue(self) -> dict[str, tuple[list[Mapping[str, Any]], list[int]]]:
        """By split the entries of shards that hold rows, and how many rows the first n hold."""
        entries: dict[str, list[Mapping[str, Any]]] = {}
        for entry in self.manifest["shards"]:
            if entry["rows"] > 0:
                entries.setdefault(entry["split"], []).append(entry)
        return {
            split: (found, list(itertools.accumulate((e["rows"] for e in found), initial=0)))
            for split, found in entries.items()
        }

    def shards(self, split: str) -> tuple[ShardInfo, ...]:
        """Return the shards of a split that hold rows, in order."""
        entries, _ = self._catalogue.get(split, ([], [0]))
        return tuple(self._shard(entry) for entry in entries)

    def _shard(self, entry: Mapping[str, Any]) -> ShardInfo:
        return ShardInfo(
            location=self.location.child(entry["name"]),
            split=entry["split"],
            rows=entry["rows"],
            bytes=entry["bytes"],
            sha256=entry["sha256"],
        )

    def rows(self, split: str) -> int:
        """Return the number of pairs in a split."""
        _, before = self._catalogue.get(split, ([], [0]))
        return before[-1]

    def pair_ids(self, split: str) -> list[str]:
        """Return the pair_ids of a split, in order."""
        return self.column(split, "pair_id")

    def column(self, split: str, name: str) -> list[Any]:
        """Return one small column of a split, in order."""
        values: list[Any] = []
        for shard in self.shards(split):
            with shard.location.open() as file:
                values += pq.read_table(file, columns=[name])[name].to_pylist()
        return values

    def read_pair(self, split: str, index: int) -> Pair:
        """Return the pair at ``index`` of a split, decoded. Raises IndexError."""
        shard, row = self.locate_row(split, index)
        return decode_pair(read_row(shard, row))

    def locate_row(self, split: str, index: int) -> tuple[ShardInfo, int]:
        """Return the shard, and the row in it, of a split's pair. Raises IndexError."""
        if index < 0:
            raise IndexError(index)
        entries, before = self._catalogue.get(split, ([], [0]))
        if index >= before[-1]:
            raise IndexError(f"{self.reference} has {before[-1]} {split} pairs, not {index + 1}")
        number = bisect.bisect_right(before, index) - 1
        return self._shard(entries[number]), index - before[number]

    def problems(self) -> list[str]:
        """Check every file that the manifest names; return what is wrong, one line each."""
        entries = [*self.manifest["shards"], *self.manifest["files"]]
        found = (problem_of(self.location, entry) for entry in entries)
        return [problem for problem in found if problem is not None]


def problem_of(version: Location, entry: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a file that a manifest names, None where nothing is."""
    location = version.child(entry["name"])
    try:
        if location.size() != entry["bytes"]:
            return f"{location}: {location.size()} bytes, not {entry['bytes']}"
        if location.sha256() != entry["sha256"]:
            return f"{location}: its content has changed (sha256 differs)"
    except FileNotFoundError:
        return f"{location}: missing"
    return None


def open_version(root: Location, reference: str) -> DatasetVersion:
    """Open ``name``, ``name@version`` or ``name@latest`` below ``root``.

    Raises UserError naming what there is, where the dataset or the version does not exist.
    """
    name, at, version = reference.partition("@")
    check_name(name, what="dataset")
    if at and not version:
        raise UserError(f"dataset {reference} names no version; leave @ out for the latest")
    if version in ("", "latest"):
        latest = read_latest(root, name)
        if latest is None:
            raise UserError(_missing_dataset(root, name))
        version = latest
    location = root.child(name, version)
    manifest = read_manifest(location)
    if manifest is None:
        known = published_versions(root, name)
        if not known:
            raise UserError(_missing_dataset(root, name))
        raise UserError(
            f"dataset {name} at {root} has no version '{version}'; there is {', '.join(known)}"
        )
    return DatasetVersion(name=name, version=version, location=location, manifest=manifest)


def read_manifest(version: Location) -> dict[str, Any] | None:
    """Return the manifest of a version, None where there is none. Raises UserError if damaged."""
    location = version.child(MANIFEST)
    try:
        data = location.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = json.loads(data)
        schema = manifest["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{location}: not a manifest ({error}); make another version") from error
    if schema not in READ_SCHEMAS:
        raise UserError(
            f"{location}: its schema is '{schema}', this program reads "
            f"{' and '.join(READ_SCHEMAS)}; "
            "make the version again, or use the program that made it"
        )
    return dict(manifest)


def read_latest(root: Location, name: str) -> str | None:
    """Return the version that ``latest`` points to, None where there is no pointer."""
    location = root.child(name, LATEST)
    try:
        return str(json.loads(location.read_bytes())["version"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{location}: not a pointer to a version ({error}); delete it and name a version"
        ) from error


def set_latest(root: Location, name: str, version: str) -> None:
    """Let ``latest`` point to a published version. Raises ValueError for one that is not."""
    if read_manifest(root.child(name, version)) is None:
        raise ValueError(f"{name}@{version} is not published: it has no manifest")
    pointer = json.dumps({"version": version}).encode() + b"\n"
    location = root.child(name, LATEST)
    if not location.exists() or location.read_bytes() != pointer:
        location.write_bytes(pointer)


def published_versions(root: Location, name: str) -> list[str]:
    """Return the versions that have a manifest, oldest number first (v2 before v10)."""
    versions = [v for v in root.child(name).list() if not v.startswith(("_", "."))]
    return sorted(
        (v for v in versions if root.child(name, v, MANIFEST).exists()), key=natural_order
    )


def dataset_names(root: Location) -> list[str]:
    """Return the datasets below ``root`` that have a published version."""
    names = [n for n in root.list() if DATASET_NAME.fullmatch(n)]
    return [n for n in names if published_versions(root, n)]


def natural_order(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which v2 comes before v10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def check_name(name: str, *, what: str) -> None:
    """Raise UserError unless ``name`` can be a dataset's or a version's name."""
    if not DATASET_NAME.fullmatch(name):
        raise UserError(
            f"'{name}' is not a valid name for a {what}: use small letters, digits, dots and "
            "hyphens, a letter or digit first"
        )


def _missing_dataset(root: Location, name: str) -> str:
    known = dataset_names(root)
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"there is no dataset '{name}' at {root}; did you mean '{near[0]}'?"
    if known:
        return f"there is no dataset '{name}' at {root}; there is {', '.join(known)}"
    return f"there is no dataset at {root}; make one with 'k3dn synth' or 'k3dn ingest'"
