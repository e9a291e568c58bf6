"""Seconds a megapixel and peak memory of each variant and form: docs/performance.md.

    python -m tests.benchmarks.inference --size 576x896 --repeats 3

Times of the two forms of a variant are taken alternately in one process, so that their ratio
holds on a noisy machine. The authors' form runs with its plain loop for the local correlation.
Memory is what one restoration adds to the peak resident size of a process of its own that has the
weights already.
"""

import argparse
import multiprocessing
import statistics
import time
from unittest.mock import patch

import torch
from torch import nn

import k3dn
from k3dn.network import srp
from k3dn.summary import summarize
from tests.benchmarks.correlation import plain_loop
from tests.benchmarks.memory import now_mib, peak_mib

FORMS = ("paper", "k3dn")


def build(name: str, form: str) -> nn.Module:
    """A network with random weights."""
    return k3dn.build_model(name, {"form": form}).eval()


def restore(model: nn.Module, form: str, height: int, width: int) -> float:
    """Seconds of one restoration."""
    views = torch.rand(2, 1, 3, height, width)
    way = plain_loop if form == "paper" else srp.local_correlation
    with patch.object(srp, "local_correlation", way), torch.inference_mode():
        start = time.perf_counter()
        model(*views)
        return time.perf_counter() - start


def added_mib(name: str, form: str, height: int, width: int) -> float:
    """Most memory that one restoration adds to the process, beside libraries and weights."""
    restore(build("nano", "k3dn"), "k3dn", 32, 32)  # not the authors' form: it resizes upwards
    model = build(name, form)
    before = now_mib()
    restore(model, form, height, width)
    return peak_mib() - before


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["nano", "tiny", "lightweight", "large"])
    parser.add_argument("--size", default="576x896")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    megapixels = height * width / 1e6
    spawn = multiprocessing.get_context("spawn")
    print(f"{arguments.size}, {torch.get_num_threads()} threads, float32")
    print("| model | form | GMAC | s a megapixel | MiB a megapixel | time, k3dn / paper |")
    print("|---|---|---|---|---|---|")
    for name in arguments.models:
        seconds: dict[str, list[float]] = {form: [] for form in FORMS}
        for form in FORMS:
            restore(build(name, form), form, 64, 64)  # to warm up
        for _ in range(arguments.repeats):
            for form in FORMS:
                seconds[form].append(restore(build(name, form), form, height, width))
        ratio = statistics.median(
            ours / theirs for theirs, ours in zip(*seconds.values(), strict=True)
        )
        for form in FORMS:
            macs = summarize(build(name, form), height, width).macs
            with spawn.Pool(1) as pool:
                memory = pool.apply(added_mib, (name, form, height, width))
            cells = (
                name,
                form,
                f"{macs / 1e9:.0f}",
                f"{statistics.median(seconds[form]) / megapixels:.2f}",
                f"{memory / megapixels:.0f}",
                f"{ratio:.2f}" if form == "k3dn" else "",
            )
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
