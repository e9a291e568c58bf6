"""K3DN, K3DN without its blocks, and networks of others at equal cost: docs/quality.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.networks ROOT rgbd-cam proc-cam --steps 3000

Each network is trained on the same patches in the same order, the same steps, bare, once a seed;
widths of the others are such that a step takes as much processor time as K3DN's (`--cost` measures
it). It is scored on real pictures (`tests.benchmarks.real_pictures`), each also with its views
exchanged, and on held-out pairs (`--held-out`: of other datasets). What is finished is found when
the command is given again. Behind ± is the standard error of the mean over the seeds.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

import k3dn
from k3dn.factory import names_factory
from pipelines.training.bare import train_here
from pipelines.training.batch import Batch
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.for_pictures import EMA, GRAD_CLIP
from pipelines.training.learner import Learner
from tests.benchmarks.over_seeds import Scores, over_seeds, table
from tests.benchmarks.readings import score
from tests.benchmarks.real_pictures import Judge


@dataclass(frozen=True)
class Network:
    """A network, its options, and the rate it learns best at of those tried."""

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 2e-3


DPDNET, NAFNET = "k3dn.baselines.dpdnet:dpdnet", "k3dn.baselines.nafnet:nafnet"
NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "nano": Network("nano"),
        "psf=false": Network("nano", {"psf": False}),
        "srp=false": Network("nano", {"srp": False}),
        "DPDNet": Network(DPDNET, {"width": 24, "dropout": 0.0}),
        "DPDNet, dropout 0.4": Network(DPDNET, {"width": 24}),
        "NAFNet": Network(NAFNET, {"width": 8, "encoder": [1, 1, 1, 4]}),
    }
)


def config_of(network_name: str, **keys: Any) -> TrainConfig:
    """The training of a network of the table."""
    network = NETWORKS[network_name]
    return TrainConfig(
        model=network.model,
        network=dict(network.options),
        grad_clip=GRAD_CLIP,
        ema=EMA,
        lambda_1=0.0,
        val_every=10**6,
        max_val_pairs=0,
        checkpoint_every=200,
        **{"lr": network.lr, **keys},
    )


def measure(
    root: str,
    datasets: Sequence[str],
    held_out: Sequence[str],
    name: str,
    training: Mapping[str, Any],
) -> Scores:
    """Train one network and score it on everything."""
    slug = "".join(c if c.isalnum() else "-" for c in name)
    end = "-".join(f"{key}-{value}" for key, value in training.items() if key != "datasets")
    run = "networks-" + slug + "-" + end.replace("_", "-").replace(".", "p")
    config = config_of(name, root=root, datasets=list(datasets), name=run, **training)
    weights = str(train_here(config).local_path())
    factory = config.model if names_factory(config.model) else None
    network = k3dn.load_weights(weights, factory)
    found = {
        key: float(np.mean(list(v.values()))) for key, v in Judge(network, 0.5).gains().items()
    }
    scores = score(network, root, held_out)
    found |= {f"held out{end}": scores[key] for key, end in SIDES.items()}
    print(f"{name}, {training}: {found}", flush=True)
    return found


SIDES = {"gain": "", "far": ", far", "focus": ", in focus", "near": ", near"}


def costs(names: Sequence[str], patch: int, batch_size: int, precision: str) -> str:
    """Parameters and processor time of a step, median of twelve by turns, as Markdown."""
    views = torch.rand(3, batch_size, patch, patch, 3).permute(0, 1, 4, 2, 3)
    left, right, target = views.unbind(0)
    batch = Batch(
        index=list(range(batch_size)),
        pair_id=[str(n) for n in range(batch_size)],
        left=left,
        right=right,
        target=target,
        coc=torch.zeros(batch_size, 1, patch, patch),
    )
    learners = {
        name: Learner(
            config_of(name, patch=patch, batch_size=batch_size, precision=precision, num_workers=1),
            ProcessContext(torch.device("cpu")),
            None,
        )
        for name in names
    }
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(16):
        for name, learner in learners.items():
            begun = time.process_time()
            learner.step(turn, batch)
            seconds[name].append(time.process_time() - begun)
    lines = ["| network | parameters | a step, s of the processor |", "|---|---|---|"]
    for name in names:
        network = k3dn.build_model(NETWORKS[name].model, dict(NETWORKS[name].options))
        parameters = sum(p.numel() for p in network.parameters())
        lines.append(f"| {name} | {parameters:,} | {statistics.median(seconds[name][4:]):.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", help="where the datasets are, and the runs go")
    parser.add_argument("datasets", nargs="*")
    parser.add_argument("--held-out", nargs="+", help="datasets to score on; by itself the same")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, help="in place of each network's own")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cost", action="store_true", help="measure a step of each, then end")
    parser.add_argument("--out", type=Path, default=Path("networks.json"))
    chosen = parser.parse_args()
    if chosen.cost:
        torch.set_num_threads(1)
        print(costs(chosen.networks, chosen.patch, chosen.batch_size, chosen.precision))
        return
    keys = ("steps", "patch", "batch_size", "precision") + (("lr",) if chosen.lr else ())
    training = {key: getattr(chosen, key) for key in keys}
    held_out = chosen.held_out or chosen.datasets
    jobs = {
        (name, seed): (chosen.root, chosen.datasets, held_out, name, {**training, "seed": seed})
        for seed in chosen.seeds
        for name in chosen.networks
    }
    print(table(over_seeds(measure, jobs, chosen.processes, chosen.out)))


if __name__ == "__main__":
    main()
