"""How like photographs scenes are: gradients, power spectrum and depth of our sources beside
photographs and RGB-D scenes.

    K3DN_SAMPLES=... python -m tests.benchmarks.scene_statistics [--scenes 24]

Of each picture, shrunk to the size asked for: kurtosis of the horizontal differences of log
luminance (3 is a Gaussian's), share of differences below one per cent, slope of the logarithm of
the power spectrum over that of frequency, mean saturation. Of each depth map:
nearest and farthest hundredth, share of neighbouring pixels at steps (inverse depth changes by more
than 3% of its range), median height of a step, share on slopes.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

import synth
from synth import Scene
from synth.sources.fit import fit_scene
from synth.sources.folder import read_rgbd
from synth.sources.places import place_scene
from synth.sources.procedural import procedural_scene
from synth.sources.textures import skimage_textures

GREY = np.array([0.2126, 0.7152, 0.0722])


def picture_figures(image: np.ndarray) -> dict[str, float]:
    """Of an sRGB picture in [0, 1], (H, W, 3)."""
    light = synth.srgb_to_linear(image.astype(np.float64)) @ GREY
    change = np.diff(np.log(light + 0.01), axis=1).ravel()
    centred = change - change.mean()
    kurtosis = (centred**4).mean() / max((centred**2).mean() ** 2, 1e-12)
    side = min(light.shape)
    part = light[:side, :side]
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    edges = np.geomspace(0.02, 0.4, 13)
    rings = [
        (np.sqrt(a * b), power[(frequency >= a) & (frequency < b)].mean())
        for a, b in pairwise(edges)
    ]
    middles, powers = np.log(np.array(rings)).T
    slope = np.polyfit(middles, powers, 1)[0]
    saturation = (image.max(axis=2) - image.min(axis=2)) / np.maximum(image.max(axis=2), 0.02)
    return {
        "kurtosis": kurtosis,
        "flat": (np.abs(change) < 0.01).mean(),
        "slope": slope,
        "saturation": saturation.mean(),
    }


def depth_figures(depth_m: np.ndarray) -> dict[str, float]:
    """Of a depth map in metres, (H, W)."""
    dioptres = 1.0 / depth_m.astype(np.float64)
    far, near = np.quantile(dioptres, [0.01, 0.99])
    change = np.abs(np.diff(dioptres, axis=1)) / (near - far)
    steps = change > 0.03
    return {
        "near": 1.0 / near,
        "far": 1.0 / far,
        "steps": steps.mean(),
        "height": np.median(change[steps]) if steps.any() else 0.0,
        "slopes": ((change > 2e-4) & ~steps).mean(),
    }


def sources(size: tuple[int, int]) -> Iterator[tuple[str, Callable[[int], Scene]]]:
    """Name and the n-th scene of each source that is at hand."""
    folder = Path(os.environ["K3DN_SAMPLES"])
    read = (cv2.imread(str(f)) for f in sorted((folder / "sharp").glob("*.jpg")))
    sharp = [picture[..., ::-1] for picture in read if picture is not None]
    bundled = list(skimage_textures().values())

    def photograph(number: int) -> Scene:
        picture = sharp[number % len(sharp)].astype(np.float32) / 255.0
        whole = Scene("photograph", picture, np.ones(picture.shape[:2], np.float32))
        return fit_scene(whole, size)

    def rgbd(number: int) -> Scene:
        name = sorted((folder / "rgbd").glob("*_image.png"))[number % 64]
        depth = name.with_name(name.name.replace("image", "depth"))
        with name.open("rb") as image_file, depth.open("rb") as depth_file:
            return read_rgbd(image_file, depth_file, scene_id=name.stem, size=size)

    def of(make: Callable[..., Scene], pictures: list[np.ndarray]) -> Callable[[int], Scene]:
        def one(number: int) -> Scene:
            count = len(pictures)
            chosen = [pictures[(7 * number + 11 * k) % count] for k in range(6) if count]
            rng = synth.generator(0, f"scene-{number:06d}")
            return make(rng, scene_id="s", size=size, textures=chosen)

        return one

    yield "photographs (sharp)", photograph
    yield "rgbd", rgbd
    yield "places, sharp", of(place_scene, sharp)
    yield "places, skimage", of(place_scene, bundled)
    yield "places, none", of(place_scene, [])
    yield "procedural, sharp", of(procedural_scene, sharp)
    yield "procedural, none", of(procedural_scene, [])


def main() -> None:
    """Print a table, medians over the scenes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--size", default="384x512")
    options = parser.parse_args()
    height, width = (int(n) for n in options.size.split("x"))
    for name, scene_of in sources((height, width)):
        rows, seconds = [], []
        for number in range(options.scenes):
            started = time.process_time()
            scene = scene_of(number)
            seconds.append(time.process_time() - started)
            row = picture_figures(scene.image)
            if not name.startswith("photographs"):
                row |= depth_figures(scene.depth_m)
            rows.append(row)
        medians = {key: float(np.median([row[key] for row in rows])) for key in rows[0]}
        cells = "  ".join(f"{key} {value:.3g}" for key, value in medians.items())
        print(f"{name:22} {cells}  s {np.median(seconds):.2f}", flush=True)


if __name__ == "__main__":
    main()
