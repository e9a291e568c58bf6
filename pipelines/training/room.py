"""Does the cluster have the room that a run asks for? Asked before, for the sake of a clear line.

Without the check a run that leaves no CPU to its readers would wait for data for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.progress import say
from pipelines.training.config import TrainConfig

WORKERS_WITHOUT_GPU = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """The workers of a training."""

    workers: int
    use_gpu: bool
    """Whether each takes a GPU."""


def layout_of(config: TrainConfig, has: Callable[[str], float] | None = None) -> Layout:
    """Return how many workers train on what, of the cluster that is connected; says what is odd.

    has: the most of a resource that the cluster has or may get; None: what Ray says.
    Raises UserError where there are too few GPUs for what is asked.
    """
    has = has or most
    gpus = int(has("GPU"))
    if config.num_workers == "auto":
        use_gpu = gpus > 0 if config.use_gpu is None else config.use_gpu
        workers = min(gpus if use_gpu else WORKERS_WITHOUT_GPU, config.batch_size)
        if use_gpu and config.gpus_per_worker < 1:
            workers = min(workers, 1)  # who share a GPU are runs of their own
        if use_gpu and gpus:
            told = f" of {gpus}" if workers < gpus else ""
            each = "" if workers < 2 and config.gpus_per_worker < 1 else ", a worker each"
            part = f"{config.gpus_per_worker:g} of one" if not each else f"{workers}{told} GPU(s)"
            say(f"train: num_workers=auto takes {part}{each}")
        while workers > 1 and _cpus_for(config, workers) > has("CPU"):
            workers -= 1
        workers = max(workers, 1)
    else:
        workers = config.num_workers
        use_gpu = gpus >= workers if config.use_gpu is None else config.use_gpu
    if use_gpu and gpus < workers:
        raise UserError(
            f"use_gpu=true with num_workers={config.num_workers} needs {workers} "
            f"GPU(s), the cluster has {gpus}; set use_gpu=false or num_workers, or 'k3dn doctor'"
        )
    if not use_gpu and gpus:
        why = "use_gpu=false" if config.use_gpu is False else f"{workers} workers share none"
        say(
            f"train: WARNING: this trains on the CPU, and the cluster has {gpus} GPU(s): {why}; "
            "num_workers=auto use_gpu=none trains on the GPU(s)"
        )
    elif not use_gpu and Path("/dev/nvidia0").exists():
        say(
            "train: WARNING: this trains on the CPU, and this machine has a GPU that Ray does not "
            "know of; look at 'k3dn doctor'"
        )
    return Layout(workers, use_gpu)


def _cpus_for(config: TrainConfig, workers: int) -> float:
    readers = config.readers_per_worker * config.cpus_per_reader
    return workers * (config.cpus_per_worker + readers)


def has_label(node: Mapping[str, Any], label: str | None) -> bool:
    """Whether one of ``ray.nodes()`` has a label, KEY=VALUE."""
    key, _, value = (label or "").partition("=")
    return label is not None and (node.get("Labels") or {}).get(key) == value


def label_selector(label: str | None, *, without: bool = False) -> dict[str, str] | None:
    """Return what makes Ray use only nodes with, or without, a label, KEY=VALUE; None: any."""
    if label is None:
        return None
    key, _, value = label.partition("=")
    return {key: f"!{value}" if without else value}


def check_room(config: TrainConfig, workers: int) -> None:
    """Raise UserError unless workers and readers fit on the cluster's CPUs together."""
    of_workers = workers * config.cpus_per_worker
    of_readers = workers * config.readers_per_worker * config.cpus_per_reader
    if config.reader_label is not None:
        _check_labels(config.reader_label, of_workers, of_readers)
    cpus = most("CPU")
    if of_workers + of_readers > cpus:
        raise UserError(
            f"num_workers={workers} takes {of_workers:g} CPUs and reading the data "
            f"{of_readers:g} more, but the cluster has {cpus:g}; lower num_workers, "
            "cpus_per_worker or cpus_per_reader"
        )


def _check_labels(label: str, of_workers: float, of_readers: float) -> None:
    import ray

    if _may_grow():
        return  # which labels an added node will have is not known before
    nodes = [node for node in ray.nodes() if node["Alive"]]
    reading = [node for node in nodes if has_label(node, label)]
    if len(reading) in (0, len(nodes)):
        raise UserError(
            f"reader_label={label}: {'every' if reading else 'no'} node of the cluster has this "
            "label; readers run on nodes with it and workers on the others: start some nodes with "
            f"ray start --labels {label}, or leave reader_label out"
        )
    cpus = sum(node["Resources"].get("CPU", 0.0) for node in reading)
    others = most("CPU") - cpus
    if of_readers > cpus or of_workers > others:
        raise UserError(
            f"reader_label={label}: reading takes {of_readers:g} CPUs, of {cpus:g} on nodes with "
            f"this label, and workers take {of_workers:g}, of {others:g} on the others; lower "
            "num_workers, cpus_per_worker or cpus_per_reader"
        )


def _may_grow() -> bool:
    import ray

    now = ray.cluster_resources()
    return any(most(kind) > now.get(kind, 0.0) for kind in ("CPU", "GPU"))


def check_worker(cpus_per_worker: float, *, use_gpu: bool) -> None:
    """Raise UserError unless one worker fits on a node that is there or may be added.

    Ray lets a worker that fits nowhere wait for ever. Which nodes an autoscaling cluster adds is
    not known before: as long as it may grow, its limit counts as one node's size.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if _may_grow():
        nodes.append({kind: most(kind) for kind in ("CPU", "GPU")})
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
