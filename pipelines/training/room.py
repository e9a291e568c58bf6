"""Does the cluster have the room that a run asks for? Asked before, for the sake of a clear line.

Without the check a run that leaves no CPU to its readers would wait for data for ever.
"""

from pipelines.errors import UserError
from pipelines.training.config import TrainConfig


def wants_gpu(config: TrainConfig) -> bool:
    """Return whether workers take a GPU each. Raises UserError where there are too few."""
    gpus = _most("GPU")
    if config.use_gpu is None:
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
    cpus = _most("CPU")
    if workers + readers > cpus:
        raise UserError(
            f"num_workers={config.num_workers} takes {workers:g} CPUs and reading the data "
            f"{readers:g} more, but the cluster has {cpus:g}; lower num_workers, cpus_per_worker "
            "or cpus_per_reader"
        )


def _most(resource: str) -> float:
    """What the cluster has, or may grow to where it scales by itself."""
    import ray
    from ray._private.state import state

    now = float(ray.cluster_resources().get(resource, 0.0))
    limit = (state.get_max_resources_from_cluster_config() or {}).get(resource, 0)
    return max(now, float(limit))
