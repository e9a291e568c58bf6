"""The signed radius that the networks in the box find on real scenes: docs/quality.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.real_disparity [nano tiny]

The Pixel 4 scenes, at half resolution, come with a defocus map from focus stacks, a number for each
pixel that grows with the distance behind the focus, on a scale of its own in each scene, 0 where it
is not known. Printed is the correlation of the estimated radius (px, far negative) with it over
pixels where it is known, Pearson's and Spearman's, which with a good estimate are near -1, and the
median radius in bands of the map. The map says nothing about what 1 px is.
"""

import argparse
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from torch import nn

import k3dn
from tests.benchmarks.real_pictures import pixel4_tool, samples

LEAST_KNOWN, RIM_PX = 16, 4
BAND, LEAST_SHARE = 32, 0.02


def defocus_map(scene: str, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The map of a scene at a size (H, W), and where it is known, a few pixels from its borders."""
    path = samples() / "pixel4" / "gt_defocus_map" / f"{scene}_gt.png"
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise SystemExit(f"{path} is missing")
    found = cv2.resize(
        stored.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    side = 2 * RIM_PX + 1
    known = cv2.erode((found > LEAST_KNOWN).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return found, known


def row(network: nn.Module, name: str, scene: Sequence[NDArray[np.uint16]], label: str) -> str:
    """A line of the table. scene: left and right view, (H, W, 3) uint16."""
    left, right = (view.astype(np.float32) / 65535.0 for view in scene)
    coc_px = k3dn.explain(network, left, right).coc_px
    if coc_px is None:
        raise SystemExit(f"{label} estimates no radius")
    truth, known = defocus_map(name, coc_px.shape)
    bands = []
    for low in range(LEAST_KNOWN, 256, BAND):
        inside = known & (truth >= low) & (truth < low + BAND)
        if inside.mean() > LEAST_SHARE:
            bands.append(f"{float(np.median(coc_px[inside])):.1f}")
    linear = pearsonr(coc_px[known], truth[known]).statistic
    ranks = spearmanr(coc_px[known], truth[known]).statistic
    return f"| {name} | {label} | {linear:.2f} | {ranks:.2f} | {', '.join(bands)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", default=["nano", "tiny"], help="weights in the box")
    print("| scene | weights | correlation | of ranks | median radius, px, by band of the map |")
    print("|---|---|---|---|---|")
    for label in parser.parse_args().names:
        network = k3dn.box.load(label)
        for name, left, right, _ in pixel4_tool().scenes():
            print(row(network, name, (left, right), label), flush=True)


if __name__ == "__main__":
    main()
