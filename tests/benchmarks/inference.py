"""Time, exactness and memory of inference in its forms: docs/performance.md.

    python -m tests.benchmarks.inference [--all] [--against CHECKOUT] [--photograph 4000x6000]

Each form of a network is timed alternately with the others in one run, so that ratios hold on a
noisy machine; given are medians, of the wall clock and of the processor's time. plain: the network
as built, float32. fp32, bf16: prepared as ``k3dn.deblur`` prepares it. --against: the plain
network of another checkout of this repository beside them, in a process of its own.
--photograph: a picture of that size through ``k3dn.deblur`` in a process of its own, with the
memory that it adds beside the pictures.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import k3dn
from k3dn.inference import DEFAULT_MEMORY_MIB, bfloat16_speedup, prepare
from k3dn.summary import summarize
from tests.benchmarks.memory import now_mib, peak_mib

Seconds = tuple[float, float]
"""By the wall clock, and of the processor."""

THEIRS = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[4]))
import k3dn
model = k3dn.build_model(sys.argv[1]).eval()
views = torch.rand(2, 1, 3, int(sys.argv[2]), int(sys.argv[3]))
for _ in sys.stdin:
    with torch.inference_mode():
        wall, own = time.perf_counter(), time.process_time()
        model(*views)
        print(time.perf_counter() - wall, time.process_time() - own, flush=True)
"""


