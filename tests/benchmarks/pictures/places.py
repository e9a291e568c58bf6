"""Places without photographs, and their depth."""

import numpy as np

import synth
from synth.sources.places import place_scene
from tests.benchmarks.pictures.drawing import Cell, Picture, table

_NUMBERS = (100, 103, 107, 113, 116, 112)


def places() -> Picture:
    """Scenes of our own patterns alone; below each, depth, near bright, in the logarithm."""
    pictures: list[Cell | None] = []
    depths: list[Cell | None] = []
    for number in _NUMBERS:
        rng = synth.generator(0, f"p{number}")
        scene = place_scene(rng, scene_id="s", size=(132, 176))
        far, near = np.log(scene.depth_m.max()), np.log(scene.depth_m.min())
        share = (far - np.log(scene.depth_m)) / (far - near)
        grey = np.rint(255 * share).astype(np.uint8)
        pictures.append(Cell(np.rint(255 * scene.image).astype(np.uint8)))
        depths.append(
            Cell(
                np.repeat(grey[..., None], 3, axis=2),
                f"{scene.depth_m.min():.1f} to {scene.depth_m.max():.1f} m",
            )
        )
    half = len(pictures) // 2
    return table([pictures[:half], depths[:half], pictures[half:], depths[half:]])
