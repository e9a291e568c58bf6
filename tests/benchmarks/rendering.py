"""Pairs a second on one core, by renderer and kernel family, and how much faster than plain ways.

    python -m tests.benchmarks.rendering [--sizes 480x640 1080x1920] [--repeats 3] [--scenes 5]

Times are processor seconds of one thread, as other work may share the machine. A ratio is the
median over runs that take turns, each on the same scene; the plain loop on the scene of whole range
runs once.

gather is held against the published generator's way (RDPD, camera set_0, its kernels, 8 bit): for
each depth layer, empty ones too, the whole picture is filtered three times (left, right, combined)
by OpenCV's filter2D, and the layer's mask takes its pixels from each; all ways find the kernels in
one cache, which the published program has not, and give 8-bit pictures of interleaved colours. Two
forms of it: `as published`, with that program's array operations, written anew from what it does;
`lean`, masks of one byte and sums of one byte, the least that way can take. Outputs are equal but
for one grey level, checked in each run. Scenes are procedural ones whose depth is stretched to the
camera's whole range, 0.3 to 250 m, evenly in metres, as the generator's bins lie, or evenly in the
logarithm, which crowds them with near layers; what is printed is the median and range over scenes.

layered is held against its own formula as a plain loop in numpy: every layer of the range, every
plane of the whole picture, kernel tap by kernel tap, on a small scene of set_0's whole range and on
scenes of small blur. Outputs are compared where nothing hidden had to be guessed, within 2e-3; the
loop does not guess, and has no part in taking edges apart.

batched is held against layered, pictures of one scene each in turns; --only-batched prints no more.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

import synth
from synth.psf import PSF_FAMILIES, published_butterworth
from synth.published_cameras import RDPD_CAMERAS
from synth.render import CentredWindow, Psf, render_gather, render_layered, render_scatter
from synth.render.batch_kernels import PairKernels
from synth.render.batched import render_batch
from synth.sources.procedural import procedural_scene

Views = tuple[np.ndarray, np.ndarray]
CAMERA = RDPD_CAMERAS["set_0"]
SETTINGS = (3, 2.5, 0.1, 7)
MAX_COC_PX = {480: 8.0, 1080: 16.0}


def scene_of_full_range(
    size: tuple[int, int], seed: int, stretch: str = "log"
) -> tuple[np.ndarray, np.ndarray]:
    """A procedural picture, uint8, and its depth stretched to 0.3 to 250 m, by metres or log."""
    scene = procedural_scene(synth.generator(seed, "bench"), scene_id="bench", size=size)
    depth = scene.depth_m.astype(np.float64)
    nearest, farthest = 0.3, 250.0
    if stretch == "log":
        depth, nearest, farthest = np.log(depth), np.log(nearest), np.log(farthest)
    place = (depth - depth.min()) / (depth.max() - depth.min())
    depth_m = nearest + place * (farthest - nearest)
    if stretch == "log":
        depth_m = np.exp(depth_m)
    return np.rint(scene.image * 255.0).astype(np.uint8), depth_m


def published_way(image: np.ndarray, depth_m: np.ndarray) -> list[np.ndarray]:
    """Left, right and combined picture, uint8, by the array operations of the published program.

    Depth is held three times, in double precision. For each layer a mask of bytes is made, and a
    second one, of whole numbers, that weights the picture, taken to half precision, by one inside
    the layer and by one outside; what comes of it is filtered, and all layers are kept until they
    are put together.
    """
    depth = np.repeat(depth_m[..., None], 3, axis=2)
    masks, blurred = [], []
    for layer in CAMERA.layers():
        masks.append(
            np.where((depth >= layer.near_m) & (depth < layer.far_m), 1, 0).astype(np.uint8)
        )
        weight = np.where((depth >= layer.near_m) & (depth < layer.far_m), 1, 1)
        weighted = (image.astype(np.float16) * weight).astype(np.uint8)
        kernels = published_butterworth(layer.coc_px, *SETTINGS)
        blurred.append([filter_whole(weighted, kernel) for kernel in kernels])
    views = [picture * masks[-1] for picture in blurred[-1]]
    for mask, pictures in zip(masks[-2::-1], blurred[-2::-1], strict=True):
        for view, picture in zip(views, pictures, strict=True):
            view += picture * mask
    return views


def lean_way(image: np.ndarray, depth_m: np.ndarray) -> list[np.ndarray]:
    """The same pictures with the least that whole filters and masks can take."""
    views = [np.zeros(image.shape, dtype=np.uint8) for _ in range(3)]
    depth = depth_m[..., None]
    for layer in CAMERA.layers():
        mask = ((depth >= layer.near_m) & (depth < layer.far_m)).astype(np.uint8)
        kernels = published_butterworth(layer.coc_px, *SETTINGS)
        for view, kernel in zip(views, kernels, strict=True):
            view += filter_whole(image, kernel) * mask
    return views


def filter_whole(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """OpenCV's filter of a whole picture, bytes; it correlates: turned about, it convolves."""
    return np.asarray(cv2.filter2D(image, -1, kernel[::-1, ::-1]))


