"""A byte that flips inside a page of Parquet, where no header tells: it is found, not believed."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.dataset.shard import ShardInfo, read_row
from pipelines.making.shards import PLAN, write_shard
from pipelines.storage import Location, locate
from tests.pipelines.dataset.makers import NoisePairs, noise_plan

PICTURES = ("left", "right", "target")


@pytest.fixture
def version(tmp_path: Path) -> Location:
    location = locate(str(tmp_path)).child("noise", "v1")
    location.child(PLAN).write_bytes(json.dumps(claim()).encode())
    return location


def claim() -> dict[str, str]:
    return {"plan": noise_plan(4).digest, "code": "code"}


def flip_in_page(shard: Location, column: str, row: int = 0) -> None:
    """Flip one bit in the middle of a column's only page, in its values."""
    with shard.open() as file:
        group = pq.ParquetFile(file).metadata.row_group(row)
    chunks = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    chunk = chunks[column]
    place = chunk.data_page_offset + chunk.total_compressed_size * 2 // 3
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(bytes(data))


@pytest.mark.parametrize("column", PICTURES)
def test_a_reader_finds_it(version: Location, column: str) -> None:
    item = noise_plan(4).items[0]
    result = write_shard(version, item, NoisePairs(), claim=claim())
    shard = ShardInfo(
        location=version.child(item.name),
        split=item.split,
        rows=result.rows,
        bytes=result.bytes,
        sha256=result.sha256,
    )
    whole = read_row(shard, 0)
    flip_in_page(shard.location, column)
    with shard.location.open() as file:  # unasked, Parquet hands out what is there
        believed = pq.ParquetFile(file).read_row_group(0, columns=[column]).to_pylist()[0]
    assert believed[column] != whole[column]
    with pytest.raises(OSError, match="CRC"):
        read_row(shard, 0, [column])
    other = next(name for name in PICTURES if name != column)
    assert read_row(shard, 0, [other])[other] == whole[other]


@pytest.mark.parametrize("column", PICTURES)
def test_a_run_that_goes_on_makes_the_shard_again(version: Location, column: str) -> None:
    item = noise_plan(4).items[0]
    first = write_shard(version, item, NoisePairs(), claim=claim())
    assert write_shard(version, item, NoisePairs(), claim=claim()).skipped
    data = version.child(item.name).read_bytes()
    flip_in_page(version.child(item.name), column, row=1)
    again = write_shard(version, item, NoisePairs(), claim=claim())
    assert not again.skipped and again.sha256 == first.sha256
    assert version.child(item.name).read_bytes() == data
