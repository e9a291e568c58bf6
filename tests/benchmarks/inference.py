"""Seconds a megapixel and peak memory of each variant and form: docs/performance.md.

    python -m tests.benchmarks.inference --size 576x896 --repeats 3

Times of the two forms of a variant are taken alternately in one process, so that their ratio
holds on a noisy machine. The authors' form runs with its plain loop for the local correlation.
Memory is what one restoration adds to a process of its own (its peak resident size, from /proc).
"""

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import torch

import k3dn
from k3dn.network import srp
from k3dn.summary import summarize
from tests.benchmarks.correlation import plain_loop

FORMS = ("paper", "k3dn")


def restore(name: str, form: str, height: int, width: int) -> float:
    """Seconds of one restoration with random weights."""
    model = k3dn.build_model(name, {"form": form}).eval()
    views = torch.rand(2, 1, 3, height, width)
    ours = srp.local_correlation
    if form == "paper":
        srp.local_correlation = plain_loop
    try:
        with torch.inference_mode():
            start = time.perf_counter()
            model(*views)
            return time.perf_counter() - start
    finally:
        srp.local_correlation = ours


def peak_mib(name: str, form: str, height: int, width: int) -> float:
    """Most memory that one restoration adds to the process."""
    restore(name, form, 32, 32)
    before = _status_kib("VmRSS")
    restore(name, form, height, width)
    return (_status_kib("VmHWM") - before) / 1024


def _status_kib(field: str) -> int:
    # Not getrusage: a child inherits its parent's peak there.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


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
            restore(name, form, 64, 64)  # to warm up
        for _ in range(arguments.repeats):
            for form in FORMS:
                seconds[form].append(restore(name, form, height, width))
        ratio = statistics.median(
            ours / theirs for theirs, ours in zip(*seconds.values(), strict=True)
        )
        for form in FORMS:
            macs = summarize(k3dn.build_model(name, {"form": form}), height, width).macs
            with spawn.Pool(1) as pool:
                memory = pool.apply(peak_mib, (name, form, height, width))
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
