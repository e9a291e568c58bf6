"""The file of one shard: written whole, read by the row or by the part of a picture.

Its footer holds an index beside what Parquet knows: how long the strips of each picture are, and
their checksums. A patch is then one range of bytes for each picture that it is cut from. Shards of
schema 1 have no index; their pictures are read whole.
"""

import base64
import functools
import itertools
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.dataset.images import Pixels
from pipelines.dataset.packed import STRIP_ROWS, Packed, Region, unpack_map_region, unpack_region
from pipelines.dataset.record import IN_STRIPS, PAIR_SCHEMA, Pair, encode_in_strips
from pipelines.storage import Location

_INDEX_KEY = b"k3dn.index"
_STATISTICS = ["pair_id", "scene_id", "dataset", "split", "height", "width", "bit_depth"]
_STRIP = np.dtype([("bytes", "<u4"), ("crc32", "<u4")])
_KEPT_FOOTERS, _KEPT_INDEXES = 16, 1024
"""Of shards that were read last, in a process. An index takes some kilobytes, a footer 50 times
that."""
_TAIL_BYTES = 64 << 10
"""Asked for of a shard's end: most footers are shorter, a longer one costs a second request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One shard as the manifest names it."""

    location: Location
    split: str
    rows: int
    bytes: int
    sha256: str


