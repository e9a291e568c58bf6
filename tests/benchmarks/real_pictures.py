"""What networks gain on real dual-pixel pictures, and what they leave alone: docs/quality.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.real_pictures WEIGHTS.safetensors [more ...]

Gains are in PSNR over the mean of the two views, in dB, mean and worst scene, with the views as
they are and exchanged (which shows near for far). Pixel 4 scenes are registered to their truth
block by block, at half resolution unless `--scale 1`: truth and views do not lie on each other.
`--scales 1` restores the full size alone (`k3dn.scales`), `--passes 4` the mean of four passes;
`--strength 0.8` takes so much of the way from the mean of the views to the answer; `--reach 6`
looks for shifts between truth and views of up to 6 px in place of 2. Sharp photographs are given as
both views, each with noise of a step of 255 of its own, whose mean lies at 50.8 dB; they must come
back, and are said as PSNR. Equal views come back exactly (`k3dn.equal_views`).
"""

import argparse
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import k3dn
from k3dn.metrics import psnr
from k3dn.scales import MOST_SCALES
from pipelines.dataset.images import decode_image

Pixels = NDArray[Any]


class Scene(NamedTuple):
    """A real exposure; pictures ``(H, W, 3)`` sRGB, of one type."""

    name: str
    left: Pixels
    right: Pixels
    truth: Pixels


def samples() -> Path:
    """The folder of sample pictures. Raises SystemExit where the environment names none."""
    folder = os.environ.get("K3DN_SAMPLES")
    if not folder:
        raise SystemExit("set K3DN_SAMPLES to the folder of the sample pictures")
    return Path(folder)


def pixel4_tool() -> ModuleType:
    """The reader and the registered gain that come with the sample pictures."""
    path = samples().parent / "tools" / "pixel4.py"
    spec = importlib.util.spec_from_file_location("pixel4", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def canon_r6ii() -> Iterator[Scene]:
    """The two printed walls; the truth is the mean of the views at f/20."""
    for folder in sorted((samples() / "canon-r6ii" / "flat").iterdir()):
        left, right, first, second = (
            read(folder / f"{name}.png")
            for name in ("left", "right", "target_left", "target_right")
        )
        truth = ((first.astype(np.uint16) + second + 1) // 2).astype(np.uint8)
        yield Scene(folder.name, left, right, truth)


def dpd_blur(splits: Sequence[str]) -> Iterator[Scene]:
    """Scenes of the small DPD-blur by split."""
    root = samples() / "dpd-blur-mini"
    for split in splits:
        for target in sorted((root / f"{split}_c" / "target").iterdir()):
            left, right = (
                read(root / f"{split}_{side}" / "source" / f"{target.stem}_{side.upper()}.png")
                for side in "lr"
            )
            yield Scene(target.stem, left, right, read(target))


def read(path: Path) -> Pixels:
    """A picture, ``(H, W, 3)`` uint8 or uint16."""
    return decode_image(path.read_bytes(), where=str(path))


def unit(picture: Pixels) -> NDArray[np.float32]:
    """Values of 8 or 16 bit as ``[0, 1]``."""
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def plain_gain(answer: Pixels, scene: Scene) -> float:
    """PSNR gained over the mean of the views, dB."""
    mean = 0.5 * (unit(scene.left) + unit(scene.right))
    truth = unit(scene.truth)
    return float(psnr(unit(answer), truth) - psnr(mean, truth))


class Judge:
    """Scores one network on everything."""

    def __init__(
        self,
        model: torch.nn.Module,
        scale: float,
        *,
        scales: int = MOST_SCALES,
        passes: int = 1,
        strength: float = 1.0,
        reach: float | None = None,
    ) -> None:
        self.restorer, self.scale, self.reach = k3dn.Restorer(model), scale, reach
        self.scales, self.passes, self.strength = scales, passes, strength
        self.pixel4 = pixel4_tool()

    def restore(self, left: Pixels, right: Pixels) -> Pixels:
        answer: Pixels = self.restorer(left, right, scales=self.scales, passes=self.passes)
        if self.strength == 1:
            return answer
        mean = (left.astype(np.float32) + right) / 2
        blend = np.rint(mean + self.strength * (answer.astype(np.float32) - mean))
        return blend.clip(0, np.iinfo(left.dtype).max).astype(left.dtype)

    def gains(self) -> dict[str, dict[str, float]]:
        """By set and name of the scene, dB."""
        found: dict[str, dict[str, float]] = {}
        for swapped in (False, True):
            end = " swapped" if swapped else ""
            for name, left, right, truth in self.pixel4.scenes(self.scale):
                views = (right, left) if swapped else (left, right)
                gain = self.registered_gain(self.restore(*views), *views, truth)
                found.setdefault(f"pixel4{end}", {})[name] = gain
            sets = {
                "canon-r6ii": canon_r6ii(),
                "dpd-blur val": dpd_blur(["val"]),
                "dpd-blur test": dpd_blur(["test"]),
            }
            for title, scenes in sets.items():
                for scene in scenes:
                    left, right = scene.left, scene.right
                    answer = self.restore(right, left) if swapped else self.restore(left, right)
                    found.setdefault(f"{title}{end}", {})[scene.name] = plain_gain(answer, scene)
        return found

    def registered_gain(self, answer: Pixels, left: Pixels, right: Pixels, truth: Pixels) -> float:
        """PSNR gained over the mean of the views, both moved to the truth, dB."""
        if self.reach is None:
            return float(self.pixel4.gain(answer, left, right, truth)[1])
        target, rim = unit(truth).mean(-1), np.s_[16:-16, 16:-16]
        errors = [
            np.mean((self.pixel4.registered(grey, target, most=self.reach) - target)[rim] ** 2)
            for grey in (unit(answer).mean(-1), 0.5 * (unit(left) + unit(right)).mean(-1))
        ]
        return float(10.0 * np.log10(errors[1] / errors[0]))

    def unchanged(self) -> dict[str, dict[str, float]]:
        """PSNR of sharp photographs whose views have a little noise, dB."""
        rng, found = np.random.default_rng(0), {}
        for path in sorted((samples() / "sharp").glob("*.jpg"))[::6]:
            picture = read(path)
            left, right = (
                np.rint(rng.normal(picture, 1.0)).clip(0, 255).astype(np.uint8) for _ in "lr"
            )
            found[path.stem] = float(psnr(unit(self.restore(left, right)), unit(picture)))
        return {"sharp": found}


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Mean (worst) by set, a column a network, in Markdown."""
    rows = list(dict.fromkeys(name for of_model in results.values() for name in of_model))
    lines = ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for row in rows:
        cells = []
        for of_model in results.values():
            values = list(of_model[row].values())
            cells.append(f"{np.mean(values):+.2f} ({min(values):+.2f})")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("weights", nargs="+", help="weights files")
    parser.add_argument("--scale", type=float, default=0.5, help="of the Pixel 4 scenes")
    parser.add_argument("--scales", type=int, default=MOST_SCALES, help="sizes that are restored")
    parser.add_argument("--passes", type=int, default=1, help="1, 2 or 4")
    parser.add_argument("--strength", type=float, default=1.0, help="share of the answer")
    parser.add_argument("--reach", type=float, help="largest shift of truth to views, px")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {}
    for path in arguments.weights:
        network = k3dn.load_weights(path)
        judge = Judge(
            network,
            arguments.scale,
            scales=arguments.scales,
            passes=arguments.passes,
            strength=arguments.strength,
            reach=arguments.reach,
        )
        results[Path(path).stem] = judge.gains() | judge.unchanged()
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
