"""Which scene a position of training looks at, and with which camera: pure functions of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.synthesis.camera_config import shot_ranges
from pipelines.training.live.config import LiveConfig
from pipelines.training.live.pack import Pack, PackedScene
from synth.randomness import generator
from synth.scene import Scene
from synth.shot import ShotParameters, draw_shot
from synth.shot_ranges import ShotRanges
from synth.sources.fit import fit_scene
from synth.sources.places import place_scene
from synth.sources.procedural import procedural_scene
from synth.sources.vary import mirrored, recoloured

LANES = 240
"""Positions this far apart look at the same made-up scene, a while. So a process that makes each
n-th position, n a divisor, makes each scene once; and a batch holds as many scenes as pairs."""
_TEXTURES = 6
_UPSIDE_DOWN = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Unexposed:
    """All that a pair is made of, before the lens."""

    position: int
    name: str
    """Of the scene."""
    srgb: NDArray[np.uint16]
    """(H, W, 3), sharp everywhere, 65535 is white."""
    coc_px: NDArray[np.float32]
    """(H, W), signed blur radius, near positive."""
    shot: ShotParameters
    seed: int
    """Of its noise."""


class LiveScenes:
    """The scenes of a split, by position."""

    def __init__(self, pack: Pack, config: LiveConfig, *, seed: int, split: str) -> None:
        """Raises UserError where the pack has no scenes that the configuration asks for."""
        self._config, self._seed, self._split = config, seed, split
        self._ranges = ranges_of(config)
        self._scenes = [_scene(s) for s in pack.scenes if s.split == split]
        self._textures = [p.image for p in pack.photographs if p.split == split]
        if config.made < 1.0 and not self._scenes:
            raise UserError(
                f"the pack has no RGB-D scenes to {split} on; set live.made=1, or pack some"
            )
        self._made: dict[int, tuple[tuple[int, int, int], Scene]] = {}

    def take(self, position: int, size: tuple[int, int]) -> Unexposed:
        """Return what the pair at a position is made of; it will be of that height and width."""
        rng = self._stream(f"{position} look")
        made = rng.random() < self._config.made
        if made:
            scene = self._made_up(position, size)
        else:
            scene = self._scenes[int(rng.integers(len(self._scenes)))]
        scene = fit_scene(scene, size, rng)
        if rng.random() < 0.5:
            scene = mirrored(scene)
        if rng.random() < _UPSIDE_DOWN:
            scene = _upside_down(scene)
        if self._config.recolour and not made:
            scene = recoloured(scene, rng, self._config.recolour)
        shot = draw_shot(self._stream(f"{position} camera"), scene, self._ranges)
        return Unexposed(
            position,
            scene.scene_id,
            np.rint(np.clip(scene.image, 0.0, 1.0) * 65535.0).astype(np.uint16),
            shot.camera.coc_px(scene.depth_m, max_coc_px=shot.max_coc_px),
            shot,
            int(self._stream(f"{position} noise").integers(1 << 62)),
        )

    def _made_up(self, position: int, size: tuple[int, int]) -> Scene:
        lane, turn = position % LANES, position // LANES
        # Lanes change their scenes one after the other, not all at once.
        key = ((turn + lane * self._config.reuse // LANES) // self._config.reuse, *size)
        if self._made.get(lane, (None,))[0] != key:
            self._made[lane] = key, self._build(f"made-{lane}-{key[0]}", size)
        return self._made[lane][1]

    def _build(self, name: str, size: tuple[int, int]) -> Scene:
        """A scene to cut pairs from: half as high again, and twice as wide."""
        rng = self._stream(name)
        build = place_scene if rng.random() < self._config.places else procedural_scene
        chosen = rng.permutation(len(self._textures))[:_TEXTURES]
        textures = [self._textures[int(number)] for number in chosen]
        whole = size[0] * 3 // 2, size[1] * 2
        return build(rng, scene_id=name, size=whole, textures=textures)

    def _stream(self, name: str) -> np.random.Generator:
        return generator(self._seed, f"live {self._split} {name}")


def ranges_of(config: LiveConfig) -> ShotRanges:
    """Return what is drawn for each pair."""
    return shot_ranges(
        config.optics,
        config.sensor,
        config.target,
        shot_noise=config.shot_noise,
        read_noise=config.read_noise,
        gain=config.gain,
        families=tuple(config.kernels),
        weights=None if config.kernel_weights is None else tuple(config.kernel_weights),
    )


def _scene(packed: PackedScene) -> Scene:
    assert packed.depth_mm is not None
    image = packed.image.astype(np.float32) / np.float32(255.0)
    return Scene(packed.name, image, packed.depth_mm.astype(np.float32) / np.float32(1e3))


def _upside_down(scene: Scene) -> Scene:
    image, depth_m = (np.ascontiguousarray(a[::-1]) for a in (scene.image, scene.depth_m))
    return Scene(scene.scene_id, image, depth_m)


def names(items: Sequence[Unexposed]) -> list[str]:
    """Return what pairs are called in the record of a run."""
    return [f"synth/{item.position}/{item.name}" for item in items]
