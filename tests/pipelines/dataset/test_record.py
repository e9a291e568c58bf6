"""The pair record: what goes in comes out, and any Parquet reader can read it."""

import io
import json
import struct

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.dataset.record import (
    COLUMNS,
    PAIR_SCHEMA,
    Pair,
    Provenance,
    Source,
    decode_coc,
    decode_pair,
    encode_pair,
)

rng = np.random.default_rng(0)


def picture(dtype: type = np.uint8, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    return rng.integers(0, np.iinfo(dtype).max + 1, (*size, 3)).astype(dtype)


def pair(**changes: object) -> Pair:
    fields: dict[str, object] = {
        "pair_id": "a-1",
        "scene_id": "a",
        "dataset": "set",
        "split": "train",
        "left": picture(np.uint16),
        "right": picture(np.uint16),
        "target": picture(np.uint16),
        "combined": picture(np.uint16),
        "coc": rng.normal(0, 4, (6, 8)).astype(np.float16),
        "y": 3,
        "x": 5,
        "provenance": Provenance(
            sources=(Source(role="left", file="l.png", sha256="ab"),),
            layout="dpd-blur",
            combined="stored",
            turned_degrees=90,
            kernel_family="butterworth",
            parameters={"order": 3, "camera": {"f_number": 2.0}},
            seed=7,
        ),
    }
    return Pair(**(fields | changes))  # type: ignore[arg-type]


def test_everything_comes_back_through_parquet() -> None:
    before = pair()
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([encode_pair(before)], schema=PAIR_SCHEMA), file)
    after = decode_pair(pq.read_table(io.BytesIO(file.getvalue())).to_pylist()[0])
    for name in ("pair_id", "scene_id", "dataset", "split", "y", "x", "provenance"):
        assert getattr(after, name) == getattr(before, name), name
    for name in ("left", "right", "target", "combined", "coc"):
        assert getattr(after, name).dtype == getattr(before, name).dtype, name
        assert np.array_equal(getattr(after, name), getattr(before, name)), name


def test_what_a_set_does_not_have_stays_absent() -> None:
    row = encode_pair(pair(target=None, combined=None, coc=None, y=None, x=None))
    after = decode_pair(row)
    assert (after.target, after.combined, after.coc, after.y, after.x) == (None,) * 5
    assert after.provenance.combined == "mean"


def test_pandas_reads_it_without_us() -> None:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([encode_pair(pair())], schema=PAIR_SCHEMA), file)
    frame = pd.read_parquet(io.BytesIO(file.getvalue()))
    assert frame.loc[0, ["pair_id", "height", "width", "bit_depth"]].tolist() == ["a-1", 6, 8, 16]
    provenance = frame.loc[0, "provenance"]
    assert provenance["sources"][0]["file"] == "l.png"
    assert json.loads(provenance["parameters"])["camera"]["f_number"] == 2.0


def test_columns_of_the_design() -> None:
    assert PAIR_SCHEMA.names == [
        *("pair_id", "scene_id", "dataset", "split", "left", "right", "target", "combined"),
        *("height", "width", "bit_depth", "y", "x", "coc", "provenance"),
    ]
    assert set(COLUMNS) <= set(PAIR_SCHEMA.names)


def test_coc_is_float16_little_endian_zstd() -> None:
    """Read back by the format's description alone."""
    coc = np.array([[-8.0, 0.0], [0.5, 8.0]], np.float16)
    views = {name: picture(size=(2, 2)) for name in ("left", "right", "target", "combined")}
    data = encode_pair(pair(coc=coc, **views))["coc"]
    raw = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    assert np.frombuffer(raw, "<f2").tolist() == [-8.0, 0.0, 0.5, 8.0]
    with pytest.raises(ValueError, match="p: damaged coc"):
        decode_coc(data[:-3], height=2, width=2, where="p")


def test_packed_picture_by_its_description() -> None:
    """docs/data.md gives these lines to whoever reads shards without this package."""
    for dtype in (np.uint8, np.uint16):
        image = picture(dtype, (150, 8))
        views = dict.fromkeys(("left", "right", "target", "combined"), image)
        data = encode_pair(pair(coc=None, **views))["left"]
        height, width, channels, bits, rows = struct.unpack_from("<4xIIBBH", data)
        raw = pa.CompressedInputStream(pa.BufferReader(data[16:]), "zstd").read()
        strips = []
        for top in range(0, height, rows or height):
            shape = (bits // 8, min(rows or height, height - top), width, channels)
            part = np.frombuffer(raw, np.uint8, np.prod(shape), top * width * channels * bits // 8)
            bytewise = enumerate(part.reshape(shape))
            difference = sum(plane.astype(f"u{bits // 8}") << 8 * n for n, plane in bytewise)
            strips.append(np.add.accumulate(difference, axis=0, dtype=f"u{bits // 8}"))
        assert np.array_equal(np.concatenate(strips), image)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"right": picture(np.uint16, (6, 9))}, "mismatched sizes: left is 8 x 6, right is 9 x 6"),
        ({"target": picture(np.uint8)}, "mismatched bit depth"),
        ({"combined": picture(np.uint16, (5, 8))}, "mismatched sizes"),
        ({"coc": np.zeros((5, 8), np.float16)}, "coc"),
        ({"coc": np.full((6, 8), np.nan, np.float16)}, "not finite"),
        ({"split": "dev"}, "dev"),
    ],
)
def test_what_is_no_pair(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        pair(**changes)


def test_damaged_row_names_its_pair() -> None:
    row = encode_pair(pair())
    row["right"] = row["right"][:-9]
    with pytest.raises(ValueError, match="a-1, right"):
        decode_pair(row)


def test_center_is_the_stored_view_or_the_mean() -> None:
    one = pair()
    assert one.center is one.combined
    left, right = np.full((1, 1, 3), 65535, np.uint16), np.full((1, 1, 3), 65534, np.uint16)
    mean = pair(left=left, right=right, target=None, combined=None, coc=None).center
    assert mean.dtype == np.uint16
    assert mean.tolist() == [[[65535] * 3]]
