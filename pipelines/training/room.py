"""Does the cluster have the room that a run asks for? Asked before, for the sake of a clear line.

Without the check a run that leaves no CPU to its readers would wait for data for ever.
"""

from pipelines.errors import UserError
from pipelines.progress import say
from pipelines.training.config import TrainConfig


def wants_gpu(config: TrainConfig) -> bool:
    """Return whether workers take a GPU each. Raises UserError where there are too few."""
    gpus = most("GPU")
    if config.use_gpu is None:
        if 0 < gpus < config.num_workers:
            say(
                f"train: WARNING: {config.num_workers} workers share no {gpus:g} GPU(s), so this "
                f"trains on the CPU; num_workers={gpus:g} trains on the GPU(s)"
            )
        return gpus >= config.num_workers
    if config.use_gpu and gpus < config.num_workers:
        raise UserError(
            f"use_gpu=true with num_workers={config.num_workers} needs {config.num_workers} "
            f"GPU(s), the cluster has {gpus:g}; set use_gpu=false or num_workers, or 'k3dn doctor'"
        )
    return config.use_gpu


def check_room(config: TrainConfig) -> None:
    """Raise UserError unless workers and readers fit on the cluster's CPUs together."""
    workers = config.num_workers * config.cpus_per_worker
    readers = config.num_workers * config.readers_per_worker * config.cpus_per_reader
    cpus = most("CPU")
    if workers + readers > cpus:
        raise UserError(
            f"num_workers={config.num_workers} takes {workers:g} CPUs and reading the data "
            f"{readers:g} more, but the cluster has {cpus:g}; lower num_workers, cpus_per_worker "
            "or cpus_per_reader"
        )


def check_worker(cpus_per_worker: float, *, use_gpu: bool) -> None:
    """Raise UserError unless one worker fits on a node that is there or may be added.

    Ray lets a worker that fits nowhere wait for ever. Which nodes an autoscaling cluster adds is
    not known before: as long as it may grow, its limit counts as one node's size.
    """
    import ray

    kinds = ("CPU", "GPU")
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(most(kind) > ray.cluster_resources().get(kind, 0.0) for kind in kinds):
        nodes.append({kind: most(kind) for kind in kinds})
    fitting = [node for node in nodes if not use_gpu or node.get("GPU", 0.0) >= 1]
    largest = max((node.get("CPU", 0.0) for node in fitting), default=0.0)
    if cpus_per_worker > largest:
        raise UserError(
            f"cpus_per_worker={cpus_per_worker:g} fits on no node: the largest"
            f"{' with a GPU' if use_gpu else ''} has {largest:g} CPUs; lower cpus_per_worker"
        )


def most(resource: str) -> float:
    """Return what the cluster has, or may grow to where it scales by itself."""
    import ray
    from ray._private.state import state

    now = float(ray.cluster_resources().get(resource, 0.0))
    limit = (state.get_max_resources_from_cluster_config() or {}).get(resource, 0)
    return max(now, float(limit))
