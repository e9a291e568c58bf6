"""How fast whole pairs are read from shards of schema 2, whose pictures lie in strips, against
schema 1, which had one strip a picture.

    OMP_NUM_THREADS=1 K3DN_SAMPLES=... python -m tests.benchmarks.whole_pictures

Pairs of the samples, mirrored to 1680 x 1120 px, of 16 bit and of 8, on a local disk: as a row of
both kinds of file is read and decoded, in turns. Processor time of this process.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dataset.images import Pixels
from pipelines.dataset.record import PAIR_SCHEMA, Pair, decode_pair, encode_pair
from pipelines.dataset.shard import ShardInfo, read_row
from pipelines.storage import Location, locate
from tests.benchmarks.reading import HEIGHT, WIDTH, pictures
from tests.pipelines.dataset.test_shard import as_schema_1, write, write_pairs


def pair_of(number: int, *views: Pixels) -> Pair:
    """The pair of left, right and target."""
    left, right, target = views
    name = f"pair{number}"
    keys: dict[str, Any] = {"left": left, "right": right, "target": target}
    return Pair(pair_id=name, scene_id=name, dataset="whole", split="train", **keys)


def write_as_schema_1(location: Location, pairs: Sequence[Pair]) -> ShardInfo:
    """Write a shard as it was written then, with the options of Parquet that are still ours."""
    stream = io.BytesIO()
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    with pq.ParquetWriter(stream, PAIR_SCHEMA, write_page_checksum=True, **options) as writer:
        for pair in pairs:
            row = as_schema_1(encode_pair(pair), pair)
            writer.write_table(pa.Table.from_pylist([row], schema=PAIR_SCHEMA), row_group_size=1)
    return write(location, stream.getvalue(), len(pairs))


def milliseconds(shard: ShardInfo) -> float:
    """Processor time a pair."""
    start = time.process_time()
    for row in range(shard.rows):
        decode_pair(read_row(shard, row))
    return (time.process_time() - start) / shard.rows * 1000


def main() -> None:
    """Print the medians and the median of the ratios, for each depth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--pairs", type=int, default=4)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    for bits in (16, 8):
        pairs = [
            pair_of(n, *(p if bits == 16 else (p >> 8).astype(np.uint8) for p in views))
            for n, views in enumerate(pictures(asked.pairs))
        ]
        with tempfile.TemporaryDirectory() as folder:
            root = locate(folder)
            old = write_as_schema_1(root.child("1.parquet"), pairs)
            new = write_pairs(root.child("2.parquet"), *pairs)
            for shard in (old, new):  # the footer is read once
                for row, pair in enumerate(pairs):
                    read = decode_pair(read_row(shard, row))
                    assert np.array_equal(read.left, pair.left) and read.target is not None
            times = [(milliseconds(old), milliseconds(new)) for _ in range(asked.turns)]
        one, two = (statistics.median(column) for column in zip(*times, strict=True))
        ratios = [after / before for before, after in times]
        print(
            f"{len(pairs)} pairs of {WIDTH} x {HEIGHT}, {bits} bit: schema 1 {one:.1f} ms, schema "
            f"2 {two:.1f} ms a pair; {statistics.median(ratios):.2f} times ({min(ratios):.2f} to "
            f"{max(ratios):.2f}), {new.bytes / old.bytes:.3f} times the bytes"
        )


if __name__ == "__main__":
    main()