def our_gather(image: np.ndarray, depth_m: np.ndarray) -> list[np.ndarray]:
    """The same three pictures by the gathering renderer, depth to bytes."""

    def psf(coc_px: float) -> Any:
        return published_butterworth(int(coc_px), *SETTINGS)[:2]

    coc_px = CAMERA.coc_px(depth_m)
    left, right = render_gather(image, coc_px, psf, step_px=1.0, border="reflect")
    planar = [view.transpose(2, 0, 1) for view in (left, right)]
    views = [[cv2.convertScaleAbs(plane) for plane in view] for view in planar]
    combined = [
        cv2.addWeighted(one, 0.5, other, 0.5, 0.0, dtype=cv2.CV_8U)
        for one, other in zip(*planar, strict=True)
    ]
    return [np.asarray(cv2.merge(view)) for view in (*views, combined)]


def plain_layered(image: np.ndarray, coc_px: np.ndarray, psf: Psf, step_px: float = 0.5) -> Views:
    """The layered renderer's formula, layer by layer, plane by plane, tap by tap."""
    levels = np.arange(np.floor(coc_px.min() / step_px), np.ceil(coc_px.max() / step_px) + 1)
    views = []
    for view in (0, 1):
        total = np.zeros(image.shape)
        passing = np.ones(coc_px.shape)
        for level in levels[::-1]:
            kernel = psf(float(level) * step_px)[view]
            matte = np.maximum(0.0, 1.0 - np.abs(coc_px / step_px - level))
            behind = np.clip(level + 1.0 - coc_px / step_px, 0.0, 1.0)
            known = np.maximum(convolve_by_taps(behind, kernel), 1e-6)
            for channel in range(3):
                light = convolve_by_taps(matte * image[..., channel], kernel)
                total[..., channel] += passing * light / known
            passing = passing * (1.0 - convolve_by_taps(matte, kernel) / known)
        views.append(total)
    return views[0], views[1]


