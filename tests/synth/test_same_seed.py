"""A seed makes the scenes that it always made.

`synth` promises that random numbers follow from (seed, pair_id): who makes a version again with
another release gets its scenes again, unless that release says that they are others. The figures
below are what scenes looked like when they were written down. After a change that is meant to make
other scenes, renew them, and say so in the commit: `python -m tests.synth.test_same_seed`.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synth import Scene, generator
from synth.sources import places
from synth.sources.places import place_scene
from synth.sources.procedural import procedural_scene

STORED = Path(__file__).with_suffix(".json")
SEEDS = 4
SIZE = (48, 64)
PLACES: dict[str, Callable[..., object]] = {b.__name__: b for b, _ in places._PLACES}
KINDS = ("procedural", *PLACES)


def figures(scene: Scene) -> list[float]:
    """Mean light of nine parts and of the three colours, and the depth at five quantiles."""
    rows = [np.array_split(row, 3, axis=1) for row in np.array_split(scene.image, 3)]
    light = [float(part.mean()) for row in rows for part in row]
    colours = [float(value) for value in scene.image.mean(axis=(0, 1))]
    depth_m = np.quantile(scene.depth_m, [0.05, 0.25, 0.5, 0.75, 0.95])
    return [round(value, 4) for value in (*light, *colours, *np.log(depth_m).tolist())]


def made(kind: str, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    rng = np.random.default_rng(1)
    photographs = [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(3)]
    if kind in PLACES:
        monkeypatch.setattr(places, "_PLACES", ((PLACES[kind], 1.0),))
    make = place_scene if kind in PLACES else procedural_scene
    return [
        figures(make(generator(seed, kind), scene_id="s", size=SIZE, textures=photographs))
        for seed in range(SEEDS)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_the_scenes_that_it_always_made(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = json.loads(STORED.read_text())[kind]
    np.testing.assert_allclose(made(kind, monkeypatch), stored, atol=2e-3)


def main() -> None:
    """Write the figures down anew."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = {kind: made(kind, monkeypatch) for kind in KINDS}
    rows = ",\n".join(f' "{kind}": {json.dumps(scenes)}' for kind, scenes in found.items())
    STORED.write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
