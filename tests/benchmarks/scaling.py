"""Where training on many GPUs stops to gain: docs/performance.md.

    python -m tests.benchmarks.scaling [--model tiny] [--batch 512] [--patch 256] ...
    python -m tests.benchmarks.scaling --simulate 2 4 8

The first prints tables on paper. Counted are the gradient, a checkpoint as it is written, and
multiply-adds; of the pairs of a dataset version (--root, --dataset) what they take where they are
stored. What no machine here could measure is assumed, and an argument: what a GPU computes a
second, the rates of network and storage, and what a step costs whatever its pairs.

The second holds the formula against processes that train no network: each sleeps for its pairs
and for the ring, and waits for the others in gloo's all-reduce of as many bytes, as workers do.
"""

import argparse
import io
import multiprocessing
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from k3dn import build_model
from k3dn.summary import summarize
from pipelines.dataset.version import open_version
from pipelines.storage import locate
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import Learner
from pipelines.training.order import rank_slice

GPUS = (1, 8, 64, 512)
PASSES = 3
"""A backward pass multiplies twice as much as a forward pass."""
LAST_BUCKET = 0.25
"""Share of the gradient that is there only when the backward pass has ended, at least."""


@dataclass(frozen=True)
class Costs:
    """What a step is made of: seconds, bytes, bytes a second."""

    batch: int
    pair_s: float
    """Of a pair, forward and backward."""
    step_s: float
    """Of a step whatever its pairs: launching, optimizer, average."""
    gradient: int
    link: float
    """Rate of the slowest link between two workers."""
    hop_s: float
    """Delay of a message."""
    pair: float
    """Bytes that a reader fetches for a pair."""
    storage: float
    """Rate of the storage for all workers together."""
    checkpoint: int
    checkpoint_every: int

    def pairs(self, workers: int) -> int:
        """Of the worker with the most."""
        return len(rank_slice(self.batch, workers - 1, workers))

    def ring_s(self, workers: int) -> float:
        """An all-reduce around a ring, Patarasuk and Yuan 2009."""
        return 2 * (workers - 1) * (self.gradient / workers / self.link + self.hop_s)

    def parts_s(self, workers: int) -> dict[str, float]:
        """What each part takes of a step where nothing runs beside anything."""
        compute_s = self.pairs(workers) * self.pair_s
        ring_s = self.ring_s(workers)
        hidden_s = min(ring_s * (1 - LAST_BUCKET), compute_s * (PASSES - 1) / PASSES)
        return {
            "pairs": compute_s,
            "step": self.step_s,
            "ring": ring_s - hidden_s,
            "reading": self.batch * self.pair / self.storage,
            "checkpoint": self.checkpoint / self.storage / self.checkpoint_every,
        }

    def seconds(self, workers: int) -> float:
        """Of a step: readers and writer run beside it, and count where they are slower."""
        parts = self.parts_s(workers)
        own_s = parts["pairs"] + parts["step"] + parts["ring"]
        return max(own_s, parts["reading"], parts["checkpoint"])

    def efficiency(self, workers: int) -> float:
        """Times faster than one worker, for each worker."""
        return self.seconds(1) / self.seconds(workers) / workers

    def limit(self) -> int:
        """The most workers of which each still does half of what one alone does."""
        workers = 1
        while workers < self.batch and self.efficiency(workers + 1) >= 0.5:
            workers += 1
        return workers

    def slowest(self, workers: int) -> str:
        """What takes most beside the pairs themselves."""
        parts = self.parts_s(workers)
        del parts["pairs"]
        return max(parts, key=lambda name: parts[name])


def counted(arguments: argparse.Namespace) -> Costs:
    """Count what can be counted here, and take the rest as it is given."""
    config = TrainConfig(
        model=arguments.model, batch_size=1, patch=arguments.patch, ema=0.999, num_workers=1
    )
    learner = Learner(config, ProcessContext(), None)
    trained = [one for group in learner._optimizer.param_groups for one in group["params"]]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    learner._optimizer.step()  # what it remembers is there after the first step
    buffer = io.BytesIO()
    torch.save(learner.state(), buffer)
    macs = summarize(build_model(arguments.model), arguments.patch, arguments.patch).macs
    assert macs is not None
    passes = PASSES * (1 + 1 / config.reblur_every)  # reblurring is as much again
    version = open_version(locate(arguments.root), arguments.dataset)
    shards = version.shards("train")
    stored = sum(shard.location.size() for shard in shards) / sum(shard.rows for shard in shards)
    return Costs(
        batch=arguments.batch,
        pair_s=2 * macs * passes / (arguments.tflops * 1e12),
        step_s=arguments.step_ms / 1e3,
        gradient=sum(one.numel() * one.element_size() for one in trained),
        link=arguments.link_gb * 1e9,
        hop_s=arguments.hop_us / 1e6,
        pair=stored,
        storage=arguments.storage_gb * 1e9,
        checkpoint=buffer.tell(),
        checkpoint_every=config.checkpoint_every,
    )


