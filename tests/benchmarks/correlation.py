"""Time the local correlation's two ways against a plain loop: docs/performance.md.

    python -m tests.benchmarks.correlation [--device cuda]

Milliseconds, median of several; forward alone, and forward with backward as in training.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from k3dn.network.correlation import ByOffsets, ByTiles

SHAPES = [(14, 256, 5), (30, 256, 9), (38, 256, 9), (48, 128, 9), (54, 256, 9), (96, 64, 9)]
"""Channels, side in px and window, as the SRP blocks of the variants have them."""


def plain_loop(query: Tensor, key: Tensor, window: int) -> Tensor:
    """The definition, offset by offset, with autograd's own backward pass."""
    height, width = query.shape[-2:]
    padded = F.pad(key, [window // 2] * 4)
    scores = [
        (query * padded[..., dy : dy + height, dx : dx + width]).mean(1)
        for dy in range(window)
        for dx in range(window)
    ]
    return torch.stack(scores, dim=1)


WAYS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "plain loop": plain_loop,
    "by offsets": ByOffsets.apply,
    "by tiles": ByTiles.apply,
}


def median_ms(call: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Median time of a call after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| channels, side, window | " + " | ".join(f"{n}, fwd / fwd + bwd" for n in WAYS) + " |")
    print("|---" * (len(WAYS) + 1) + "|")
    for channels, side, window in SHAPES:
        shape = (1, channels, side, side)
        query, key = (torch.randn(shape, device=arguments.device) for _ in "qk")
        cells = []
        for way in WAYS.values():
            with torch.inference_mode():
                forward = median_ms(lambda: way(query, key, window), arguments.device)  # noqa: B023
            leaves = [x.clone().requires_grad_() for x in (query, key)]
            both = median_ms(
                lambda: way(*leaves, window).sum().backward(),  # noqa: B023
                arguments.device,
            )
            cells.append(f"{forward:.0f} / {both:.0f}")
        print(f"| {channels}, {side}, {window} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