def processor() -> str:
    """The name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def build(name: str) -> nn.Module:
    """A network of random weights, or of a weights file.

    The last layer, which starts at zero, is scaled so that the picture changes by as much as
    trained networks change real ones: 5 of 255 steps, root of the mean square.
    """
    torch.manual_seed(0)
    if name.endswith(".safetensors"):
        return k3dn.load_weights(name)
    model: Any = k3dn.build_model(name).eval()
    last = model.decoder.to_image.weight
    nn.init.normal_(last, std=0.01)
    views = torch.from_numpy(picture(96, 96)).movedim(-1, 1)[:, None].float() / 255
    with torch.no_grad():
        change = model(*views) - views.mean(0)
        last.mul_(5 / 255 / change.square().mean().sqrt())
    return model


def picture(height: int, width: int) -> np.ndarray:
    """Two views ``(2, H, W, 3)`` uint8 of waves and edges: more like a picture than noise is."""
    # In little memory: what this takes must not hide what restoring takes.
    y, x = (side.astype(np.float32) / 16 for side in np.ogrid[:height, :width])
    base = 0.5 + 0.3 * np.sin(x + y) + 0.2 * np.sign(np.sin(0.37 * x - 0.21 * y))
    grey = (255 * base.clip(0, 1)).astype(np.uint8)
    views = np.stack([np.roll(grey, shift, 1) for shift in (-1, 1)])
    return np.repeat(views[..., None], 3, axis=-1)


def timed(call: Callable[[], object]) -> Seconds:
    """Seconds of one call."""
    wall, own = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - own


def compare(name: str, size: tuple[int, int], repeats: int, against: str | None) -> None:
    """Print a row of the table for each form of a network."""
    plain = build(name)
    views = [torch.from_numpy(view)[None].movedim(-1, 1).float() / 255 for view in picture(*size)]
    networks = {
        "plain": plain,
        "fp32": prepare(plain, torch.float32),
        "bf16": prepare(plain, torch.bfloat16),
    }
    given = dict.fromkeys(networks, views)  # channels together, as k3dn.deblur gives them
    given["plain"] = [view.contiguous() for view in views]

    def answer(form: str) -> Tensor:
        with torch.inference_mode():
            return networks[form](*given[form])

    calls: dict[str, Callable[[], Seconds]] = {
        form: lambda form=form: timed(lambda: answer(form))  # type: ignore[misc]
        for form in networks
    }
    exact = answer("plain")
    errors = {form: (answer(form) - exact).abs() for form in networks}
    other = None
    if against:
        arguments = [name, *map(str, size), str(torch.get_num_threads())]
        other = subprocess.Popen(
            [sys.executable, "-c", THEIRS, *arguments],
            cwd=against,
            env={**os.environ, "PYTHONPATH": against},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def theirs() -> Seconds:
            assert other is not None and other.stdin is not None and other.stdout is not None
            print("go", file=other.stdin, flush=True)
            wall, own = other.stdout.readline().split()
            return float(wall), float(own)

        calls = {against: theirs, **calls}
        theirs()  # to warm up
    first = next(iter(calls))
    seconds: dict[str, list[Seconds]] = {form: [] for form in calls}
    for _ in range(repeats):
        for form, call in calls.items():
            seconds[form].append(call())
    if other is not None:
        other.communicate()
    macs = summarize(plain, *size).macs / 1e9
    for form, all_times in seconds.items():
        wall, own = (statistics.median(times) for times in zip(*all_times, strict=True))
        ratios = [
            statistics.median(
                a[clock] / b[clock] for a, b in zip(seconds[first], all_times, strict=True)
            )
            for clock in (0, 1)
        ]
        cells = [
            name,
            form,
            f"{macs:.1f}",
            f"{wall:.3f}",
            f"{own:.3f}",
            *(f"{r:.2f}" for r in ratios),
        ]
        if form in errors:
            error = errors[form]
            psnr = -10 * math.log10(error.square().mean().item() + 1e-20)
            cells += [f"{255 * error.max().item():.3f}", f"{psnr:.1f}"]
        else:
            cells += ["", ""]
        print("| " + " | ".join(cells) + " |", flush=True)


def photograph(
    name: str, size: tuple[int, int], threads: int, memory_mib: int, precision: Any
) -> tuple[float, float, float, int]:
    """Seconds of ``k3dn.deblur``, MiB that it adds beside the answer, and its number of tiles."""
    torch.set_num_threads(threads)
    model, views = build(name), picture(*size)
    k3dn.deblur(model, *views[:, :64, :64], precision=precision)
    tiles: list[int] = []
    before = now_mib()
    wall, own = timed(
        lambda: k3dn.deblur(
            model,
            *views,
            precision=precision,
            memory_mib=memory_mib,
            progress=lambda done, total: tiles.append(total),
        )
    )
    return wall, own, peak_mib() - before - views[0].nbytes / 2**20, len(tiles)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of ``4000x6000``."""
    height, width = (int(side) for side in text.split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["nano", "tiny"])
    parser.add_argument("--all", action="store_true", help="every variant")
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--against", help="another checkout of this repository")
    parser.add_argument("--photograph", help="HEIGHTxWIDTH, such as 4000x6000")
    parser.add_argument("--memory-mib", type=int, default=DEFAULT_MEMORY_MIB)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models = list(k3dn.VARIANTS) if arguments.all else arguments.models
    print(f"{processor()}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"bfloat16 convolves {bfloat16_speedup():.1f} times as fast as float32")
    if arguments.photograph:
        size = parse_size(arguments.photograph)
        print("| model | size | seconds | processor seconds | MiB beside the pictures | tiles |")
        print("|---|---|---|---|---|---|")
        for name in models:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                given = (name, size, arguments.threads, arguments.memory_mib, arguments.precision)
                wall, own, mib, tiles = pool.apply(photograph, given)
            row = (
                name,
                arguments.photograph,
                f"{wall:.1f}",
                f"{own:.1f}",
                f"{mib:.0f}",
                str(tiles),
            )
            print("| " + " | ".join(row) + " |", flush=True)
        return
    print(
        f"{arguments.size}; ratios to the first row of each model, largest difference of 255 steps"
    )
    print("| model | form | GMAC | s | processor s | faster | by processor | largest | PSNR, dB |")
    print("|---" * 9 + "|")
    for name in models:
        compare(name, parse_size(arguments.size), arguments.repeats, arguments.against)


if __name__ == "__main__":
    main()
