"""The figures of docs/synthesis.md, "Compared with real cameras": real sets, measured alike.

    K3DN_SAMPLES=... python -m tests.benchmarks.real_cameras [dpd-blur-mini canon-r6ii pixel4]

Reads pictures as they lie in the samples, also those that no layout of `k3dn ingest` takes, and
measures them as `k3dn compare` does. Prints one table. `--root ROOT A@v1 B` adds dataset versions.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from pipelines.compare.apertures import FAMILIES
from pipelines.compare.config import CompareConfig
from pipelines.compare.measure import Measured, Pictures, measure
from pipelines.compare.sample import Sample, take_sample
from pipelines.dataset.images import Pixels, decode_image
from pipelines.dataset.version import open_version
from pipelines.storage import locate

_PATCHES = 480


def _read(path: Path) -> Pixels:
    return decode_image(path.read_bytes(), where=str(path))


def dpd_blur_mini(samples: Path) -> Iterator[Pictures]:
    """Eight scenes of a Canon EOS 5D Mark IV, 840 px wide, 256 colours."""
    folder = samples / "dpd-blur-mini"
    for target in sorted(folder.glob("*_c/target/*.png")):
        split, name = target.parts[-3].removesuffix("_c"), target.stem
        yield Pictures(
            left=_read(folder / f"{split}_l/source/{name}_L.png"),
            right=_read(folder / f"{split}_r/source/{name}_R.png"),
            target=_read(target),
            combined=_read(folder / f"{split}_c/source/{name}.png"),
        )


def canon_r6ii(samples: Path) -> Iterator[Pictures]:
    """Two printed walls, Canon R6 Mark II at f/4, 768 px wide; the target is at f/20."""
    for scene in sorted((samples / "canon-r6ii/flat").iterdir()):
        halves = [
            _read(scene / f"target_{side}.png").astype(np.uint16) for side in ("left", "right")
        ]
        yield Pictures(
            left=_read(scene / "left.png"),
            right=_read(scene / "right.png"),
            target=((halves[0] + halves[1] + 1) // 2).astype(np.uint8),
        )


def pixel4(samples: Path) -> Iterator[Pictures]:
    """Four scenes of a Pixel 4 at half resolution, 672 px wide, linear green as grey."""
    folder = samples / "pixel4"

    def raw(name: str) -> np.ndarray:
        stored = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
        assert stored is not None, name
        return np.clip(stored.astype(np.float32) - 1024, 0, None) / 16383

    sheets = [raw(f"calibration/white_sheet_{side}.png") for side in ("left", "right")]
    shading = cv2.blur(sheets[0] / sheets[1], (101, 101))
    middle = np.s_[252:1260, 336:1680]
    for file in sorted(folder.glob("*_left.png")):
        name = file.stem[:3]
        stored = cv2.imread(str(folder / f"gt_all_in_focus_im/{name}_gt.png"), cv2.IMREAD_UNCHANGED)
        assert stored is not None, name
        target = stored.astype(np.float32) / 65535
        left, right = raw(f"{name}_left.png")[middle], (raw(f"{name}_right.png") * shading)[middle]
        mean = (left + right) / 2
        exposure = (mean * target).sum() / (mean * mean).sum()
        white = np.quantile(target, 0.999)
        yield Pictures(
            left=_grey(left * exposure / white),
            right=_grey(right * exposure / white),
            target=_grey(target / white),
        )


def _grey(light: np.ndarray) -> Pixels:
    half = cv2.resize(light, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    half = np.clip(half, 0.0, 1.0)
    srgb = np.where(half <= 0.0031308, 12.92 * half, 1.055 * half ** (1 / 2.4) - 0.055)
    return np.repeat(np.rint(srgb * 65535).astype(np.uint16)[..., None], 3, axis=2)


SETS: dict[str, Callable[[Path], Iterator[Pictures]]] = {
    "dpd-blur-mini": dpd_blur_mini,
    "canon-r6ii": canon_r6ii,
    "pixel4": pixel4,
}


def sample_of(name: str, samples: Path) -> Sample:
    """Measure a set of the samples, its patches evenly from its pairs."""
    pictures = list(SETS[name](samples))
    measured: list[Measured] = []
    for number, each in enumerate(pictures):
        rng = np.random.default_rng(number)
        measured.append(measure(each, rng, -(-_PATCHES // len(pictures))))
    return Sample(reference=name, pairs=tuple(measured), skipped=0)


def describe(sample: Sample) -> list[str]:
    """One line a quantity."""

    def quartiles(name: str) -> str:
        values = sample.all_of(name)
        if not len(values):
            return "-"
        return " / ".join(f"{value:.3g}" for value in np.quantile(values, [0.25, 0.5, 0.75]))

    signed = sample.all_of("signed_radius_share")
    left_over = ", ".join(
        f"{name} {100 * float(np.median(sample.left_over(name))):.2f}" for name in FAMILIES
    )
    radii = np.quantile(sample.all_of("radius_share"), [0.5, 0.9, 1.0])
    lines = [
        f"{sample.reference}: {len(sample.pairs)} pairs, "
        f"{sum(pair.patches for pair in sample.pairs)} patches, "
        f"{sum(pair.clean for pair in sample.pairs)} clean",
        "  radius, % of width, median 90% largest: " + " / ".join(f"{r:.3g}" for r in radii),
        f"  near: {float((signed > 0).mean()):.0%} of the patches blurred by 1 px or more",
        f"  left over, % of white: {left_over}",
    ]
    names = sorted({name for pair in sample.pairs for name in pair.values})
    return lines + [f"  {name}: {quartiles(name)}" for name in names]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SETS))
    parser.add_argument("--root")
    options = parser.parse_args()
    samples = os.environ.get("K3DN_SAMPLES")
    if samples is None:
        sys.exit("K3DN_SAMPLES must name the folder of the samples")
    for name in options.names:
        if name in SETS:
            sample = sample_of(name, Path(samples))
        else:
            version = open_version(locate(options.root or "k3dn-data"), name)
            sample = take_sample(version, CompareConfig(datasets=[name, name]))
        print("\n".join(describe(sample)), flush=True)


if __name__ == "__main__":
    main()
