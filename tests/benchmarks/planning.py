"""What it takes to find the pairs of a large set by its names, and to plan its shards.

    python -m tests.benchmarks.planning --pairs 100000

The names are made up, in the layout of DPD-blur: with one name a pair, or (--numbers) with targets
that have other numbers than their sources; --consecutive: one counter numbered both without a gap.
Processor time, and the peak memory of the process beyond what it had when it began.
"""

import argparse
import resource
import time
from collections.abc import Iterator

from pipelines.ingest.layouts import discover
from pipelines.listing import Listing
from pipelines.making.plan import make_plan
from pipelines.ray_tasks import packed


def files_of(pairs: int, *, step: int, target: int) -> Iterator[tuple[str, int]]:
    """Yield the files of a set in order, with their sizes in bytes.

    step: from one source to the next. target: number of the target less that of the source.
    """
    for pair in range(pairs):
        yield f"train_c/target/P{step * pair + target:08d}.png", 8_200_000 + pair
    for pair in range(pairs):
        yield f"train_l/source/P{step * pair:08d}_L.png", 8_000_000 + pair
    for pair in range(pairs):
        yield f"train_r/source/P{step * pair:08d}_R.png", 8_100_000 + pair


def main() -> None:
    """Print one line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--numbers", action="store_true")
    parser.add_argument("--consecutive", action="store_true")
    asked = parser.parse_args()
    step, target = (2, 1) if asked.consecutive else (3, 1) if asked.numbers else (1, 0)
    discover(dict(files_of(10, step=step, target=target)), layout="auto", source="here")
    before, started = _peak_mib(), time.process_time()
    files = Listing(files_of(asked.pairs, step=step, target=target))
    started = _say("names to a listing", started, asked.pairs, before)
    _, found = discover(files, layout="auto", source="here")
    assert len(found.pairs) == asked.pairs
    started = _say("names to pairs", started, asked.pairs, before)
    plan = make_plan(
        dataset="d",
        version="v1",
        units=found.pairs,
        rejects=found.rejects,
        content_config={},
        pairs_per_shard=64,
    )
    started = _say("pairs to shards", started, asked.pairs, before)
    tasks = [packed(plan.items[n : n + 32]) for n in range(0, len(plan.items), 32)]
    _say("shards to tasks", started, asked.pairs, before)
    print(f"{sum(map(len, tasks)) / asked.pairs:.0f} bytes a pair are handed out")


def _say(what: str, started: float, pairs: int, before: float) -> float:
    now = time.process_time()
    took, mib = now - started, _peak_mib() - before
    print(
        f"{what}: {took:.1f} s of processor time, {took / pairs * 1e6:.0f} us a pair; "
        f"peak {mib:.0f} MiB beyond {before:.0f}, {mib * 2**20 / pairs:.0f} bytes a pair"
    )
    return now


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