def convolve_by_taps(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution, mirrored borders: one shifted copy of the plane for each tap that is not 0."""
    half = kernel.shape[0] // 2
    padded = np.pad(plane, half, mode="symmetric")
    height, width = plane.shape
    total = np.zeros(plane.shape)
    for down, across in zip(*np.nonzero(kernel), strict=True):
        top, left = 2 * half - down, 2 * half - across
        total += kernel[down, across] * padded[top : top + height, left : left + width]
    return total


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and its result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def compare_gather(size: tuple[int, int], repeats: int, scenes: int, stretch: str) -> None:
    """Print gather against the published generator's way, over scenes of full depth range."""
    seconds_of: dict[str, list[float]] = {"gather": [], "as published": [], "lean": []}
    ratios: dict[str, list[float]] = {"as published": [], "lean": []}
    for seed in range(scenes):
        taken = _times_of_gather(*scene_of_full_range(size, seed, stretch), repeats)
        for name, times in taken.items():
            seconds_of[name].append(statistics.median(times))
            if name in ratios:
                pairs = zip(times, taken["gather"], strict=True)
                ratios[name].append(statistics.median(theirs / ours for theirs, ours in pairs))
    print(f"\ngather, {size[0]} x {size[1]}, set_0, {scenes} scenes, depth even in {stretch}")
    print("| way | s, median (range) | over gather, median (range) |\n|---|---|---|")
    for name, times in seconds_of.items():
        ratio = _median_and_range(ratios[name], 1) if name in ratios else "1"
        print(f"| {name} | {_median_and_range(times, 2)} | {ratio} |", flush=True)


def _median_and_range(values: list[float], digits: int) -> str:
    low, middle, high = (
        f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def _times_of_gather(
    image: np.ndarray, depth_m: np.ndarray, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each way in runs that take turns; outputs are compared."""
    ways: dict[str, Callable[[], list[np.ndarray]]] = {
        "gather": lambda: our_gather(image, depth_m),
        "as published": lambda: published_way(image, depth_m),
        "lean": lambda: lean_way(image, depth_m),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    our_gather(image, depth_m)
    for _ in range(repeats):
        results = {}
        for name, way in ways.items():
            taken, results[name] = seconds(way)
            times[name].append(taken)
        for name in ("as published", "lean"):
            for ours, theirs in zip(results["gather"], results[name], strict=True):
                difference = np.abs(ours.astype(int) - theirs).max()
                assert difference <= 1, f"{name}: {difference} grey levels apart"
    return times


def compare_batched(size: tuple[int, int], repeats: int, scenes: int) -> None:
    """Print the batched renderer against the layered one, butterworth, over scenes."""
    max_coc_px = MAX_COC_PX.get(size[0], 8.0)
    times: dict[str, list[float]] = {"layered": [], "batched": []}
    ratios, errors = [], []
    for seed in range(scenes):
        image, coc_px, families = layered_scene(size, seed, max_coc_px)
        psf = families["butterworth"]
        kernels = PairKernels([psf])
        light = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None]
        radii = torch.from_numpy(coc_px.astype(np.float32))[None]
        taken: dict[str, list[float]] = {name: [] for name in times}
        for _ in range(repeats):
            first, ours = seconds(partial(render_batch, light, radii, kernels))
            second, theirs = seconds(partial(render_layered, image, coc_px, psf))
            taken["batched"].append(first)
            taken["layered"].append(second)
        for name, values in taken.items():
            times[name].append(min(values))
        ratios.append(min(taken["layered"]) / min(taken["batched"]))
        views = ours[0].permute(0, 2, 3, 1).numpy()
        errors.append(np.mean((views - np.stack(theirs)) ** 2))
    print(f"\nbatched, {size[0]} x {size[1]}, {scenes} scenes: fastest of {repeats}, over scenes")
    for name, values in times.items():
        print(f"| {name} | {_median_and_range(values, 2)} s |")
    decibels = sorted(-10.0 * np.log10(errors))
    print(f"| layered over batched | {_median_and_range(ratios, 2)} |")
    print(f"| one against the other, dB | {_median_and_range(decibels, 1)} |", flush=True)


def compare_layered(
    image: np.ndarray, coc_px: np.ndarray, repeats: int, plain_repeats: int
) -> None:
    """Print layered against its plain loop on one scene in linear light."""
    psf = PSF_FAMILIES["butterworth"]
    ours, plain = [], []
    for run in range(repeats):
        taken, views = seconds(lambda: render_layered(image, coc_px, psf, mixed_edges=False))
        ours.append(taken)
        if run < plain_repeats:
            taken, expected = seconds(lambda: plain_layered(image, coc_px, psf))
            plain.append(taken)
    close = (np.abs(np.stack(views) - np.stack(expected)) < 2e-3).mean()
    assert close > 0.7, f"only {close:.0%} of the values agree"
    size = f"{coc_px.shape[0]} x {coc_px.shape[1]}"
    print(f"\nlayered, {size}, radii {coc_px.min():.1f} to {coc_px.max():.1f} px")
    print(f"| layered, edges whole | {statistics.median(ours):.2f} s | 1.0 x |")
    ratio = statistics.median(plain) / statistics.median(ours)
    print(f"| plain loop | {statistics.median(plain):.2f} s | {ratio:.1f} x |")
    print(f"values within 2e-3 of each other: {close:.1%}", flush=True)


def layered_scene(
    size: tuple[int, int], seed: int, max_coc_px: float
) -> tuple[np.ndarray, np.ndarray, dict[str, Psf]]:
    """A procedural scene in linear light, its radii, and the families with what was drawn."""
    scene = procedural_scene(synth.generator(seed, "layered"), scene_id="bench", size=size)
    parameters = synth.sample_parameters(
        synth.generator(seed, "camera"),
        scene,
        synth.PairRanges(cameras=synth.CameraRanges(extreme_coc_px=(0.4 * max_coc_px, max_coc_px))),
    )
    coc_px = parameters.camera.coc_px(scene.depth_m, max_coc_px=max_coc_px)
    families: dict[str, Psf] = dict(PSF_FAMILIES)
    return synth.srgb_to_linear(scene.image), coc_px, families


def speeds(size: tuple[int, int], repeats: int, seed: int) -> None:
    """Print pairs a second of each renderer and family on one scene, the noise left out."""
    max_coc_px = MAX_COC_PX.get(size[0], 8.0)
    image, coc_px, families = layered_scene(size, seed, max_coc_px)
    calls: dict[str, Callable[[], Views]] = {}
    banks = {
        f"measured, {rows} x {columns} places": bank_of_kernels(rows, columns)
        for rows, columns in ((1, 1), (6, 8))
    }
    for name, psf in (*families.items(), *banks.items()):
        calls[f"layered, {name}"] = partial(render_layered, image, coc_px, psf)
        calls[f"gather, {name}"] = partial(render_gather, image, coc_px, psf)
    calls["layered, sum, butterworth"] = partial(
        render_layered, image, coc_px, families["butterworth"], composite="sum"
    )
    calls["scatter, integral"] = partial(render_scatter, image, coc_px, CentredWindow())
    print(f"\n{size[0]} x {size[1]}, radii {coc_px.min():.1f} to {coc_px.max():.1f} px")
    print("| renderer, kernels | s a pair | pairs a second |\n|---|---|---|")
    for name, call in calls.items():
        taken = statistics.median(seconds(call)[0] for _ in range(repeats))
        print(f"| {name} | {taken:.2f} | {1.0 / taken:.2f} |", flush=True)


def bank_of_kernels(rows: int, columns: int) -> Any:
    """A bank made up of tilted discs, the size of a real calibration's kernels."""
    axis = np.arange(-30, 31) / 12.0
    x, y = np.meshgrid(axis, axis)
    disc = (np.hypot(x, y) <= 1.0).astype(float)
    kernels = np.zeros((rows, columns, 2, 61, 61))
    for row, column in np.ndindex(rows, columns):
        tilt = 0.3 + 0.6 * column / max(columns - 1, 1)
        kernels[row, column, 0] = disc * (1.0 - tilt * x)
        kernels[row, column, 1] = disc * (1.0 + (1.2 - tilt) * x)
    return synth.load_measured_bank(kernels, radius_px=12.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", default=["480x640", "1080x1920"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=5, help="for gather against the published")
    parser.add_argument("--only-batched", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain-size", default="480x640", help="layered's plain loop is slow")
    parser.add_argument("--plain-radii", nargs="+", type=float, default=[8.0, 16.0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    def size_of(text: str) -> tuple[int, int]:
        height, width = text.split("x")
        return int(height), int(width)

    for size in map(size_of, arguments.sizes):
        compare_batched(size, arguments.repeats, arguments.scenes)
        if arguments.only_batched:
            continue
        speeds(size, arguments.repeats, arguments.seed)
        for stretch in ("metres", "log"):
            compare_gather(size, arguments.repeats, arguments.scenes, stretch)
    if arguments.only_batched:
        return
    for radius_px in arguments.plain_radii:
        size = size_of(arguments.plain_size)
        image, coc_px, _ = layered_scene(size, arguments.seed, radius_px)
        compare_layered(image, coc_px, min(arguments.repeats, 3), min(arguments.repeats, 3))
    whole, depth_m = scene_of_full_range((240, 320), arguments.seed)
    linear = synth.srgb_to_linear(whole.astype(np.float32) / 255.0)
    compare_layered(linear, CAMERA.coc_px(depth_m), arguments.repeats, 1)


if __name__ == "__main__":
    main()
