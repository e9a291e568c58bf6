"""How long a large dataset version takes to open, and to say which pair comes at a place.

    python -m tests.benchmarks.catalogue --pairs 10000000 --shards 100000

The catalogue is made up: a manifest without shards. Processor time, and the memory of this process
beside what it had before, of one process that opens it and asks for samples as a reader does.
"""

import argparse
import json
import random
import resource
import tempfile
import time

from pipelines.dataset.version import MANIFEST, SCHEMA_VERSION, open_version
from pipelines.storage import locate
from pipelines.training.order import SampleOrder, Source


def write_catalogue(root: str, pairs: int, shards: int) -> None:
    """Write the manifest of ``big@v1``."""
    entries = [
        {
            "name": f"split=train/{number:05d}.parquet",
            "split": "train",
            "rows": (number + 1) * pairs // shards - number * pairs // shards,
            "bytes": 100_000_000,
            "sha256": f"{number:064x}",
        }
        for number in range(shards)
    ]
    manifest = {"schema": SCHEMA_VERSION, "digest": "d", "shards": entries, "files": []}
    text = json.dumps(manifest, indent=1, sort_keys=True)
    locate(root).child("big", "v1", MANIFEST).write_bytes(text.encode())


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        write_catalogue(root, asked.pairs, asked.shards)
        before = _peak_mib()  # the writer's memory is taken again
        started = time.process_time()
        version = open_version(locate(root), "big@v1")
        rows = version.rows("train")
        print(f"opening: {time.process_time() - started:.2f} s")
        order = SampleOrder([Source(name="big", version="v1", digest="d", rows=rows)], seed=0)
        rng = random.Random(0)
        places = [rows + rng.randrange(rows) for _ in range(asked.samples)]  # of the second epoch
        _timed("an epoch begins", lambda: order.sample(places[0]), places[:1])
        _timed("place in the order", lambda: [order.sample(place) for place in places], places)
        taken = [order.sample(place).row for place in places]
        _timed("shard of a pair", lambda: [version.locate_row("train", r) for r in taken], places)
    print(f"peak of the process: {_peak_mib():.0f} MiB, of it {before:.0f} before it was opened")


def _timed(what: str, work: object, places: list[int]) -> None:
    assert callable(work)
    started = time.process_time()
    work()
    print(f"{what}: {(time.process_time() - started) / len(places) * 1e6:.1f} us")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