def tables(costs: Costs) -> Iterator[str]:
    """On paper: by the number of GPUs, and what moves the limit."""
    yield (
        f"gradient {costs.gradient / 1e6:.1f} MB, checkpoint {costs.checkpoint / 1e6:.1f} MB, "
        f"a pair as it is stored {costs.pair / 1e6:.2f} MB, on a GPU {costs.pair_s * 1e3:.1f} ms\n"
    )
    columns = (
        *("GPUs", "pairs a GPU", "step, ms", "times one GPU", "a GPU's share"),
        *("sent a step, MB", "read a GPU, MB/s", "checkpoint, MB/s", "most beside the pairs"),
    )
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for workers in GPUS:
        if workers > costs.batch:
            continue
        seconds = costs.seconds(workers)
        cells = (
            f"{workers}",
            f"{costs.pairs(workers)}",
            f"{seconds * 1e3:.1f}",
            f"{costs.seconds(1) / seconds:.1f}",
            f"{costs.efficiency(workers):.0%}",
            f"{2 * (workers - 1) / workers * costs.gradient / 1e6:.1f}",
            f"{costs.batch / workers * costs.pair / seconds / 1e6:.1f}",
            f"{costs.checkpoint / seconds / costs.checkpoint_every / 1e6:.2f}",
            costs.slowest(workers),
        )
        yield "| " + " | ".join(cells) + " |"
    yield "\n| changed | GPUs of which each still does half |\n|---|---|"
    changes: dict[str, dict[str, Any]] = {
        "nothing": {},
        "batch_size x 4": {"batch": 4 * costs.batch},
        "patch x 2": {"pair_s": 4 * costs.pair_s},
        "reblur_every=1000": {"pair_s": costs.pair_s / 2},
        "a step's own time / 2": {"step_s": costs.step_s / 2},
        "network x 4": {"link": 4 * costs.link},
        "delay of a message / 4": {"hop_s": costs.hop_s / 4},
        "storage x 4": {"storage": 4 * costs.storage},
        "pairs that readers keep in memory": {"pair": 0.0},
        "these, and a step's own time / 2": {"pair": 0.0, "step_s": costs.step_s / 2},
        "these, and batch_size x 4": {"pair": 0.0, "batch": 4 * costs.batch},
        "checkpoint_every x 10": {"checkpoint_every": 10 * costs.checkpoint_every},
    }
    for name, change in changes.items():
        yield f"| {name} | {replace(costs, **change).limit()} |"


def work(rank: int, workers: int, port: int, costs: Costs, steps: int, results: Any) -> None:
    """A worker that sleeps where it would compute or send."""
    torch.set_num_threads(1)
    store = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=workers)
    parts = costs.parts_s(workers)
    asleep_s = parts["pairs"] + parts["step"] + parts["ring"]
    gradient = torch.zeros(costs.gradient // 4)
    times, alone = [], []
    for _ in range(steps + 2):
        begun_s = time.perf_counter()
        time.sleep(asleep_s)
        dist.all_reduce(gradient)
        times.append(time.perf_counter() - begun_s)
    for _ in range(steps + 2):
        begun_s = time.perf_counter()
        dist.all_reduce(gradient)
        alone.append(time.perf_counter() - begun_s)
    if rank == 0:
        results.put((statistics.median(times[2:]), statistics.median(alone[2:])))
    dist.destroy_process_group()


def simulated(costs: Costs, workers: int, steps: int) -> tuple[float, float]:
    """Seconds of a step, and of the all-reduce alone, by so many processes."""
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = context.Queue()
    started = [
        context.Process(target=work, args=(rank, workers, port, costs, steps, results))
        for rank in range(workers)
    ]
    for process in started:
        process.start()
    found: tuple[float, float] = results.get(timeout=300)
    for process in started:
        process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--root", default="k3dn-data")
    parser.add_argument("--dataset", default="synth")
    parser.add_argument("--tflops", type=float, default=40.0, help="that a GPU reaches")
    parser.add_argument("--step-ms", type=float, default=10.0)
    parser.add_argument("--link-gb", type=float, default=10.0, help="GB/s of the slowest link")
    parser.add_argument("--hop-us", type=float, default=30.0)
    parser.add_argument("--storage-gb", type=float, default=5.0, help="GB/s of the storage")
    parser.add_argument("--simulate", type=int, nargs="*", help="with so many processes")
    parser.add_argument("--slower", type=float, default=20.0, help="GPU, in the simulation")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    costs = counted(arguments)
    if not arguments.simulate:
        print("\n".join(tables(costs)))
        return
    # Slower, so that what these processes cost themselves is small beside it.
    costs = replace(
        costs, pair_s=arguments.slower * costs.pair_s, step_s=arguments.slower * costs.step_s
    )
    print("| workers | on paper, ms | processes, ms | of which gloo here, ms | off by |")
    print("|---|---|---|---|---|")
    for workers in arguments.simulate:
        paper_s = costs.seconds(workers)
        seconds, gloo_s = simulated(costs, workers, arguments.steps)
        off = (seconds - gloo_s) / paper_s - 1
        print(
            f"| {workers} | {paper_s * 1e3:.0f} | {seconds * 1e3:.0f} | {gloo_s * 1e3:.0f} | "
            f"{off:+.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
