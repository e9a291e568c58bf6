"""A shard is read by the row or by the region: the same pixels, of fewer bytes."""

import hashlib
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dataset import shard as shard_module
from pipelines.dataset.packed import STRIP_ROWS, Region
from pipelines.dataset.record import IN_STRIPS, PAIR_SCHEMA, Pair, decode_pair, encode_pair
from pipelines.dataset.shard import ShardInfo, ShardWriter, index_of, read_row
from pipelines.storage import Location, locate


def pair_of(
    height: int, width: int, *, bits: int = 16, grey: bool = False, absent: Collection[str] = ()
) -> Pair:
    """A pair of noise, of which some pictures are not there."""
    rng = np.random.default_rng([height, width, bits, grey])
    kind = np.uint8 if bits == 8 else np.uint16
    pictures = rng.integers(0, 1 << bits, (4, height, width, 3)).astype(kind)
    if grey:
        pictures[..., 1:] = pictures[..., :1]
    left, right, target, combined = pictures
    return Pair(
        pair_id=f"{width} x {height}",
        scene_id="s",
        dataset="noise",
        split="train",
        left=left,
        right=right,
        target=None if "target" in absent else target,
        combined=None if "combined" in absent else combined,
        coc=None if "coc" in absent else rng.normal(0, 9, (height, width)).astype(np.float16),
    )


def write(location: Location, data: bytes, rows: int) -> ShardInfo:
    location.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return ShardInfo(location=location, split="train", rows=rows, bytes=len(data), sha256=digest)


def write_pairs(location: Location, *pairs: Pair) -> ShardInfo:
    stream = io.BytesIO()
    with ShardWriter(stream) as writer:
        for pair in pairs:
            writer.write(pair)
    return write(location, stream.getvalue(), len(pairs))


def as_schema_1(row: dict[str, object], pair: Pair) -> dict[str, object]:
    """A row as it was before there were strips: all rows of a picture are one."""
    from pipelines.dataset.packed import pack

    def whole(picture: np.ndarray) -> bytes:
        data = pack(picture, strip_rows=len(picture)).data
        return b"K3DP" + data[4:14] + b"\0\0" + data[16:]

    names = [name for name in ("left", "right", "target", "combined") if row[name] is not None]
    coc = None if pair.coc is None else pa.Codec("zstd").compress(pair.coc.tobytes(), asbytes=True)
    return row | {name: whole(getattr(pair, name)) for name in names} | {"coc": coc}


def write_schema_1(location: Location, *pairs: Pair) -> ShardInfo:
    stream = io.BytesIO()
    rows = [as_schema_1(encode_pair(pair), pair) for pair in pairs]
    pq.write_table(pa.Table.from_pylist(rows, schema=PAIR_SCHEMA), stream, row_group_size=1)
    return write(location, stream.getvalue(), len(pairs))


@st.composite
def places(draw: st.DrawFn) -> tuple[Pair, Region]:
    """A pair, and a region that lies in it: often at a border of a strip or of the picture."""
    edges = st.sampled_from([1, STRIP_ROWS - 1, STRIP_ROWS, STRIP_ROWS + 1, 2 * STRIP_ROWS])
    height, width = draw(st.one_of(edges, st.integers(1, 200))), draw(st.integers(1, 40))
    pair = pair_of(
        height,
        width,
        bits=draw(st.sampled_from([8, 16])),
        grey=draw(st.booleans()),
        absent=draw(st.sets(st.sampled_from(["target", "combined", "coc"]))),
    )
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return pair, Region(
        top, draw(st.integers(top + 1, height)), left, draw(st.integers(left + 1, width))
    )


