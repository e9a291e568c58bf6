"""Time and memory of one training step: docs/performance.md.

    python -m tests.benchmarks.training_step --model tiny --patch 256 --batch 16 --device cuda

Steps are the training's own (``Learner``), without reading. Ways of making them (precision and
layout, and ``compile``) take turns, so that their ratios hold while other work comes and goes;
median of several rounds after one to warm up. Memory is a GPU's in the steps of a way, above what
lay on it before, or all that the process ever held, which says something of one way alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from pipelines.training.batch import Batch
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import Learner
from tests.benchmarks.memory import peak_mib


def learner_of(way: str, arguments: argparse.Namespace, device: torch.device) -> Learner:
    config = TrainConfig(
        model=arguments.model,
        network={"form": arguments.form},
        batch_size=arguments.batch,
        num_workers=1,
        patch=arguments.patch,
        lr=1e-5,
        reblur_every=2,
        precision="bf16" if "bf16" in way else "fp32",
        channels_last="channels_last" in way,
        compile="compile" in way,
    )
    return Learner(config, ProcessContext(device), None)


def seconds_of(
    learner: Learner, step: int, batch: Batch, device: torch.device, clock: Callable[[], float]
) -> float:
    start = clock()
    learner.step(step, batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nano")
    parser.add_argument("--form", default="k3dn")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", default=["fp32"], help="such as bf16+channels_last")
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    size = (arguments.batch, 3, arguments.patch, arguments.patch)
    left, right, target = (torch.rand(size) for _ in range(3))
    names = [str(number) for number in range(arguments.batch)]
    batch = Batch(list(range(arguments.batch)), names, left, right, target, 0 * target[:, :1])
    learners = {way: learner_of(way, arguments, device) for way in arguments.ways}
    print("| way | reblurring | s a step | pairs a second | time, way / first | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for reblur in (False, True):
        times: dict[str, list[float]] = {way: [] for way in learners}
        peaks = dict.fromkeys(learners, 0.0)
        for _ in range(arguments.steps + 1):
            for way, learner in learners.items():
                before = torch.cuda.memory_allocated() if on_gpu else 0
                if on_gpu:
                    torch.cuda.reset_peak_memory_stats()
                step = 0 if reblur else 1
                times[way].append(seconds_of(learner, step, batch, device, clock))
                if on_gpu:
                    peaks[way] = (torch.cuda.max_memory_allocated() - before) / 2**20
        first = next(iter(times.values()))
        for way, taken in times.items():
            seconds = statistics.median(taken[1:])
            ratio = statistics.median(a / b for a, b in zip(taken[1:], first[1:], strict=True))
            alone = f"{peak_mib():.0f}" if len(learners) == 1 else ""
            cells = (
                way,
                "yes" if reblur else "no",
                f"{seconds:.2f}",
                f"{arguments.batch / seconds:.1f}",
                f"{ratio:.2f}",
                f"{peaks[way]:.0f}" if on_gpu else alone,
            )
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
