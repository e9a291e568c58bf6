"""Train a network for each reading of the paper, over seeds, and score it: docs/readings.md.

    k3dn demo root=DEMO                                          # makes the data
    python -m tests.benchmarks.readings DEMO --steps 2000 --seeds 0 1 2 --only default psf=false

Training is the demo's (its rate, patches and losses), without Ray; readings with one seed see the
same patches in the same order. Each run is one process of one thread, two at a time; a run that
is finished is found when the command is given again, and one that was cut off goes on. Scores are
over all pairs of the val and test splits, each also with its views exchanged, so that near and far
count alike; the error behind ± is that of the mean over the seeds.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import k3dn
from k3dn.losses import coc_of_windows
from k3dn.network.model import as_k3dn
from pipelines.dataset.catalog import run as list_datasets
from pipelines.dataset.config import DatasetsConfig
from pipelines.dataset.version import open_version
from pipelines.demo.config import DemoConfig
from pipelines.errors import UserError
from pipelines.scores import to_unit
from pipelines.storage import locate
from pipelines.training.bare import train_here
from pipelines.training.config import TrainConfig

DEFAULT = "default"
LARGEST_PX = 576
"""Pictures larger than this are left out: they take most of the time and add least."""
REAL_REPEAT = DemoConfig().real_repeat


@dataclass(frozen=True)
class Reading:
    """One way to read the paper: what differs from the default."""

    network: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


READINGS = {
    DEFAULT: Reading(),
    "psf=false": Reading({"psf": False}),
    "srp=false": Reading({"srp": False}),
    "srp=false lambda_1=0": Reading({"srp": False}, {"lambda_1": 0.0}),
    "lambda_1=0 (no reblurring)": Reading(training={"lambda_1": 0.0}),
    "lambda_1=0.5": Reading(training={"lambda_1": 0.5}),
    "disparity_loss=0": Reading(training={"disparity_loss": 0.0}),
    "exchange_views=0": Reading(training={"exchange_views": 0.0}),
    "skip_psf=false": Reading({"skip_psf": False}),
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

TWO_STAGES = "two stages"

Restore = Callable[[nn.Module, Tensor, Tensor], Tensor]


def plainly(model: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    """What a network answers by itself."""
    answer: Tensor = model(left, right)
    return answer


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

SIDES: dict[str, Callable[[Tensor], Tensor]] = {
    "far": lambda coc_px: coc_px < -2.0,
    "focus": lambda coc_px: coc_px.abs() < 1.0,
    "near": lambda coc_px: coc_px > 2.0,
}
"""Which pixels lie on which side of focus, by their true signed radius."""


@dataclass(frozen=True)
class HeldOut:
    """A held-out pair, ``(1, 3, H, W)`` each, and its true signed radius ``(H, W)``, px."""

    left: Tensor
    right: Tensor
    target: Tensor
    coc_px: Tensor | None


def held_out(root: str, datasets: Sequence[str]) -> Iterator[HeldOut]:
    """All pairs of the val and test splits, each followed by itself with exchanged views."""
    for reference in datasets:
        version = open_version(locate(root), reference)
        for split in ("val", "test"):
            for row in range(version.rows(split)):
                pair = version.read_pair(split, row)
                if pair.target is None or max(pair.target.shape) > LARGEST_PX:
                    continue
                left, right, target = (
                    torch.from_numpy(to_unit(x)).movedim(-1, 0)[None]
                    for x in (pair.left, pair.right, pair.target)
                )
                coc = None if pair.coc is None else torch.from_numpy(pair.coc.astype(np.float32))
                yield HeldOut(left, right, target, coc)
                yield HeldOut(right, left, target, None if coc is None else -coc)


def train(
    root: str, datasets: Sequence[str], model: str, name: str, reading: Reading, steps: int
) -> str:
    """Train one reading in this process; return its weights file."""
    torch.set_num_threads(1)
    demo = DemoConfig()
    trained_on = [r for r in datasets if open_version(locate(root), r).rows("train")]
    config = TrainConfig(
        root=root,
        datasets=[r if "coc" in _columns(root, r) else f"{r}*{REAL_REPEAT}" for r in trained_on],
        model=model,
        network=reading.network,
        name="reading-" + "".join(c if c.isalnum() else "-" for c in f"{model}-{name}-{steps}"),
        steps=steps,
        patch=demo.patch,
        batch_size=demo.batch_size,
        lr=demo.lr,
        lambda_1=demo.lambda_1,
        reblur_every=demo.reblur_every,
        grad_clip=0.5,
        val_every=10**6,
        max_val_pairs=0,
        checkpoint_every=500,
    )
    return str(train_here(replace(config, **reading.training)).local_path())


def train_two_stages(
    root: str, datasets: Sequence[str], model: str, name: str, reading: Reading, steps: int
) -> str:
    """The authors' way: without SRP blocks, then those alone; half of the steps each."""
    first = Reading({**reading.network, "srp": False}, reading.training)
    start = train(root, datasets, model, f"{name}-first", first, steps // 2)
    stage = {**reading.training, "start_from": start, "train_only": ["srp"], "lambda_1": 0.0}
    second = Reading(reading.network, stage)
    return train(root, datasets, model, f"{name}-second", second, steps - steps // 2)


def score(
    model: nn.Module, root: str, datasets: Sequence[str], restore: Restore | None = None
) -> dict[str, float]:
    """Mean gain over the mean of the views, dB; by side of focus; and whether the query lives.

    ``R`` and ``a``: how much of the signed blur radius of windows a linear readout of R, and of a
    of all blocks, explains (R^2): fitted on every second pair, tested on the others. ``std``:
    standard deviation of a over places, mean over kernels, of the block where it is least.
    """
    torch.set_num_threads(1)
    network = as_k3dn(model)
    gains: list[float] = []
    squares = {side: np.zeros(2) for side in SIDES}
    radii, vectors, weights = [], [], []
    for pair in held_out(root, datasets):
        with torch.inference_mode():
            if restore is None and network is not None:
                found = network.restore(pair.left, pair.right)
                image = found.image
            else:
                found, image = None, (restore or plainly)(model, pair.left, pair.right)
        mean_view = 0.5 * (pair.left + pair.right)
        before, after = (
            (picture - pair.target).square().mean(dim=1)[0]
            for picture in (mean_view, image.clamp(0, 1))
        )
        gains.append(float(10 * (before.mean() / after.mean()).log10()))
        if pair.coc_px is None:
            continue
        for side, holds in SIDES.items():
            inside = holds(pair.coc_px)
            squares[side] += [float(error[inside].sum()) for error in (before, after)]
        if found is not None and found.kernel_weights and network is not None:
            radii.append(coc_of_windows(pair.coc_px[None, None], network.config).flatten())
            assert found.disparity_features is not None
            vectors.append(found.disparity_features[0].flatten(1).T)
            weights.append([a[0].flatten(1).T for a in found.kernel_weights])
    scores = {"gain": float(np.mean(gains))}
    scores |= {side: float(10 * np.log10(b / a)) for side, (b, a) in squares.items()}
    if radii:
        scores["R"] = explained(vectors, radii)
        scores["a"] = explained([torch.cat(parts, dim=1) for parts in weights], radii)
        blocks = zip(*weights, strict=True)
        scores["std"] = min(float(torch.cat(a).std(dim=0).mean()) for a in blocks)
    return scores


def explained(features: Sequence[Tensor], values: Sequence[Tensor]) -> float:
    """R^2 of a linear readout of ``(n, D)`` for ``(n,)``, on the pairs that it was not fitted on.

    A pair and itself with exchanged views stay together.
    """

    def of(chosen: int) -> tuple[Tensor, Tensor]:
        indices = [i for i in range(len(values)) if i // 2 % 2 == chosen]
        x, y = (torch.cat([part[i] for i in indices]).double() for part in (features, values))
        known = y.isfinite()
        x, y = x[known], y[known]
        return torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), dim=1), y

    x, y = of(0)
    ridge = 1e-6 * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    readout = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    x, y = of(1)
    return float(1 - (x @ readout - y).square().sum() / (y - y.mean()).square().sum())


def mirror_gap(model: nn.Module, root: str, datasets: Sequence[str]) -> float:
    """RMS difference of the answers for pairs and for mirrored, swapped pairs, share of white."""
    squares = []
    for pair in held_out(root, datasets):
        with torch.inference_mode():
            mirrored = model(pair.right.flip(-1), pair.left.flip(-1)).flip(-1)
            squares.append(float((mirrored - model(pair.left, pair.right)).square().mean()))
    return float(np.mean(squares)) ** 0.5


def measure(
    root: str, datasets: Sequence[str], model: str, name: str, seed: int, steps: int
) -> dict[str, dict[str, float]]:
    """Train and score one reading with one seed; of the default also the other ways to answer."""
    reading = READINGS.get(name, Reading())
    reading = replace(reading, training={**reading.training, "seed": seed})
    way = train_two_stages if name == TWO_STAGES else train
    try:
        weights = way(root, datasets, model, f"{name}-seed-{seed}", reading, steps)
    except UserError as error:
        print(error, flush=True)
        return {name: {}}
    trained = k3dn.load_weights(weights)
    results = {name: score(trained, root, datasets)}
    if name == DEFAULT:
        results |= {n: score(trained, root, datasets, way) for n, way in ANSWERS.items()}
        print(f"mirror gap, RMS: {mirror_gap(trained, root, datasets):.5f}", flush=True)
    shown = ", ".join(f"{key} {value:.3f}" for key, value in results[name].items())
    print(f"{name}, seed {seed}: {shown}", flush=True)
    return results


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """The results, by reading and seed, as a Markdown table with differences to the default."""
    lines = [
        "| reading | gain, dB | against the default, dB | far / focus / near, dB | R^2 of R / a "
        "| std of a |",
        "|---|---|---|---|---|---|",
    ]
    default = results.get(DEFAULT, {})
    for name, by_seed in results.items():
        if not all(by_seed.values()):
            lines.append(f"| {name} | diverged | | | | |")
            continue
        gains = {seed: scores["gain"] for seed, scores in by_seed.items()}
        common = [seed for seed in gains if seed in default and name != DEFAULT]
        against = _mean([gains[seed] - default[seed]["gain"] for seed in common], sign=True)
        sides, readouts, spread = (
            " / ".join(
                f"{np.mean([s[key] for s in by_seed.values()]):.{digits}f}"
                for key in keys
                if all(key in s for s in by_seed.values())
            )
            for keys, digits in ((SIDES, 2), (("R", "a"), 2), (("std",), 3))
        )
        gain = _mean(list(gains.values()), sign=True)
        lines.append(f"| {name} | {gain} | {against} | {sides} | {readouts} | {spread} |")
    return "\n".join(lines)


def _mean(values: Sequence[float], *, sign: bool) -> str:
    if not values:
        return ""
    text = f"{np.mean(values):+.3f}" if sign else f"{np.mean(values):.3f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"
    return text


def _columns(root: str, reference: str) -> set[str]:
    """Which of a pair's optional parts a dataset has."""
    version = open_version(locate(root), reference)
    return {"coc"} if version.read_pair("train", 0).coc is not None else set()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", help="root of a demo that was run")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=DemoConfig().steps)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("readings.json"))
    parser.add_argument("--only", nargs="*", help="some of the readings by name")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    found = list_datasets(DatasetsConfig(root=arguments.root)).versions
    datasets = [f"{entry['dataset']}@{entry['version']}" for entry in found]
    chosen = arguments.only or [*READINGS, TWO_STAGES]
    unknown = sorted(set(chosen) - {*READINGS, TWO_STAGES})
    if unknown:
        parser.error(f"unknown reading {unknown[0]!r}; known are {', '.join(READINGS)}")
    results: dict[str, dict[str, dict[str, float]]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=spawn) as pool:
        place = (arguments.root, datasets, arguments.model)
        runs = {
            pool.submit(measure, *place, name, seed, arguments.steps): seed
            for seed in arguments.seeds
            for name in chosen
        }
        for run in as_completed(runs):
            for name, scores in run.result().items():
                results.setdefault(name, {})[str(runs[run])] = scores
            arguments.out.write_text(json.dumps(results))
    order = [DEFAULT, *ANSWERS, *chosen]
    print(table({name: results[name] for name in dict.fromkeys(order) if name in results}))


if __name__ == "__main__":
    main()
