"""Time the local correlation by tiles against the plain loop: docs/performance.md.

    python -m tests.benchmarks.correlation [--device cuda] [--bf16]

Milliseconds, median of several; forward alone, and forward with backward as in training.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from k3dn.network.correlation import by_offsets, local_correlation

SHAPES = [(14, 256, 5), (30, 256, 9), (38, 256, 9), (48, 128, 9), (54, 256, 9), (96, 64, 9)]
"""Channels, side in px and window, as the SRP blocks of the variants have them."""


WAYS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "by offsets": by_offsets,
    "by tiles": local_correlation,
}


def median_ms(call: Callable[[], object], device: str, repeats: int = 3) -> float:
    """Median time of a call after one to warm up."""
    # On a CPU its own time: other work may run beside.
    clock = time.perf_counter if device == "cuda" else time.process_time
    times = []
    for _ in range(repeats + 1):
        start = clock()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 1e3 * statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="bfloat16, channels together")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| channels, side, window | " + " | ".join(f"{n}, fwd / fwd + bwd" for n in WAYS) + " |")
    print("|---" * (len(WAYS) + 1) + "|")
    for channels, side, window in SHAPES:
        shape = (1, channels, side, side)
        query, key = (torch.randn(shape, device=arguments.device) for _ in "qk")
        if arguments.bf16:
            layout = torch.channels_last
            query, key = (x.bfloat16().contiguous(memory_format=layout) for x in (query, key))
        cells = []
        for way in WAYS.values():
            with torch.inference_mode():
                forward = median_ms(lambda: way(query, key, window), arguments.device)  # noqa: B023
            leaves = query.clone().requires_grad_(), key.clone().requires_grad_()
            both = median_ms(
                lambda: way(*leaves, window).sum().backward(),  # noqa: B023
                arguments.device,
            )
            cells.append(f"{forward:.0f} / {both:.0f}")
        print(f"| {channels}, {side}, {window} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
