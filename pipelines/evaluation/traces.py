"""What is kept of the pictures of a split to find copies of them (``content.copies``).

Made once for each split of a dataset version, beside the scores of models on it.
"""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.content.copies import Grey, trace
from pipelines.dataset.images import decode_image
from pipelines.dataset.shard import read_row
from pipelines.dataset.version import DatasetVersion
from pipelines.progress import progress
from pipelines.storage import Location

MOST = 10_000
"""Pictures of a split that are compared; some 12 kB each."""
_FORM = 1
_SAID = 200
"""Pictures from which on a bar shows how far it is."""


def traces_of(
    version: DatasetVersion, split: str, root: Location, *, keep: bool, most: int = MOST
) -> list[Grey | None]:
    """Return the traces of the first pictures of a split, in order: of targets, where there is one.

    root: below it they are kept. keep: write them there; else they are read, or made and forgotten.
    """
    count = min(version.rows(split), most)
    folder = root.child("_evaluations", "traces")
    place = folder.child(f"{version.digest[:16]}-{split}-{_FORM}.parquet")
    kept = _read(place)
    if len(kept) >= count:
        return kept[:count]
    made = _made(version, split, count)
    found = list(
        progress(made, total=count, label=f"looking at {version.reference}", unit="pictures")
        if count > _SAID
        else made
    )
    if keep:
        place.write_bytes(_as_parquet(found))
    return found


def _made(version: DatasetVersion, split: str, count: int) -> Iterator[Grey | None]:
    for index in range(count):
        shard, row = version.locate_row(split, index)
        found = read_row(shard, row, ["target", "left"])
        where = f"{shard.location}, row {row}"
        yield trace(decode_image(found["target"] or found["left"], where=where))


def _as_parquet(traces: list[Grey | None]) -> bytes:
    shapes = [(0, 0) if grey is None else grey.shape for grey in traces]
    table = pa.table(
        {
            "height": pa.array([height for height, _ in shapes], pa.int32()),
            "width": pa.array([width for _, width in shapes], pa.int32()),
            "grey": pa.array(
                [None if grey is None else grey.astype("<f4").tobytes() for grey in traces],
                pa.binary(),
            ),
        }
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _read(place: Location) -> list[Grey | None]:
    try:
        table = pq.read_table(io.BytesIO(place.read_bytes()))
    except FileNotFoundError:
        return []
    return [
        None
        if row["grey"] is None
        else np.frombuffer(row["grey"], "<f4").reshape(row["height"], row["width"])
        for row in table.to_pylist()
    ]
