"""What a lent GPU gives: docs/gpu.md.

    python -m tests.benchmarks.gpu [--pack k3dn-data/pack] [--device cuda] [--compile] [--quick]

Pairs a second of the renderer, of the processes that make scenes, and of training; milliseconds
and memory of inference at 1120 x 1680. Each figure is the median of several rounds by the wall
clock, which a GPU's end is waited for, after two to warm up. --quick: small sizes, to try the
command out. A figure that fails is said, and the others go on; the exit code is then 1.
"""

import argparse
import os
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import k3dn
from k3dn.inference import compile_shapes, prepare
from pipelines.training.batch import Batch
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import Learner
from pipelines.training.live.config import LiveConfig
from pipelines.training.live.pack import read_pack
from pipelines.training.live.pairs import make_pairs
from pipelines.training.live.scenes import LiveScenes, Unexposed
from pipelines.training.live.vary import PLAIN


def seconds_of(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median of several rounds, after two to warm up."""
    times = []
    for number in range(rounds + 2):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def waits_of(work: Callable[[], object]) -> int:
    """How often a piece of work waits for the GPU, as torch sees it."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def peak_mib(work: Callable[[], object], device: torch.device) -> str:
    """Memory of a GPU above what lay there before, MiB."""
    if device.type != "cuda":
        return ""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}"


def scenes(pack: str, size: int, count: int, rounds: int) -> list[Unexposed]:
    """What pairs are made of; tells how fast it comes."""
    found = read_pack(Path(pack).read_bytes(), where=pack)
    print(f"\npack: {len(found.scenes)} scenes, {len(found.photographs)} photographs", flush=True)
    for name, made, places in (("of the pack", 0.0, 0.0), ("places", 1.0, 1.0), ("collages", 1, 0)):
        config = LiveConfig(made=made, places=places, reuse=1)
        source = LiveScenes(found, config, seed=0, split="train")
        source.take(0, (size, size))
        start = time.process_time()
        for position in range(1, rounds + 1):
            source.take(position, (size, size))
        each = (time.process_time() - start) / rounds
        print(f"scenes {name}: {1e3 * each:.0f} ms of a processor each at {size} px", flush=True)
    source = LiveScenes(found, LiveConfig(made=0.0), seed=0, split="train")
    return [source.take(position, (size, size)) for position in range(count)]


def renderer(
    items: Sequence[Unexposed], batches: Sequence[int], device: torch.device, rounds: int
) -> None:
    """Pairs a second of lens and sensor."""
    print("\n| renderer, pairs at once | pairs a second | waits for the GPU a batch | MiB |")
    print("|---|---|---|---|")
    for batch in batches:
        chosen = [items[n % len(items)] for n in range(batch)]

        def work(chosen: Sequence[Unexposed] = chosen) -> object:
            return make_pairs(chosen, [PLAIN] * len(chosen), device)

        seconds = seconds_of(work, device, rounds)
        waits = str(waits_of(work)) if device.type == "cuda" else ""
        print(
            f"| {batch} | {batch / seconds:.1f} | {waits} | {peak_mib(work, device)} |", flush=True
        )


def training(
    models: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    device: torch.device,
    rounds: int,
    *,
    compiled: bool,
) -> None:
    """Pairs a second of a step, in each way of making it."""
    print("\n| training | patch x batch | way | pairs a second | waits a step | MiB |")
    print("|---|---|---|---|---|---|")
    ways: dict[str, dict[str, Any]] = {
        "fp32, TF32": {},
        "bf16": {"precision": "bf16", "channels_last": False},
        "bf16, channels_last": {"precision": "bf16"},
        "bf16, channels_last, compiled": {"precision": "bf16", "compile": True},
    }
    if not compiled:
        ways.popitem()
    for model in models:
        for patch, count in sizes:
            batch = _random_batch(patch, count, device)
            for name, keys in ways.items():
                config = TrainConfig(
                    model=model,
                    batch_size=count,
                    patch=patch,
                    num_workers=1,
                    lambda_1=0.0,
                    ema=0.999,
                    lr=1e-5,
                )
                try:
                    learner = Learner(replace(config, **keys), ProcessContext(device), None)

                    def work(learner: Learner = learner, batch: Batch = batch) -> object:
                        return learner.step(3, batch)

                    seconds = seconds_of(work, device, rounds)
                    waits = str(waits_of(work)) if device.type == "cuda" else ""
                    cells = f"{count / seconds:.1f} | {waits} | {peak_mib(work, device)}"
                except RuntimeError as error:  # of memory, or of the compiler
                    cells = f"failed: {str(error).partition(chr(10))[0][:80]} | |"
                print(f"| {model} | {patch} x {count} | {name} | {cells} |", flush=True)


