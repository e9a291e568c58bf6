"""Time and memory of one training step, with and without reblurring: docs/performance.md.

    python -m tests.benchmarks.training_step --model tiny --patch 256 --batch 16 --device cuda

On a GPU in bfloat16, else in float32. Median of several steps after one to warm up. Memory is the
GPU's in a row's steps, or all that the process ever held up to there.
"""

import argparse
import statistics
import time

import torch

import k3dn
from tests.benchmarks.memory import peak_mib


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nano")
    parser.add_argument("--form", default="k3dn")
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    torch.manual_seed(0)
    model = k3dn.build_model(arguments.model, {"form": arguments.form})
    objective = k3dn.TrainingObjective(model).to(device).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-5, fused=True)
    size = (arguments.batch, 3, arguments.patch, arguments.patch)
    left, right, target = (torch.rand(size, device=device) for _ in range(3))
    print("| reblurring | s a step | pairs a second | peak memory, MiB |")
    print("|---|---|---|---|")
    for reblur in (False, True):
        times = []
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(arguments.steps + 1):
            start = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_gpu):
                loss = objective(left, right, target, reblur=reblur)
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            optimizer.step()
            if on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        seconds = statistics.median(times[1:])
        peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_mib()
        cells = (
            "yes" if reblur else "no",
            f"{seconds:.2f}",
            f"{arguments.batch / seconds:.1f}",
            f"{peak:.0f}",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
