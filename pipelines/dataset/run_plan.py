"""Carry a plan out: one Ray Data row is one item is one task is one whole shard."""

import pickle
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, cast

from pipelines.dataset.plan import Plan
from pipelines.dataset.shards import Claim, Producer, ShardResult, write_shard
from pipelines.errors import UserError
from pipelines.progress import progress, say
from pipelines.storage import Location


def run_plan(
    plan: Plan,
    version: Location,
    producer: Producer,
    ray_address: str | None,
    *,
    claim: Claim,
    device: str = "cpu",
) -> list[ShardResult]:
    """Write every shard of the plan that is not there yet; results in the order of the plan.

    device: what a task needs, torch's name of it: with cuda each task has a GPU to itself.
    Raises OSError where storage refuses a write and UserError where another run has taken the
    version over; the shards that were written stay.
    """
    if version.scheme == "memory":  # other processes would not see this one's memory
        here = (write_shard(version, i, producer, claim=claim) for i in plan.items)
        return _collect(plan, version, here)
    from pipelines.cluster import ray_cluster

    with ray_cluster(ray_address):
        gpus = 0 if device == "cpu" else 1
        if gpus:
            _check_gpu()
        with closing(_on_ray(plan, version, producer, claim, gpus)) as stream:
            return _collect(plan, version, stream)


def _on_ray(
    plan: Plan, version: Location, producer: Producer, claim: Claim, gpus: int
) -> Generator[ShardResult, None, None]:
    import logging

    import ray.data

    # Its own lines and ours would say the same thing twice.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False

    def carry_out(row: dict[str, Any]) -> dict[str, Any]:
        item = pickle.loads(row["item"])
        result = write_shard(version, item, producer, claim=claim)
        return {"result": pickle.dumps(result)}

    items = [{"item": pickle.dumps(item)} for item in plan.items]
    # One item, one row, one block, one task: a task that dies is run again, as a whole.
    blocks = ray.data.from_items(items, override_num_blocks=len(items))
    tasks = blocks.map(carry_out, num_cpus=1, num_gpus=gpus or None)
    # Closed while the cluster is there: left to the garbage collector, Ray would start another.
    with closing(cast("Generator[dict[str, Any], None, None]", iter(tasks.iter_rows()))) as rows:
        for row in rows:
            yield pickle.loads(row["result"])


def _check_gpu() -> None:
    import ray

    if not ray.cluster_resources().get("GPU"):  # Ray would wait for one for ever
        raise UserError("device=cuda: no node of the Ray cluster has a GPU; take device=cpu")


def _collect(plan: Plan, version: Location, stream: Iterator[ShardResult]) -> list[ShardResult]:
    results: dict[str, ShardResult] = {}
    label = f"{plan.dataset}@{plan.version}"
    for result in progress(stream, total=len(plan.items), label=label, unit="shards"):
        if result.error is not None:
            number, message = result.error
            raise OSError(number, message, version.child(result.name).url)
        if result.superseded:
            raise UserError(
                f"another run with other settings is making {label} at {version}; "
                "wait for it, or give another version, e.g. version=v2"
            )
        results[result.name] = result
    skipped = sum(result.skipped for result in results.values())
    if skipped:
        say(f"{label}: {skipped} of {len(plan.items)} shards were there already")
    return [results[item.name] for item in plan.items]
