"""Which synthetic pairs teach a network to restore real pictures: docs/synthesis.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.synthesis_ab ROOT --arms plain camera

For each arm, pairs are made of the samples' RGB-D scenes and of scenes with their photographs on
them; the same network is trained on them, the same steps, without Ray Train, once a seed; and it is
scored on real pictures (`tests.benchmarks.real_pictures`) and on the held-out pairs of every arm,
near and far alike. What is finished is found when the command is given again. Behind ± is the
standard error of the mean over the seeds.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import k3dn
from pipelines.synthesis import synthesize
from pipelines.synthesis.config import PROCEDURAL, OpticsConfig, SensorConfig, SynthConfig
from pipelines.training.bare import train_here
from pipelines.training.config import TrainConfig
from pipelines.training.for_pictures import EMA, GRAD_CLIP, LENS
from tests.benchmarks.over_seeds import Scores, over_seeds, table
from tests.benchmarks.readings import score
from tests.benchmarks.real_pictures import Judge, samples


@dataclass(frozen=True)
class Arm:
    """One way to make pairs."""

    preset: str | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the preset."""


FRAME: Mapping[str, Any] = {"frame_width": 1000, "blur": [0.005, 0.018]}
"""Radii of up to 5 to 18 px, as those of photographs some 1000 px wide."""

NARROW: Mapping[str, Any] = {"blur": [0.005, 0.009]}
"""Radii of up to 5 to 9 px, as those of the simple kernels."""

SIMPLE = ["butterworth", "translating_disk"]
PLAIN_OPTICS: Mapping[str, Any] = {
    **{"swap": [0.0], "cat_eye": [0.0], "spherical": [0.0]},
    **{"lateral": 0.0, "axial": 0.0},
}
PLAIN_SENSOR = SensorConfig(
    mosaic_share=0.0, jpeg_share=0.0, contrast=[0.0], highlights=[1.0], shading=[0.0]
)


def _camera(optics: Mapping[str, Any] | None = None, **keys: Any) -> Arm:
    return Arm("camera", {**keys, "optics": OpticsConfig(**{**FRAME, **(optics or {})})})


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "plain": Arm(),
        "plain, radii to 13 px": Arm(keys={"max_coc_px": 13.0, "min_coc_px": 2.0}),
        "plain, no integral window": Arm(keys={"kernels": SIMPLE}),
        "camera": _camera(),
        "camera, one radius-disparity": _camera({"disparity": [0.45]}),
        "camera, disparity 0.12 to 0.65": _camera({"disparity": [0.12, 0.65]}),
        "camera, radii to 2 to 13 px": _camera({"blur": [0.002, 0.013]}),
        "camera, radii to 5 to 9 px": _camera(NARROW),
        "camera, mostly far, radii to 5 to 9 px": _camera({**NARROW, "near_share": 0.1}),
        "camera, all lenses, mostly far, radii to 5 to 9 px": _camera(
            {**NARROW, "near_share": 0.1, **{key: list(ends) for key, ends in LENS.items()}}
        ),
        "camera, simple kernels": _camera(kernels=SIMPLE),
        "camera, integral window too": _camera(kernels=["aperture", "integral"]),
        "camera, plain optics": _camera(PLAIN_OPTICS),
        "camera, plain sensor": _camera(sensor=PLAIN_SENSOR, shot_noise=0.0, read_noise=0.0),
        "camera, all plain": _camera(
            PLAIN_OPTICS, sensor=PLAIN_SENSOR, shot_noise=0.0, read_noise=0.0, kernels=SIMPLE
        ),
        "camera, all plain, mostly far, radii to 5 to 9 px": _camera(
            {**PLAIN_OPTICS, **NARROW, "near_share": 0.1},
            sensor=PLAIN_SENSOR,
            shot_noise=0.0,
            read_noise=0.0,
            kernels=SIMPLE,
        ),
        "camera, no spherical aberration": _camera({"spherical": [0.0]}),
        "camera, no cat's eye": _camera({"cat_eye": [0.0]}),
        "camera, no swap": _camera({"swap": [0.0]}),
        "camera, no colour aberration": _camera({"lateral": 0.0, "axial": 0.0}),
        "camera, no highlights": _camera(sensor=SensorConfig(highlights=[1.0])),
        "camera, no shading": _camera(sensor=SensorConfig(shading=[0.0])),
        "camera, no mosaic": _camera(sensor=SensorConfig(mosaic_share=0.0)),
        "camera, no tone curve": _camera(sensor=SensorConfig(contrast=[0.0])),
        "camera, no JPEG": _camera(sensor=SensorConfig(jpeg_share=0.0)),
        "camera, no noise": _camera(shot_noise=0.0, read_noise=0.0),
    }
)


def make_pairs(root: str, name: str, pairs: int, size: str) -> list[str]:
    """Make the versions of an arm, or find them there; return their references."""
    arm, folder = ARMS[name], samples()
    slug = "".join(c if c.isalnum() else "-" for c in name.lower())
    references = []
    for kind, source in (
        ("scenes", {"source": str(folder / "rgbd")}),
        ("photographs", {"source": PROCEDURAL, "textures": str(folder / "sharp")}),
    ):
        keys: dict[str, Any] = {"root": root, "dataset": f"{slug}-{kind}", "pairs": pairs}
        keys |= {"size": size, **source, **arm.keys}
        made = SynthConfig.of_preset(arm.preset, **keys) if arm.preset else SynthConfig(**keys)
        version = synthesize.make(made)
        references.append(f"{version.dataset}@{version.version}")
    return references


def measure(
    root: str, name: str, versions: Mapping[str, list[str]], training: Mapping[str, Any], seed: int
) -> Scores:
    """Train a network on an arm's pairs and score it on everything."""
    slug = "".join(c if c.isalnum() else "-" for c in name.lower())
    steps, model = training["steps"], training["model"]
    config = TrainConfig(
        root=root,
        datasets=versions[name],
        name=f"ab-{slug}-{model}-{steps}-seed-{seed}",
        grad_clip=GRAD_CLIP,
        ema=EMA,
        lambda_1=0.0,
        val_every=10**6,
        max_val_pairs=0,
        checkpoint_every=200,
        seed=seed,
        **training,
    )
    weights = train_here(config)
    network = k3dn.load_weights(str(weights.local_path()))
    found = {
        key: float(np.mean(list(v.values()))) for key, v in Judge(network, 0.5).gains().items()
    }
    for other, references in versions.items():
        scores = score(network, root, references)
        found |= {f"held out: {other}{end}": scores[key] for key, end in SIDES.items()}
    print(f"{name}, seed {seed}: {found}", flush=True)
    return found


SIDES = {"gain": "", "far": ", far", "near": ", near"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", help="where datasets and runs go")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=300, help="of each of the two sources")
    parser.add_argument("--size", default="320x448")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("synthesis_ab.json"))
    arguments = parser.parse_args()
    root = arguments.root
    versions = {
        name: make_pairs(root, name, arguments.pairs, arguments.size) for name in arguments.arms
    }
    keys = ("model", "steps", "patch", "batch_size", "lr", "precision")
    training = {key: getattr(arguments, key) for key in keys}
    jobs = {
        (name, seed): (root, name, versions, training, seed)
        for seed in arguments.seeds
        for name in arguments.arms
    }
    print(table(over_seeds(measure, jobs, arguments.processes, arguments.out)))


if __name__ == "__main__":
    main()
