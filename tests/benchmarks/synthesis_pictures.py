"""The pictures of docs/synthesis.md, drawn by this code from scenes made by formula.

    K3DN_REFERENCE=... python -m tests.benchmarks.synthesis_pictures --out docs/synthesis

K3DN_REFERENCE names the folder of reference arrays; without it the picture of measured kernels is
left out. Every number in a picture is computed here; those that the page quotes are printed, too.
Nothing is random: the same code, with the same OpenCV, gives the same pictures on one kind of
processor. `published` is what `synth` makes with a published preset's parameters, which is tested
to be what the published generators make; `ours` is a thin lens of the same blur radii, occlusion
and linear light.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

import synth
from synth.psf import PSF_FAMILIES
from tests.benchmarks.pictures import ddd_syn, kernels, layers, places, rdpd
from tests.benchmarks.pictures.drawing import Picture, save

BANK, BANK_KEY = "pixel4_psf.npz", "measured_rows6_cols8_views2_61_61"


def figures(reference: str | None) -> dict[str, Callable[[], Picture]]:
    """What to draw, by the file's name. reference: folder of the measured bank."""
    drawn: dict[str, Callable[[], Picture]] = {
        **{f"kernels_{family}": partial(kernels.kernels_of, family) for family in PSF_FAMILIES},
        "sign": kernels.sign,
        "places": places.places,
        "focus_sweep": layers.focus_sweep,
        "rdpd_occlusion": rdpd.rdpd_occlusion,
        "rdpd_in_focus": rdpd.rdpd_in_focus,
        "rdpd_radii": rdpd.rdpd_radii,
        "rdpd_highlights": rdpd.rdpd_highlights,
        "ddd_window": ddd_syn.ddd_window,
        "ddd_focus": ddd_syn.ddd_focus,
        "ddd_occlusion": ddd_syn.ddd_occlusion,
        "composite_sum": layers.composite_sum,
    }
    if reference is not None:
        with (Path(reference) / BANK).open("rb") as file:
            bank = synth.load_measured_bank(file, key=BANK_KEY)
        drawn["kernels_measured"] = partial(kernels.kernels_measured, bank)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    parser.add_argument("--only", nargs="+", default=[], help="names of pictures, without .png")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    reference = os.environ.get("K3DN_REFERENCE")
    drawn = figures(reference)
    if unknown := sorted(set(options.only) - set(drawn)):
        parser.error(f"no picture {', '.join(unknown)}: choose from {', '.join(drawn)}")
    options.out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in options.only or drawn:
        picture = drawn[name]()
        size = save(options.out / f"{name}.png", picture)
        total += size
        print(f"-- {name}.png: {picture.shape[1]} x {picture.shape[0]}, {size / 1000:.0f} kB")
    if reference is None:
        print("K3DN_REFERENCE is not set: no picture of measured kernels")
    print(f"{total / 1000:.0f} kB in all")


if __name__ == "__main__":
    main()
