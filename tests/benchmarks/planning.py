"""What it takes to find the pairs of a large set by its names, and to plan its shards.

    python -m tests.benchmarks.planning --pairs 100000

The names are made up, in the layout of DPD-blur: with one name a pair, or (--numbers) with targets
that have other numbers than their sources. Processor time, and the memory of the process.
"""

import argparse
import resource
import time

from pipelines.ingest.layouts import discover
from pipelines.making.plan import make_plan


def names(pairs: int, *, numbers: bool) -> dict[str, int]:
    """Return the files of a set with their sizes in bytes."""
    files = {}
    for pair in range(pairs):
        source, target = (3 * pair, 3 * pair + 1) if numbers else (pair, pair)
        files[f"train_l/source/P{source:08d}_L.png"] = 8_000_000 + pair
        files[f"train_r/source/P{source:08d}_R.png"] = 8_100_000 + pair
        files[f"train_c/target/P{target:08d}.png"] = 8_200_000 + pair
    return files


def main() -> None:
    """Print one line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--numbers", action="store_true")
    asked = parser.parse_args()
    files = names(asked.pairs, numbers=asked.numbers)
    before, started = _peak_mib(), time.process_time()
    _, found = discover(files, layout="auto", source="here")
    assert len(found.pairs) == asked.pairs
    _say("names to pairs", started, asked.pairs, before)
    started = time.process_time()
    make_plan(
        dataset="d",
        version="v1",
        units=found.pairs,
        rejects=found.rejects,
        content_config={},
        pairs_per_shard=64,
    )
    _say("pairs to shards", started, asked.pairs, before)


def _say(what: str, started: float, pairs: int, before: float) -> None:
    took = time.process_time() - started
    print(
        f"{what}: {took:.1f} s of processor time, {took / pairs * 1e6:.0f} us a pair; "
        f"{_peak_mib() - before:.0f} MiB beside {before:.0f} with the list of files"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
