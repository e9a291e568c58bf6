"""Train nano once for each reading of the paper and score it on held-out pairs: docs/readings.md.

    k3dn demo root=DEMO                                  # makes the data
    python -m tests.benchmarks.readings DEMO --steps 600 --out readings.json

Every run sees the same patches in the same order. Two processes, one thread each. Scores are mean
PSNR gains over the mean of the two views, on all pairs of the val and test splits; beside each, the
difference to the default on the same pairs, with its standard error over the pairs.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import k3dn
from pipelines.dataset.catalog import run as list_datasets
from pipelines.dataset.config import DatasetsConfig
from pipelines.dataset.version import open_version
from pipelines.models.scores import mean_view, quality, to_unit
from pipelines.storage import locate
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.loader import local_batches
from pipelines.training.loop import WEIGHTS, fit
from pipelines.training.plan import claim, plan_run
from pipelines.training.start import bring_start

DEFAULT = "default"


@dataclass(frozen=True)
class Reading:
    """One way to read the paper: what differs from the default."""

    network: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


READINGS = {
    DEFAULT: Reading(),
    "default, another seed": Reading(training={"seed": 1}),
    "psf=false": Reading({"psf": False}),
    "srp=false": Reading({"srp": False}),
    "no reblurring (lambda_1=0)": Reading(training={"lambda_1": 0.0}),
    "lambda_1=0.1": Reading(training={"lambda_1": 0.1}),
    "two_sided=false": Reading({"two_sided": False}),
    "local_norm=false": Reading({"local_norm": False}),
    "mirror_disparity=false": Reading({"mirror_disparity": False}),
    "scaled_softmax=false": Reading({"scaled_softmax": False}),
    "refined_query=true": Reading({"refined_query": True}),
    "extra_biases=false": Reading({"extra_biases": False}),
    "bounded_inverse=false": Reading({"bounded_inverse": False}),
    "reversed_reblur=false": Reading({"reversed_reblur": False}),
    "gated_values=false": Reading({"gated_values": False}),
    "mean_residual=false": Reading({"mean_residual": False}),
    "scaled_start=false": Reading({"scaled_start": False}),
    "window_px=32": Reading({"window_px": 32}),
    "window_px=64": Reading({"window_px": 64}),
    "window_px=64 shared_windows=false": Reading({"window_px": 64, "shared_windows": False}),
    "dense_kernels=32 window_px=32": Reading({"dense_kernels": 32, "window_px": 32}),
    "kernel_size=5": Reading({"kernel_size": 5}),
    "kernel_size=13": Reading({"kernel_size": 13}),
    "single_picture=true": Reading({"single_picture": True}),
    "deblur_loss=l1": Reading(training={"deblur_loss": "l1"}),
    "deblur_loss=l2": Reading(training={"deblur_loss": "l2"}),
    "reblur_loss=l1": Reading(training={"reblur_loss": "l1"}),
}
"""Each is trained alone. Two stages and what changes only the answer are added below."""

Restore = Callable[[nn.Module, Tensor, Tensor], Tensor]


def plainly(model: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    """As the network does."""
    return model(left, right)


def mirrored_too(model: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    """What ``mirror_whole`` does."""
    return 0.5 * (model(left, right) + model(right.flip(-1), left.flip(-1)).flip(-1))


def resized(model: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    """What the authors do to 1120 x 1680 px: to 1152 x 1792 and back, here in proportion."""
    height, width = left.shape[-2:]
    size = (round(height * 1152 / 1120), round(width * 1792 / 1680))
    views = (F.interpolate(view, size=size, mode="bicubic").clamp(0, 1) for view in (left, right))
    return F.interpolate(model(*views), size=(height, width), mode="bicubic")


ANSWERS: dict[str, Restore] = {
    "mirror_whole=true": mirrored_too,
    "resized as the authors (pad_to_grid=false)": resized,
}


def train(root: str, datasets: Sequence[str], name: str, reading: Reading, steps: int) -> str:
    """Train one reading in this process; return its weights file."""
    torch.set_num_threads(1)
    config = TrainConfig(
        root=root,
        datasets=[r for r in datasets if open_version(locate(root), r).rows("train")],
        model="nano",
        network=reading.network,
        name="reading-" + "".join(c if c.isalnum() else "-" for c in f"{name}-{steps}"),
        steps=steps,
        patch=48,
        batch_size=8,
        lr=3e-3,
        grad_clip=0.2,
        reblur_every=4,
        val_every=10**6,
        max_val_pairs=0,
        checkpoint_every=10**6,
    )
    plan = plan_run(replace(config, **reading.training))
    claim(plan)
    bring_start(plan, k3dn.build_model("nano", reading.network), "")
    weights = plan.folder.child(WEIGHTS)
    if not weights.exists():
        outcome = fit(plan, ProcessContext(), local_batches)
        if outcome.status == "diverged":
            raise ArithmeticError(f"{name} diverged at step {outcome.step}")
    return str(weights.local_path())


def train_two_stages(
    root: str, datasets: Sequence[str], name: str, reading: Reading, steps: int
) -> str:
    """The authors' way: without SRP blocks, then those alone; half of the steps each."""
    first = Reading({**reading.network, "srp": False}, reading.training)
    start = train(root, datasets, f"{name}-first", first, steps // 2)
    second = Reading(reading.network, {"start_from": start, "train_only": ["srp"], "lambda_1": 0.0})
    return train(root, datasets, f"{name}-second", second, steps - steps // 2)


def gains(weights: str, root: str, datasets: Sequence[str], restore: Restore) -> list[float]:
    """PSNR gain of each held-out pair, dB."""
    torch.set_num_threads(1)
    model = k3dn.load_weights(weights)
    found = []
    for reference in datasets:
        version = open_version(locate(root), reference)
        for split in ("val", "test"):
            for row in range(version.rows(split)):
                pair = version.read_pair(split, row)
                if pair.target is None or max(pair.target.shape) > 512:
                    continue
                left, right, target = (to_unit(x) for x in (pair.left, pair.right, pair.target))
                with torch.inference_mode():
                    image = restore(model, _tensor(left), _tensor(right))[0].clamp(0, 1)
                output = quality(image.movedim(0, -1).numpy(), target)
                found.append(output.psnr - quality(mean_view(left, right), target).psnr)
    return found


def mirror_gap(weights: str, root: str, datasets: Sequence[str]) -> float:
    """RMS difference of the answers for pairs and for mirrored, swapped pairs, share of white."""
    model = k3dn.load_weights(weights)
    squares = []
    for reference in datasets:
        version = open_version(locate(root), reference)
        for row in range(version.rows("test")):
            pair = version.read_pair("test", row)
            if max(pair.left.shape) <= 512:
                left, right = (_tensor(to_unit(view)) for view in (pair.left, pair.right))
                with torch.inference_mode():
                    mirrored = model(right.flip(-1), left.flip(-1)).flip(-1)
                    squares.append(float((mirrored - model(left, right)).square().mean()))
    return float(np.mean(squares)) ** 0.5


def measure(
    name: str, reading: Reading, root: str, datasets: Sequence[str], steps: int
) -> dict[str, list[float]]:
    """Train and score one reading; of the default also the other ways to answer."""
    way = train_two_stages if name == "two stages" else train
    try:
        weights = way(root, datasets, name, reading, steps)
    except ArithmeticError as error:
        print(error, flush=True)
        return {name: []}
    results = {name: gains(weights, root, datasets, plainly)}
    if name == DEFAULT:
        results |= {n: gains(weights, root, datasets, restore) for n, restore in ANSWERS.items()}
        print(f"mirror gap, RMS: {mirror_gap(weights, root, datasets):.5f}", flush=True)
    print(f"{name}: {np.mean(results[name]):+.3f} dB", flush=True)
    return results


def table(results: dict[str, list[float]]) -> str:
    """The results as a Markdown table; without the default's there is nothing to compare with."""
    default = np.array(results.get(DEFAULT, []))
    lines = ["| reading | gain over the input, dB | against the default, dB |", "|---|---|---|"]
    for name, values in results.items():
        if not values:
            lines.append(f"| {name} | diverged | |")
            continue
        against = ""
        if name != DEFAULT and len(default):
            difference = np.array(values) - default
            error = difference.std(ddof=1) / len(difference) ** 0.5
            against = f"{difference.mean():+.3f} ± {error:.3f}"
        lines.append(f"| {name} | {np.mean(values):+.3f} | {against} |")
    return "\n".join(lines)


def _tensor(view: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(view)).movedim(-1, 0)[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", help="root of a demo that was run")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("readings.json"))
    parser.add_argument("--only", nargs="*", help="some of the readings by name")
    arguments = parser.parse_args()
    found = list_datasets(DatasetsConfig(root=arguments.root)).versions
    datasets = [f"{entry['dataset']}@{entry['version']}" for entry in found]
    readings = {**READINGS, "two stages": Reading()}
    chosen = arguments.only or list(readings)
    results: dict[str, list[float]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        runs = [
            pool.submit(measure, name, readings[name], arguments.root, datasets, arguments.steps)
            for name in chosen
        ]
        for run in runs:
            results |= run.result()
            arguments.out.write_text(json.dumps(results))
    print(table(results))


if __name__ == "__main__":
    main()