@settings(max_examples=25, deadline=None)
@given(place=places(), other=places())
def test_a_region_is_what_lies_there(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[Pair, Region], other: tuple[Pair, Region]
) -> None:
    location = locate(str(tmp_path_factory.mktemp("shard") / "x.parquet"))
    shard = write_pairs(location, place[0], other[0])
    index = index_of(shard)
    assert index is not None
    for row, (pair, region) in enumerate((place, other)):
        assert index.pair_id(row) == pair.pair_id
        assert index.size(row) == pair.left.shape[:2]
        found = index.read(location, row, IN_STRIPS, region)
        whole = decode_pair(read_row(shard, row))
        for name in IN_STRIPS:
            expected = getattr(pair, name)
            if expected is None:
                assert found[name] is None and getattr(whole, name) is None
                continue
            top, bottom, left, right = region
            assert found[name].dtype == expected.dtype
            assert np.array_equal(found[name], expected[top:bottom, left:right])
            assert np.array_equal(getattr(whole, name), expected)


def test_a_row_of_schema_1_is_read_whole(tmp_path: Path) -> None:
    pairs = [pair_of(70, 9), pair_of(5, 6, bits=8, absent=["coc"])]
    shard = write_schema_1(locate(str(tmp_path / "x.parquet")), *pairs)
    assert index_of(shard) is None
    for row, pair in enumerate(pairs):
        read = decode_pair(read_row(shard, row))
        for name in IN_STRIPS:
            expected = getattr(pair, name)
            assert (expected is None) == (getattr(read, name) is None)
            assert expected is None or np.array_equal(getattr(read, name), expected)


def test_a_region_costs_a_range_of_each_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_pairs(locate(str(tmp_path / "x.parquet")), pair_of(6 * STRIP_ROWS, 64))
    asked: list[list[tuple[int, int]]] = []
    read_ranges = Location.read_ranges

    def counted(self: Location, ranges: list[tuple[int, int]]) -> list[bytes]:
        asked.append(list(ranges))
        return read_ranges(self, ranges)

    monkeypatch.setattr(Location, "read_ranges", counted)
    index = index_of(shard)
    assert index is not None and len(asked) == 1, "the footer is one range"
    region = Region(STRIP_ROWS + 3, STRIP_ROWS + 5, 0, 64)
    index.read(shard.location, 0, ("left", "right", "target"), region)
    assert [len(ranges) for ranges in asked] == [1, 3]
    assert sum(stop - start for start, stop in asked[1]) < 3 * 64 * STRIP_ROWS * 6 * 1.01
    assert index_of(shard) is index and len(asked) == 2, "the footer is kept"


def test_a_footer_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [pair_of(8, width) for width in range(3, 9)]
    shard = write_pairs(locate(str(tmp_path / "x.parquet")), *pairs)
    monkeypatch.setattr(shard_module, "_TAIL_BYTES", 100)
    index = index_of(shard)
    assert index is not None
    for row, pair in enumerate(pairs):
        found = index.read(shard.location, row, ["left"], Region(0, 8, 0, 3))
        assert np.array_equal(found["left"], pair.left[:, :3])


@pytest.mark.parametrize("column", IN_STRIPS)
def test_a_bit_that_flips_in_a_strip_is_found(tmp_path: Path, column: str) -> None:
    """In the strips that are read; the others are found when they are."""
    location = locate(str(tmp_path / "x.parquet"))
    pair = pair_of(3 * STRIP_ROWS, 8)
    shard = write_pairs(location, pair)
    index = index_of(shard)
    assert index is not None
    with location.open() as file:
        group = pq.ParquetFile(file).metadata.row_group(0)
    chunks = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    chunk = chunks[column]
    data = bytearray(location.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 16  # the second strip
    location.write_bytes(bytes(data))
    for strip in (0, 2):
        region = Region(strip * STRIP_ROWS, (strip + 1) * STRIP_ROWS, 0, 8)
        found = index.read(location, 0, [column], region)[column]
        assert np.array_equal(found, getattr(pair, column)[region.top : region.bottom])
    with pytest.raises(ValueError, match=f"{column}: damaged"):
        index.read(location, 0, [column], Region(STRIP_ROWS - 1, STRIP_ROWS + 1, 0, 8))


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    shard = write_pairs(locate(str(tmp_path / "x.parquet")), pair_of(9, 9))
    data = shard.location.read_bytes()
    for length in (0, 7, len(data) // 2, len(data) - 1):
        shard.location.write_bytes(data[:length])
        with pytest.raises(ValueError, match="Parquet"):
            index_of(shard)