class ShardWriter:
    """Write pairs to a file, a row group each. The same pairs give the same bytes."""

    def __init__(self, sink: BinaryIO) -> None:
        self._file = pq.ParquetWriter(
            sink,
            PAIR_SCHEMA,
            compression="none",  # pictures are compressed already
            use_dictionary=False,
            write_statistics=_STATISTICS,  # else the footer would hold whole pictures as extremes
            write_page_checksum=True,
        )
        self._pairs: list[tuple[str, int, int, int]] = []
        self._strips: dict[str, list[NDArray[Any]]] = {name: [] for name in IN_STRIPS}

    def write(self, pair: Pair) -> None:
        """Append a pair."""
        row, packed = encode_in_strips(pair)
        # One row a group: a reader that wants one pair fetches one pair.
        self._file.write_table(pa.Table.from_pylist([row], schema=PAIR_SCHEMA), row_group_size=1)
        self._pairs.append((row["pair_id"], row["height"], row["width"], row["bit_depth"]))
        for name, strips in self._strips.items():
            strips.append(_strips_of(packed.get(name), row["height"]))

    def add_metadata(self, key: bytes, value: bytes) -> None:
        """Add an entry to the footer."""
        self._file.add_key_value_metadata({key: value})

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Write the footer."""
        self.add_metadata(_INDEX_KEY, json.dumps(self._index()).encode())
        self._file.close()

    def _index(self) -> dict[str, Any]:
        return {
            "rows_of_a_strip": STRIP_ROWS,
            "pairs": self._pairs,
            "strips": {
                name: base64.b64encode(np.concatenate(strips).tobytes()).decode()
                for name, strips in self._strips.items()
                if any(part["bytes"].any() for part in strips)
            },
        }


def _strips_of(packed: Packed | None, height: int) -> NDArray[Any]:
    """Length and checksum of each strip; 0 for those of a picture that is not there."""
    entries = np.zeros(_strips_in(height, STRIP_ROWS), _STRIP)
    if packed is not None:
        entries["bytes"] = [len(strip) for strip in packed.strips]
        entries["crc32"] = [zlib.crc32(strip) for strip in packed.strips]
    return entries


def _strips_in(height: int, strip_rows: int) -> int:
    return -(-height // strip_rows)


class ShardIndex:
    """Where the strips of a shard's pictures lie in its file."""

    def __init__(self, index: Mapping[str, Any], footer: pq.FileMetaData) -> None:
        self._strip_rows = int(index["rows_of_a_strip"])
        self._pairs = [tuple(pair) for pair in index["pairs"]]
        counts = [_strips_in(height, self._strip_rows) for _, height, _, _ in self._pairs]
        self._first = [0, *itertools.accumulate(counts)]
        self._strips = {
            name: np.frombuffer(base64.b64decode(text), _STRIP)
            for name, text in index["strips"].items()
        }
        columns = {
            footer.row_group(0).column(number).path_in_schema: number
            for number in range(footer.num_columns if self._pairs else 0)
        }
        # A value ends where its column's only page does; what stands before it may differ.
        self._ends = {
            name: np.array(
                [_end(footer.row_group(row).column(columns[name])) for row in range(len(counts))]
            )
            for name in self._strips
        }

    def pair_id(self, row: int) -> str:
        """The pair of a row."""
        return str(self._pairs[row][0])

    def size(self, row: int) -> tuple[int, int]:
        """Height and width of a row's pictures, in px."""
        return self._pairs[row][1], self._pairs[row][2]

    def read(
        self, location: Location, row: int, columns: Iterable[str], region: Region
    ) -> dict[str, Any]:
        """Return a region of some of a row's IN_STRIPS, None for what it does not have.

        Of each one range of bytes is read. Raises ValueError, which begins with the column, for
        damaged data.
        """
        found = {name: self._strips_for(name, row, region) for name in columns}
        there = {name: part for name, part in found.items() if part is not None}
        ranges = [(start, start + int(part["bytes"].sum())) for start, part in there.values()]
        data = dict(zip(there, location.read_ranges(ranges), strict=True))
        return {
            name: None if part is None else self._decoded(name, row, region, data[name], part[1])
            for name, part in found.items()
        }

    def _strips_for(self, name: str, row: int, region: Region) -> tuple[int, NDArray[Any]] | None:
        """Where in the file the strips of a region begin, and their entries."""
        if name not in self._strips:
            return None
        whole = self._strips[name][self._first[row] : self._first[row + 1]]
        if not whole["bytes"].any():
            return None
        first, last = region.top // self._strip_rows, _strips_in(region.bottom, self._strip_rows)
        return int(self._ends[name][row] - whole["bytes"][first:].sum()), whole[first:last]

    def _decoded(
        self, name: str, row: int, region: Region, data: bytes, entries: NDArray[Any]
    ) -> Pixels | NDArray[np.float16]:
        _, height, width, bits = self._pairs[row]
        ends = np.cumsum(entries["bytes"], dtype=np.int64).tolist()
        strips = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        for strip, crc32 in zip(strips, entries["crc32"], strict=True):
            if zlib.crc32(strip) != crc32:
                raise ValueError(f"{name}: damaged, its checksum differs")
        try:
            if name == "coc":
                return unpack_map_region(
                    strips, region, height=height, width=width, strip_rows=self._strip_rows
                )
            return unpack_region(
                strips, region, height=height, width=width, bits=bits, strip_rows=self._strip_rows
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: damaged ({error})") from error


def _end(chunk: Any) -> int:
    return int(chunk.data_page_offset + chunk.total_compressed_size)


@functools.lru_cache(_KEPT_INDEXES)
def index_of(shard: ShardInfo) -> ShardIndex | None:
    """Return the index of a shard, None for schema 1. Raises ValueError for a damaged one."""
    footer = _footer(shard)
    found = (footer.metadata or {}).get(_INDEX_KEY)
    if found is None:
        return None
    try:
        return ShardIndex(json.loads(found), footer)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{shard.location}: damaged index ({error!r})") from error


@functools.lru_cache(_KEPT_FOOTERS)
def _footer(shard: ShardInfo) -> pq.FileMetaData:
    """Read what Parquet says of a shard: one request, two where it is long."""
    length = min(_TAIL_BYTES, shard.bytes)
    for _ in range(2):
        (tail,) = shard.location.read_ranges([(shard.bytes - length, shard.bytes)])
        needed = min(int.from_bytes(tail[-8:-4], "little") + 12, shard.bytes)
        if needed <= length:
            break
        length = needed
    # Parquet looks at a file from its end: what lies before the footer may be missing.
    return pq.read_metadata(pa.BufferReader(tail))


def read_row(shard: ShardInfo, row: int, columns: Iterable[str] | None = None) -> dict[str, Any]:
    """Return one row of a shard, undecoded. A row is a row group: only its bytes are read."""
    with shard.location.open() as file:
        parquet = pq.ParquetFile(file, metadata=_footer(shard), page_checksum_verification=True)
        table = parquet.read_row_group(row, columns=None if columns is None else list(columns))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows[0]
