"""What Ray adds to making synthetic pairs, and how much memory a worker takes.

    python -m tests.benchmarks.synthesis_job [--size 480x640] [--pairs 192] [--repeats 3]
        [--pairs-per-shard 16]

The same shards are written by Ray Data on two workers and by a plain loop in two processes, in
turns; both are warm, what they start with is not counted. Then one process makes a shard of each
size and says how much memory it took at most.
"""

import argparse
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from pipelines.cluster import ray_cluster
from pipelines.making.plan import Plan, PlanItem, make_plan
from pipelines.making.run_plan import run_plan
from pipelines.making.shards import PLAN, Claim, write_shard
from pipelines.storage import Location, locate
from pipelines.synthesis.config import SynthConfig
from pipelines.synthesis.scene_sources import open_scenes
from pipelines.synthesis.scenes import plan_scenes
from pipelines.synthesis.synthetic_pairs import SyntheticPairs

CLAIM: Claim = {"plan": "bench", "code": "bench"}
Work = tuple[Location, PlanItem, SyntheticPairs]


def work_of(config: SynthConfig) -> tuple[Plan, SyntheticPairs]:
    """The plan of a version, and what makes its pairs."""
    scenes = open_scenes(config)
    plan = make_plan(
        dataset=config.dataset,
        version=config.version,
        units=plan_scenes(config, scenes),
        rejects=(),
        content_config={},
        pairs_per_shard=config.pairs_per_shard,
    )
    return plan, SyntheticPairs(config=config, reader=scenes.reader)


def fresh(folder: Path) -> Location:
    """An empty version that the benchmark may write."""
    shutil.rmtree(folder, ignore_errors=True)
    version = locate(str(folder))
    version.child(PLAN).write_bytes(b'{"plan": "bench", "code": "bench"}')
    return version


def write(work: Work) -> str:
    """One shard in this process."""
    version, item, producer = work
    return write_shard(version, item, producer, claim=CLAIM).sha256


def plainly(
    pool: ProcessPoolExecutor, plan: Plan, version: Location, pairs: SyntheticPairs
) -> set[str]:
    """All shards in the processes of a pool; their checksums."""
    return set(pool.map(write, [(version, item, pairs) for item in plan.items]))


def on_ray(plan: Plan, version: Location, pairs: SyntheticPairs) -> set[str]:
    """All shards as the step writes them; their checksums."""
    return {result.sha256 for result in run_plan(plan, version, pairs, None, claim=CLAIM)}


def peak_mib(config: SynthConfig) -> float:
    """Most memory of this process while it makes the pairs of a version, MiB."""
    plan, pairs = work_of(config)
    with tempfile.TemporaryDirectory() as folder:
        version = fresh(Path(folder) / "version")
        for item in plan.items:
            write((version, item, pairs))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def overhead(config: SynthConfig, repeats: int) -> None:
    """Print the time of both ways, in turns."""
    plan, pairs = work_of(config)
    warm, _ = work_of(replace(config, pairs=2 * config.pairs_per_shard))
    times: dict[str, list[float]] = {"plain": [], "ray": []}
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_cluster(),
        ProcessPoolExecutor(2, mp_context=spawn) as pool,
    ):
        root = Path(folder)
        plainly(pool, warm, fresh(root / "warm"), pairs)
        on_ray(warm, fresh(root / "warm"), pairs)
        for _ in range(repeats):
            version = fresh(root / "plain")
            start = time.perf_counter()
            one = plainly(pool, plan, version, pairs)
            times["plain"].append(time.perf_counter() - start)
            version = fresh(root / "ray")
            start = time.perf_counter()
            other = on_ray(plan, version, pairs)
            times["ray"].append(time.perf_counter() - start)
            assert one == other, "the shards differ"
    ratios = [r / p for r, p in zip(times["ray"], times["plain"], strict=True)]
    print(f"{config.pairs} pairs of {config.size}, {len(plan.items)} shards, two workers")
    for way, seconds in times.items():
        rate = config.pairs / statistics.median(seconds)
        print(f"| {way} | {statistics.median(seconds):.1f} s | {rate:.2f} pairs a second |")
    print(f"ray / plain: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to ", end="")
    print(f"{max(ratios):.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="480x640")
    parser.add_argument("--pairs", type=int, default=192)
    parser.add_argument("--pairs-per-shard", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-sizes", nargs="*", default=["480x640", "1080x1920"])
    arguments = parser.parse_args()
    in_shard = arguments.pairs_per_shard
    config = SynthConfig(size=arguments.size, pairs=arguments.pairs, pairs_per_shard=in_shard)
    overhead(config, arguments.repeats)
    for size in arguments.memory_sizes:
        keys = {"pairs": in_shard, "pairs_per_shard": in_shard, "test_fraction": 0.0}
        large = SynthConfig.of_preset("k3dn", size=size, val_fraction=0.0, **keys)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            print(f"peak of a worker, preset k3dn, {size}, 16 bit, shards of {in_shard}: ", end="")
            print(f"{pool.submit(peak_mib, large).result():.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
