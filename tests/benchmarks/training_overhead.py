"""What a step of `k3dn train` costs over one of a plain loop: docs/reliability.md.

    python -m tests.benchmarks.training_overhead ROOT DATASET [--model nano --patch 96 --rounds 3]

A run on Ray (one worker with one thread, its reader beside it; record, checkpoints and figures as
by default) and a loop of a few lines of torch take turns. The loop has its batches decoded and cut
in memory before it starts, and knows the same network, losses, clipping and optimizer. A run's
time is from one record of the loss to the last by the clock, with all that lies between two steps.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch import nn

from k3dn import build_model
from k3dn.losses import TrainingObjective
from pipelines.cluster import ray_cluster
from pipelines.training.batch import Batch, as_float
from pipelines.training.config import TrainConfig
from pipelines.training.loader import local_batches
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows
from pipelines.training.train import train_with_callbacks

WARM_UP = 20
"""Steps that are not counted, of either."""


def on_ray(config: TrainConfig) -> float:
    """Seconds of a step of a run."""
    with ray_cluster(None):
        train_with_callbacks(config, ())
    rows = [row for row in read_rows(plan_run(config).folder) if "loss" in row]
    first, last = next(row for row in rows if row["step"] >= WARM_UP), rows[-1]
    took_s = float(last["time_ms"] - first["time_ms"]) / 1000
    return took_s / float(last["step"] - first["step"])


def plainly(config: TrainConfig, batches: list[Batch]) -> float:
    """Seconds of a step of the plain loop."""
    torch.set_num_threads(1)
    network = build_model(config.model, config.network)
    objective = TrainingObjective(network, config.lambda_1, disparity_loss=config.disparity_loss)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    begun_s = 0.0
    for step in range(config.steps):
        if step == WARM_UP:
            begun_s = time.perf_counter()
        batch = batches[step % len(batches)]
        given = [batch.left, batch.right, batch.target, batch.coc]
        inputs = [as_float(part) for part in given if part is not None]
        optimizer.zero_grad(set_to_none=True)
        loss = objective(*inputs, reblur=True)
        loss.total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.grad_clip)
        optimizer.step()
    return (time.perf_counter() - begun_s) / (config.steps - WARM_UP)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", help="where datasets and runs lie")
    parser.add_argument("dataset")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    config = TrainConfig(
        root=arguments.root,
        datasets=[arguments.dataset],
        model=arguments.model,
        patch=arguments.patch,
        batch_size=arguments.batch,
        steps=arguments.steps,
        num_workers=1,
        max_val_pairs=0,
        register=None,
    )
    batches = list(local_batches(plan_run(config), 0, 1, 0, 20))
    ratios = []
    for number in range(arguments.rounds):
        plain_s = plainly(config, batches)
        name = f"overhead-{number}-{time.time_ns()}"
        ray_s = on_ray(replace(config, name=name))
        ratios.append(ray_s / plain_s)
        print(f"plain {plain_s:.3f} s a step, on Ray {ray_s:.3f} s: {ratios[-1]:.3f}", flush=True)
    print(f"median of {arguments.rounds} ratios: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
