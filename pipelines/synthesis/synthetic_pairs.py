"""Makes one synthetic pair: its scene, its camera, its kernels. Runs inside the workers."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

import synth
from pipelines.dataset.record import Pair, Provenance, Source
from pipelines.making.provenance import processor_kind
from pipelines.making.shards import BadInput, fault_of_input, reason_of
from pipelines.synthesis.camera_config import shot_ranges
from pipelines.synthesis.config import CAMERA, MADE, SynthConfig
from pipelines.synthesis.measured_kernels import LoadedBank
from pipelines.synthesis.preset_values import published_preset
from pipelines.synthesis.scene_sources import SceneReader, SceneUnit
from synth.choices import LEAST_BLUR
from synth.sources.fit import fit_scene
from synth.sources.vary import mirrored, recoloured


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticPairs:
    """Makes synthetic pairs; every random number follows from (seed, pair_id)."""

    config: SynthConfig
    reader: SceneReader
    bank: LoadedBank | None = None

    def __call__(self, unit: SceneUnit) -> Pair:
        """Read or make the scene and photograph it. Raises BadInput."""
        with _as_ray_counts(self.config.device):
            try:
                scene, sources = self.reader.read(unit)
                if self.config.source not in MADE:
                    scene = self._part(unit, scene, sources)
                return self._photograph(unit, scene, sources)
            except BadInput:
                raise
            except Exception as error:  # OpenCV's is no OSError and no ValueError
                if not fault_of_input(error):
                    raise
                raise BadInput(
                    reason_of(error), path=unit.path, stage="render", sources=self.sources(unit)
                ) from error

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """Return the files of the scene, and of measured kernels, with their checksums."""
        return (*self.reader.sources(unit), *self._kernels_source())

    def note(self, pair: Pair) -> None:
        """Nothing: what a synthetic pair was made with stands in its row."""

    def processor(self) -> str:
        """Return the kind of processor, or of GPU, that pairs are made on."""
        return processor_kind(self.config.device)

    def _kernels_source(self) -> tuple[Source, ...]:
        return () if self.bank is None else (self.bank.source,)

    def _photograph(self, unit: SceneUnit, scene: synth.Scene, sources: tuple[Source, ...]) -> Pair:
        config = self.config
        noise = synth.generator(config.seed, f"{unit.pair_id}/noise")
        parameters: synth.ShotParameters | synth.PairParameters
        if config.preset == CAMERA:
            files: dict[str, Any] = {}
            drawn = synth.generator(config.seed, f"{unit.pair_id}/camera")
            parameters = synth.draw_shot(drawn, scene, shot_ranges_of(config))
            bank = self.bank.bank if self.bank else None
            (made,) = synth.photograph(
                [scene], [parameters], [noise], bank=bank, device=config.device
            )
        else:
            parameters, files = self._parameters(unit, scene)
            made = synth.synthesize(
                scene,
                parameters,
                noise,
                bank=self.bank.bank if self.bank and parameters.family == "measured" else None,
            )
        return Pair(
            pair_id=unit.pair_id,
            scene_id=unit.scene_id,
            dataset=config.dataset,
            split=unit.split,
            left=made.left,
            right=made.right,
            target=made.target,
            combined=made.combined,
            coc=made.coc_px.astype(np.float16),
            provenance=Provenance(
                sources=(*sources, *self._kernels_source()),
                kernel_family=config.preset if unit.part is not None else parameters.family,
                parameters=parameters.as_dict() | files,
                seed=config.seed,
            ),
        )

    def _parameters(
        self, unit: SceneUnit, scene: synth.Scene
    ) -> tuple[synth.PairParameters, dict[str, Any]]:
        """Return what to make of the scene, and under which names a published set has it."""
        config = self.config
        preset = published_preset(config.preset)
        if preset is not None and unit.part is not None:
            part = preset.parts[unit.part]
            number = part.number(unit.picture.number)
            names = [n.of(number, unit.picture.frame) for n in (part.files, *part.copies)]
            distorted = config.radial_distortion > 0
            return preset.parameters(part, radial_distortion=distorted), {"files": names}
        rng = synth.generator(config.seed, f"{unit.pair_id}/camera")
        return synth.sample_parameters(rng, scene, ranges_of(config)), {}

    def _part(
        self, unit: SceneUnit, scene: synth.Scene, sources: tuple[Source, ...]
    ) -> synth.Scene:
        """Take a part of the configured size at a scale and place drawn for this pair, mirrored or
        not and in colours drawn for it, too."""
        config = self.config
        rng = synth.generator(config.seed, f"{unit.pair_id}/look")
        if rng.random() < config.mirror:
            scene = mirrored(scene)
        scene = self._fitted(unit, scene, sources)
        return recoloured(scene, rng, config.recolour) if config.recolour else scene

    def _fitted(
        self, unit: SceneUnit, scene: synth.Scene, sources: tuple[Source, ...]
    ) -> synth.Scene:
        size = self.config.height_width
        if size is None:
            return scene
        have = scene.image.shape
        if have[0] < size[0] or have[1] < size[1]:  # enlarged, it would not be sharp any more
            raise BadInput(
                f"the scene is {have[0]}x{have[1]}, smaller than size={self.config.size}",
                path=unit.path,
                stage="check",
                sources=sources,
            )
        return fit_scene(scene, size, synth.generator(self.config.seed, f"{unit.pair_id}/part"))


def ranges_of(config: SynthConfig) -> synth.PairRanges:
    """Return what is drawn for the pairs of a set of our own."""
    return synth.PairRanges(
        families=tuple(config.kernels),
        weights=_weights_of(config),
        cameras=_cameras_of(config),
        bit_depth=config.bit_depth,
        renderer=config.renderer,
        composite=config.composite,
        light=config.light,
        shot_noise=config.shot_noise,
        read_noise=config.read_noise,
        radial_distortion=config.radial_distortion,
        gain=config.gain,
    )


def shot_ranges_of(config: SynthConfig) -> synth.ShotRanges:
    """Return what is drawn for the pairs of preset camera."""
    return shot_ranges(
        config.optics,
        config.sensor,
        config.target,
        families=tuple(config.kernels),
        weights=_weights_of(config),
        gain=config.gain,
        shot_noise=config.shot_noise,
        read_noise=config.read_noise,
        bit_depth=config.bit_depth,
    )


def _weights_of(config: SynthConfig) -> tuple[float, ...] | None:
    return None if config.kernel_weights is None else tuple(config.kernel_weights)


def _cameras_of(config: SynthConfig) -> synth.CameraRanges | synth.LensRanges:
    most_px, lens = config.max_coc_px, config.lens
    assert most_px is not None  # the configuration sees to it
    if lens.focal_length_mm is None:
        least_px = LEAST_BLUR * most_px if config.min_coc_px is None else config.min_coc_px
        return synth.CameraRanges(extreme_coc_px=(least_px, most_px))
    drawn = {key: getattr(lens, key) for key in ("focal_length_mm", "f_number", "focus_distance_m")}
    return synth.LensRanges(
        **{key: (ends[0], ends[-1]) for key, ends in drawn.items() if ends is not None},
        sensor_width_mm=lens.sensor_width_mm,
        max_coc_px=most_px,
    )


@contextmanager
def _as_ray_counts(device: str) -> Iterator[None]:
    """One thread of torch and of OpenCV, as Ray counts one CPU for the task and sums come out in
    one order; and the device that kernels are applied on."""
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with nullcontext() if device == "cpu" else torch.device(device):
            yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
