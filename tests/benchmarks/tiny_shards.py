"""What Ray adds to shards that are quickly made: one a task, and several.

    python -m tests.benchmarks.tiny_shards [--shards 384] [--repeats 3]

Pairs of noise of 8 px, one a shard, on a private cluster of two workers; in turns, after one turn
that is not counted. Processor time is that of the process that hands the tasks out, which is one
for all workers.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from pipelines.cluster import ray_cluster
from pipelines.making import run_plan
from pipelines.making.plan import Plan
from pipelines.making.shards import PLAN, Claim
from pipelines.storage import locate
from tests.pipelines.dataset.makers import NoisePairs, noise_plan

CLAIM: Claim = {"plan": "bench", "code": "bench"}
TOGETHER = (1, 8, 32)
"""Shards a task."""


def turn(plan: Plan, folder: Path, together: int) -> tuple[float, float]:
    """Write the shards of a plan; return the seconds that went by and those of this process."""
    version = locate(str(folder))
    version.child(PLAN).write_bytes(b'{"plan": "bench", "code": "bench"}')
    run_plan._FEWEST_TASKS, run_plan._TASKS_OF_A_WORKER = len(plan.items) // together, 1
    start = time.perf_counter(), time.process_time()
    made = run_plan.run_plan(plan, version, NoisePairs(), None, claim=CLAIM)
    took = time.perf_counter() - start[0], time.process_time() - start[1]
    assert len(made) == len(plan.items) and not any(result.skipped for result in made)
    return took


def main() -> None:
    """Print one line for each number of shards a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    plan = noise_plan(asked.shards, pairs_per_shard=1)
    times: dict[int, list[tuple[float, float]]] = {together: [] for together in TOGETHER}
    number = itertools.count()
    with tempfile.TemporaryDirectory() as folder, ray_cluster():
        turn(plan, Path(folder) / "warm", 1)
        for _ in range(asked.repeats):
            for together, found in times.items():
                found.append(turn(plan, Path(folder) / str(next(number)), together))
    alone = times[1]
    for together, found in times.items():
        share = statistics.median(
            here[0] / there[0] for here, there in zip(found, alone, strict=True)
        )
        here_ms = statistics.median(took[1] for took in found) / asked.shards * 1e3
        print(
            f"{together} a task: {here_ms:.1f} ms of this process a shard, {share:.2f} times the "
            "seconds of one a task"
        )


if __name__ == "__main__":
    main()
