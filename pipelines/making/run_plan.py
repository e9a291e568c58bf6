"""Carry a plan out on Ray: a task writes one whole shard, or several one after the other."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain

from pipelines.errors import BusyError, UserError
from pipelines.making.deaths import write_shard_surviving
from pipelines.making.plan import Plan, PlanItem
from pipelines.making.shards import Claim, Producer, ShardResult, write_shard
from pipelines.progress import progress, say
from pipelines.ray_tasks import each_on_ray
from pipelines.storage import Location

_MOST_OF_A_TASK = 32
_FEWEST_TASKS = 256
"""A cluster may grow while it works: shards are put together where there are more than these."""
_TASKS_OF_A_WORKER = 16
"""At least: the last ones to end are waited for."""


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
    before = version.walk()
    if version.scheme == "memory":  # other processes would not see this one's memory
        here = (write_shard(version, i, producer, claim=claim) for i in plan.items)
        return _collect(plan, version, here, before)
    from pipelines.cluster import ray_cluster

    with ray_cluster(ray_address):
        run = secrets.token_hex(8)
        gpus = 0 if device == "cpu" else 1
        if gpus:
            _check_gpu()

        def work(items: Sequence[PlanItem]) -> list[ShardResult]:
            # Of a task that is run again, those that were written are found there.
            done: list[ShardResult] = []
            for item in items:
                done.append(write_shard_surviving(version, item, producer, claim=claim, run=run))
                if done[-1].error is not None or done[-1].superseded:
                    break
            return done

        size = _shards_of_a_task(len(plan.items), workers=_resource("GPU" if gpus else "CPU"))
        parts = (plan.items[n : n + size] for n in range(0, len(plan.items), size))
        with closing(each_on_ray(parts, work, gpus=gpus)) as stream:
            return _collect(plan, version, chain.from_iterable(stream), before)


def _shards_of_a_task(shards: int, *, workers: int) -> int:
    """Return how many shards a task writes: more than one where tasks are many enough for all.

    A task costs some 10 ms of processor time in the one process that hands them out.
    """
    tasks = max(_FEWEST_TASKS, _TASKS_OF_A_WORKER * workers)
    return min(max(shards // tasks, 1), _MOST_OF_A_TASK)


def _resource(name: str) -> int:
    import ray

    return int(ray.cluster_resources().get(name, 0))


def _check_gpu() -> None:
    if not _resource("GPU"):  # Ray would wait for one for ever
        raise UserError("device=cuda: no node of the Ray cluster has a GPU; take device=cpu")


def _collect(
    plan: Plan, version: Location, stream: Iterator[ShardResult], before: Mapping[str, int]
) -> list[ShardResult]:
    """before: files that were there before, with their sizes: a task that died and is run again
    finds there what it wrote itself."""
    results: dict[str, ShardResult] = {}
    label = f"{plan.dataset}@{plan.version}"
    for result in progress(stream, total=len(plan.items), label=label, unit="shards"):
        if result.error is not None:
            number, message = result.error
            raise OSError(number, message, version.child(result.name).url)
        if result.superseded:
            raise BusyError(
                f"another run with other settings is making {label} at {version}; "
                "wait for it, or give another version, e.g. version=v2"
            )
        results[result.name] = result
    skipped = sum(r.skipped and before.get(r.name) == r.bytes for r in results.values())
    if skipped:
        say(f"{label}: {skipped} of {len(plan.items)} shards were there already")
    return [results[item.name] for item in plan.items]