def _random_batch(patch: int, count: int, device: torch.device) -> Batch:
    # Channels together, as ``collate`` has them.
    views = torch.rand(3, count, patch, patch, 3, device=device).permute(0, 1, 4, 2, 3)
    left, right, target = views.unbind(0)
    coc = torch.zeros(count, 1, patch, patch, device=device)
    names = [str(n) for n in range(count)]
    return Batch(
        index=list(range(count)), pair_id=names, left=left, right=right, target=target, coc=coc
    )


def profile(items: Sequence[Unexposed], device: torch.device) -> None:
    """What a batch of the renderer, a step of tiny and its answer spend their time with."""
    batch = _random_batch(128, 32, device)
    config = TrainConfig(model="tiny", batch_size=32, patch=128, num_workers=1, precision="bf16")
    learner = Learner(replace(config, lambda_1=0.0, ema=0.999), ProcessContext(device), None)
    size = (1120, 1680) if device.type == "cuda" else (64, 96)
    views = torch.rand(2, 1, 3, *size, device=device).to(torch.bfloat16)
    given = [view.contiguous(memory_format=torch.channels_last) for view in views]
    ready = prepare(k3dn.build_model("tiny").to(device).eval(), torch.bfloat16)

    @torch.inference_mode()
    def answer() -> object:
        return ready(*given)

    works: dict[str, Callable[[], object]] = {
        "answer": answer,
        "renderer": lambda: make_pairs(items, [PLAIN] * len(items), device),
        "step": lambda: learner.step(3, batch),
    }
    for name, work in works.items():
        seconds_of(work, device, 1)
        with torch.profiler.profile() as found:
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
        order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        table = found.key_averages().table(
            sort_by=order, row_limit=28, max_name_column_width=70, max_src_column_width=1
        )
        print(f"\n{name}\n{table}", flush=True)


def inference(
    models: Sequence[str],
    size: tuple[int, int],
    device: torch.device,
    rounds: int,
    *,
    compiled: bool,
) -> None:
    """Milliseconds and memory of one pair, whole."""
    print(f"\n| inference {size[0]} x {size[1]} | way | ms | MiB |\n|---|---|---|---|")
    left, right = torch.rand(2, 1, 3, *size, device=device).unbind(0)
    for name in models:
        model = k3dn.build_model(name).to(device).eval()
        for way, dtype, with_compiler in (
            ("float32", torch.float32, False),
            ("bfloat16, channels_last", torch.bfloat16, False),
            ("bfloat16, channels_last, compiled", torch.bfloat16, True),
        ):
            if with_compiler and not compiled:
                continue
            try:
                ready = prepare(model, dtype)
                if with_compiler:
                    ready = compile_shapes(ready)
                layout = torch.channels_last
                given = [v.to(dtype).contiguous(memory_format=layout) for v in (left, right)]

                def work(
                    ready: torch.nn.Module = ready, given: list[torch.Tensor] = given
                ) -> object:
                    with torch.inference_mode():
                        return ready(*given)

                seconds = seconds_of(work, device, rounds)
                cells = f"{1e3 * seconds:.1f} | {peak_mib(work, device)}"
            except RuntimeError as error:  # of memory, or of the compiler
                cells = f"failed: {str(error).partition(chr(10))[0][:80]} |"
            print(f"| {name} | {way} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pack", default="k3dn-data/pack")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small, to try the command out")
    parser.add_argument("--compile", action="store_true", help="compiled as well: minutes more")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=["renderer", "inference", "training"])
    parser.add_argument("--models", nargs="+", default=["nano", "tiny", "lightweight", "large"])
    parser.add_argument("--patches", type=int, default=3, help="how many sizes of a step")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256], help="of rendered pairs, px")
    arguments = parser.parse_args()
    device, quick, rounds = torch.device(arguments.device), arguments.quick, arguments.rounds
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {os.cpu_count()} processors", flush=True)
    torch.set_float32_matmul_precision("high")
    models = ["nano"] if quick else arguments.models
    trained = [(32, 2)] if quick else [(128, 32), (128, 128), (256, 32)]

    def render() -> None:
        for size in [32] if quick else arguments.sizes:
            items = scenes(arguments.pack, size, 4 if quick else 64, 1 if quick else 8)
            renderer(items, (2,) if quick else (16, 32, 64), device, rounds)

    parts: dict[str, Callable[[], None]] = {
        "renderer": render,
        "training": lambda: training(
            models, trained[: arguments.patches], device, rounds, compiled=arguments.compile
        ),
        "inference": lambda: inference(
            models, (64, 96) if quick else (1120, 1680), device, rounds, compiled=arguments.compile
        ),
        "profile": lambda: profile(
            scenes(arguments.pack, 32 if quick else 128, 2 if quick else 32, 1), device
        ),
    }
    failed = False
    for part in arguments.only:
        try:
            parts[part]()
        except Exception:  # a lent GPU's time is short: the others go on
            failed = True
            print(f"{part} failed:\n{traceback.format_exc()}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
