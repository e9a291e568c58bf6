"""What differs between two dataset versions: settings, pairs, splits, pictures."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from pipelines.dataset.images import decode_image
from pipelines.dataset.record import IN_STRIPS, PAIR_SCHEMA, SPLITS, decode_coc
from pipelines.dataset.shard import ShardInfo
from pipelines.dataset.version import DatasetVersion

_SHOWN = 3
"""Names that are listed of each kind."""
_NAMES = ("pair_id", "dataset", "split")
"""Columns that say which pair it is, not what is in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What two versions do not have in common; all lists are sorted by pair_id."""

    first: str
    second: str
    """name@version of the two."""
    settings: dict[str, tuple[Any, Any]]
    """Keys of the configuration with other values, or in one of the two alone (None)."""
    only_first: list[str]
    only_second: list[str]
    """pair_ids in one of the two alone."""
    moved: dict[str, tuple[str, str]]
    """Split in the first and in the second, of pairs that are in another one."""
    changed: dict[str, list[str]]
    """Columns with other content, of pairs in both."""
    same: int
    """Pairs of equal content in both."""

    def describe(self) -> str:
        """Return the text for a human."""
        lines = [
            f"{key}: {json.dumps(a)} in {self.first}, {json.dumps(b)} in {self.second}"
            for key, (a, b) in self.settings.items()
        ]
        moved = [f"{name} ({a} to {b})" for name, (a, b) in self.moved.items()]
        changed = [f"{name} ({', '.join(columns)})" for name, columns in self.changed.items()]
        for names, what in (
            (self.only_first, f"only in {self.first}"),
            (self.only_second, f"only in {self.second}"),
            (moved, "in another split"),
            (changed, "of other content"),
        ):
            if names:
                more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
                lines.append(f"{_pairs(len(names))} {what}: {', '.join(names[:_SHOWN])}{more}")
        lines.append(f"{_pairs(self.same)} of equal content in {self.first} and {self.second}")
        return "\n".join(lines)


class _Row(NamedTuple):
    split: str
    digests: tuple[bytes, ...]
    """Of each column of ``_content``."""


def difference(first: DatasetVersion, second: DatasetVersion) -> Difference:
    """Compare two versions pair by pair; pictures of one schema are compared as they are stored.

    A shard that both have is not read.
    """
    columns = [name for name in PAIR_SCHEMA.names if name not in _NAMES]
    shared = _checksums(first) & _checksums(second)
    decoded = first.manifest["schema"] != second.manifest["schema"]
    rows = [dict(_rows(version, columns, shared, decoded=decoded)) for version in (first, second)]
    both = sorted(rows[0].keys() & rows[1].keys())
    changed = {
        name: [
            column
            for column, a, b in zip(
                columns, rows[0][name].digests, rows[1][name].digests, strict=True
            )
            if a != b
        ]
        for name in both
    }
    in_shared_shards = sum(
        shard.rows for split in SPLITS for shard in first.shards(split) if shard.sha256 in shared
    )
    settings = [version.manifest["config"] for version in (first, second)]
    return Difference(
        first=first.reference,
        second=second.reference,
        settings={
            key: (settings[0].get(key), settings[1].get(key))
            for key in sorted(settings[0].keys() | settings[1].keys())
            if settings[0].get(key) != settings[1].get(key) and key not in ("dataset", "version")
        },
        only_first=sorted(rows[0].keys() - rows[1].keys()),
        only_second=sorted(rows[1].keys() - rows[0].keys()),
        moved={
            name: (rows[0][name].split, rows[1][name].split)
            for name in both
            if rows[0][name].split != rows[1][name].split
        },
        changed={name: found for name, found in changed.items() if found},
        same=in_shared_shards + sum(not found for found in changed.values()),
    )


def _checksums(version: DatasetVersion) -> set[str]:
    return {shard.sha256 for split in SPLITS for shard in version.shards(split)}


def _rows(
    version: DatasetVersion, columns: list[str], left_out: set[str], *, decoded: bool
) -> Iterator[tuple[str, _Row]]:
    for split in SPLITS:
        for shard in version.shards(split):
            if shard.sha256 not in left_out:
                yield from _rows_of(shard, split, columns, decoded=decoded)


def _rows_of(
    shard: ShardInfo, split: str, columns: list[str], *, decoded: bool
) -> Iterator[tuple[str, _Row]]:
    with shard.location.open() as file:
        pages = pq.ParquetFile(file, page_checksum_verification=True)
        for group in range(pages.num_row_groups):
            table = pages.read_row_group(group, columns=["pair_id", *columns])
            names = table["pair_id"].to_pylist()
            for row, name in zip(table.to_pylist(), names, strict=True):
                values = (_decoded(row, c) if decoded else row[c] for c in columns)
                yield name, _Row(split, tuple(map(_digest, values)))


def _decoded(row: Mapping[str, Any], column: str) -> Any:
    """A value in a form that does not depend on how it is encoded."""
    data = row[column]
    if data is None or column not in IN_STRIPS:
        return data
    if column == "coc":
        size = {"height": row["height"], "width": row["width"]}
        return decode_coc(data, **size, where=row["pair_id"]).tobytes()
    return decode_image(data, where=f"{row['pair_id']}, {column}").tobytes()


def _digest(data: Any) -> bytes:
    if not isinstance(data, bytes):
        data = json.dumps(data, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=16).digest()


def _pairs(count: int) -> str:
    return f"{count} pair{'s' * (count != 1)}"
