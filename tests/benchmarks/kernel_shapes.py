"""What networks gain on photographs whose blur has kernels of a given shape: docs/quality.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.kernel_shapes WEIGHTS.safetensors [more ...]

Five sharp photographs, grey and at half size, are blurred as a whole by one pair of kernels, with
little noise and 16 bit; one property of the lens is changed at a time. Gains are in PSNR over the
mean of the views, dB, mean over the photographs. Beside them, as what is possible at this noise,
the gain of the linear filter with the least square error that knows kernels, noise and the
photograph's own spectrum (Wiener's).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import k3dn
from k3dn.metrics import psnr
from synth import linear_to_srgb, srgb_to_linear
from synth.lens import ApertureParameters, FrameWindow, Lens, LensKernels
from tests.benchmarks.real_pictures import read, samples, unit

Picture = NDArray[np.float32]

SIDE, RIM = 320, 24
"""Px of a photograph's part, and of what of it is not judged."""
NOISE = 2e-3
"""Standard deviation of each view's noise at white, linear."""
LENS: Mapping[str, Any] = MappingProxyType({"disparity": 0.45, "softness": 0.12})
BELOW, RIGHT = (1.0, 0.0), (0.0, 1.0)

SHAPES: Mapping[str, tuple[tuple[float, float], Mapping[str, Any]]] = MappingProxyType(
    {
        "disparity 0.45, softness 0.12": (BELOW, {}),
        "slope 0.4, below the middle": (BELOW, {"slope": 0.4}),
        "slope 0.8, below the middle": (BELOW, {"slope": 0.8}),
        "slope 0.8, right of the middle": (RIGHT, {"slope": 0.8}),
        "cat's eye 0.5": (BELOW, {"cat_eye": 0.5}),
        "views change parts, swap 3": (RIGHT, {"swap": 3.0}),
        "softness 0.03": (BELOW, {"softness": 0.03}),
        "softness 0.25": (BELOW, {"softness": 0.25}),
        "bright rim, 0.5": (BELOW, {"rim": 0.5}),
        "dark rim, -0.4": (BELOW, {"rim": -0.4}),
        "disparity 0.35": (BELOW, {"disparity": 0.35}),
        "disparity 0.55": (BELOW, {"disparity": 0.55}),
    }
)
"""Where in the frame, and what of the lens is another."""


def photographs() -> list[Picture]:
    """Linear grey parts, (SIDE, SIDE), of photographs at half size."""
    found = []
    for path in sorted((samples() / "sharp").glob("*.jpg"))[2::10]:
        half = cv2.resize(unit(read(path)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        top, left = ((size - SIDE) // 2 for size in half.shape[:2])
        grey = half[top : top + SIDE, left : left + SIDE].mean(axis=-1)
        found.append(srgb_to_linear(grey).astype(np.float32))
    return found


def kernels(shape: str, coc_px: float) -> NDArray[np.float32]:
    """Left and right, (2, k, k), of green."""
    place, keys = SHAPES[shape]
    window = FrameWindow(frame_px=(1000.0, 1500.0), size_px=(1000.0, 1500.0))
    made = LensKernels([Lens(light=ApertureParameters(**{**LENS, **keys}), window=window)])
    where = torch.tensor([place], dtype=torch.float32)
    of_colours = made(torch.tensor([0]), torch.tensor([coc_px]), where, made.half_px(coc_px))
    return np.asarray(of_colours[0, :, 1].numpy())


def wiener(views: Sequence[Picture], pair: NDArray[np.float32], truth: Picture) -> Picture:
    """The picture by the linear filter with the least expected error, linear."""
    side = truth.shape[0]
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(truth - truth.mean())) ** 2 / truth.size)
    power = np.fft.ifftshift(cv2.blur(spectrum, (9, 9)))
    top = np.zeros((side, side), complex)
    bottom: NDArray[Any] = NOISE**2 / np.maximum(power, 1e-12)
    for view, kernel in zip(views, pair, strict=True):
        padded = np.zeros((side, side))
        padded[: len(kernel), : len(kernel)] = kernel
        response = np.fft.fft2(np.roll(padded, (-(len(kernel) // 2),) * 2, axis=(0, 1)))
        top += response.conj() * np.fft.fft2(view - truth.mean())
        bottom = bottom + np.abs(response) ** 2
    return np.asarray(np.fft.ifft2(top / bottom).real + truth.mean(), dtype=np.float32)


def gains(restorers: Mapping[str, k3dn.Restorer], shape: str, coc_px: float) -> list[float]:
    """Of each network and of Wiener's filter, dB."""
    pair, rows = kernels(shape, coc_px), []
    for number, linear in enumerate(photographs()):
        rng, truth = np.random.default_rng(number), linear_to_srgb(linear)
        views = []
        for kernel in pair:
            # Borders wrap around, so that the filter's answer is not spoilt by them.
            half = len(kernel) // 2
            wide = np.pad(linear, half, mode="wrap")
            blurred = cv2.filter2D(wide, -1, kernel[::-1, ::-1])[half:-half, half:-half]
            views.append(blurred + NOISE * rng.normal(size=blurred.shape).astype(np.float32))
        stored = [
            np.repeat(
                np.rint(linear_to_srgb(v.clip(0, 1)) * 65535).astype(np.uint16)[..., None], 3, -1
            )
            for v in views
        ]
        mean = 0.5 * (unit(stored[0]) + unit(stored[1])).mean(axis=-1)
        before = _psnr(mean, truth)
        answers = [unit(restorer(*stored)).mean(axis=-1) for restorer in restorers.values()]
        answers.append(linear_to_srgb(wiener(views, pair, linear).clip(0, 1)))
        rows.append([_psnr(answer, truth) - before for answer in answers])
    return [float(value) for value in np.mean(rows, axis=0)]


def _psnr(grey: Picture, truth: Picture) -> float:
    inner = np.s_[RIM:-RIM, RIM:-RIM, None]
    return float(psnr(*(np.repeat(p[inner], 3, axis=-1) for p in (grey, truth))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("weights", nargs="+", help="weights files")
    parser.add_argument("--coc-px", type=float, default=-6.0, help="signed blur radius")
    arguments = parser.parse_args()
    restorers = {
        Path(path).stem: k3dn.Restorer(k3dn.load_weights(path)) for path in arguments.weights
    }
    print("| | " + " | ".join([*restorers, "Wiener's filter"]) + " |")
    print("|---" * (len(restorers) + 2) + "|")
    for shape in SHAPES:
        cells = " | ".join(f"{gain:+.2f}" for gain in gains(restorers, shape, arguments.coc_px))
        print(f"| {shape} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
