"""What a step of `k3dn train` costs over one of a plain loop: docs/reliability.md.

    python -m tests.benchmarks.training_overhead ROOT DATASET [--model nano --patch 96 --rounds 3]

A run on Ray (one worker with one thread, its reader beside it; record, checkpoints and figures as
by default) and a loop of a few lines of torch take turns. The loop has its batches decoded and cut
in memory before it starts, and knows the same network, losses, clipping and optimizer. In both the
beginning of each step is stamped: the clock counts all that lies between two steps, the processor
time that of the training's thread alone, which is what holds on a busy machine.
"""

import argparse
import functools
import os
import resource
import statistics
import struct
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from k3dn import build_model
from k3dn.losses import TrainingObjective
from pipelines.cluster import ray_cluster
from pipelines.training.batch import Batch, as_float
from pipelines.training.config import TrainConfig
from pipelines.training.loader import local_batches
from pipelines.training.plan import plan_run
from pipelines.training.train import train_with_callbacks

WARM_UP = 20
"""Steps that are not counted, of either."""
STAMP = struct.Struct("4d")
"""By the clock, processor time of the thread, switches that it asked for, and that it suffered."""


def metered(log: str, name: str) -> nn.Module:
    """Build a network; each step of its training in this process adds a stamp to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    forward = getattr(TrainingObjective.forward, "__wrapped__", TrainingObjective.forward)

    @functools.wraps(forward)
    def stamped(self: TrainingObjective, *inputs: Any, **options: Any) -> Any:
        used = resource.getrusage(resource.RUSAGE_THREAD)
        times = time.perf_counter(), time.thread_time(), used.ru_nvcsw, used.ru_nivcsw
        os.write(file, STAMP.pack(*times))
        return forward(self, *inputs, **options)

    TrainingObjective.forward = stamped  # type: ignore[method-assign]
    return build_model(name, {})


def steps_of(log: str) -> tuple[float, float, float, float]:
    """Seconds a step by the clock, on average; medians of the others of ``STAMP``."""
    stamps = list(STAMP.iter_unpack(Path(log).read_bytes()))[WARM_UP:]
    seconds, *others = zip(
        *([b - a for a, b in zip(one, two, strict=True)] for one, two in pairwise(stamps)),
        strict=True,
    )
    return statistics.fmean(seconds), *map(statistics.median, others)


def on_ray(config: TrainConfig) -> None:
    """Train as ``k3dn train`` does."""
    with ray_cluster(None):
        train_with_callbacks(config, ())


def plainly(config: TrainConfig, batches: list[Batch]) -> None:
    """Train by a plain loop."""
    torch.set_num_threads(1)
    network = build_model(config.model, config.network)
    objective = TrainingObjective(network, config.lambda_1, disparity_loss=config.disparity_loss)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    for step in range(config.steps):
        batch = batches[step % len(batches)]
        given = [batch.left, batch.right, batch.target, batch.coc]
        inputs = [as_float(part) for part in given if part is not None]
        optimizer.zero_grad(set_to_none=True)
        loss = objective(*inputs, reblur=True)
        loss.total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.grad_clip)
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", help="where datasets and runs lie")
    parser.add_argument("dataset")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layout", choices=["default", "channels_first"], default="default")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path.cwd())  # for the worker
    config = TrainConfig(
        root=arguments.root,
        datasets=[arguments.dataset],
        model="tests.benchmarks.training_overhead:metered",
        network={"log": os.devnull, "name": arguments.model},
        patch=arguments.patch,
        batch_size=arguments.batch,
        steps=arguments.steps,
        num_workers=1,
        max_val_pairs=0,
        channels_last=None if arguments.layout == "default" else False,
        register=None,
    )
    batches = list(local_batches(plan_run(config), 0, 1, 0, 20))
    ratios: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            found = []
            for way in ("plain", "on Ray"):
                log = f"{folder}/{way}-{number}"
                one = replace(config, network={"log": log, "name": arguments.model})
                if way == "plain":
                    plainly(one, batches)
                else:
                    on_ray(replace(one, name=f"overhead-{time.time_ns()}"))
                found.append(steps_of(log))
                clock_s, thread_s, asked, suffered = found[-1]
                print(
                    f"{way}: {clock_s:.3f} s a step, {thread_s:.3f} s of its thread's processor "
                    f"time, {asked:.0f} + {suffered:.0f} switches",
                    flush=True,
                )
            ratios.append((found[1][0] / found[0][0], found[1][1] / found[0][1]))
    clock, thread = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median of {arguments.rounds} ratios: clock {clock:.3f}, processor time {thread:.3f}")


if __name__ == "__main__":
    main()
