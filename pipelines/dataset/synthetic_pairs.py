"""Makes one synthetic pair: its scene, its camera, its kernels. Runs inside the workers."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.dataset.config import SynthConfig
from pipelines.dataset.record import Pair, Provenance, Source
from pipelines.dataset.scenes import MOTORCYCLE, PROCEDURAL, SceneUnit
from pipelines.dataset.shards import BadInput, fault_of_input, file_source, reason_of
from pipelines.dataset.textures import TextureShelf
from pipelines.storage import Location

if TYPE_CHECKING:  # importing synth imports torch, which only the workers need
    import synth

# The file is the package's: its version stands in the manifest.
_MOTORCYCLE_SOURCE = Source(role="image", file="skimage:stereo_motorcycle", sha256="")


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticPairs:
    """Makes synthetic pairs; every random number follows from (seed, pair_id)."""

    config: SynthConfig
    folder: Location | None
    """The folder of RGB-D scenes; None for the other sources."""
    shelf: TextureShelf

    def __call__(self, unit: SceneUnit) -> Pair:
        """Read or make the scene and photograph it. Raises BadInput."""
        with _one_thread():
            try:
                scene, sources = self._scene(unit)
                return self._photograph(unit, scene, sources)
            except BadInput:
                raise
            except Exception as error:  # OpenCV's is no OSError and no ValueError
                if not fault_of_input(error):
                    raise
                path = unit.files[0][1] if unit.files else unit.scene_id
                raise BadInput(
                    reason_of(error), path=path, stage="render", sources=self.sources(unit)
                ) from error

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """Return the files of the scene and its photographs with their checksums."""
        if self.config.source == MOTORCYCLE:
            return (_MOTORCYCLE_SOURCE,)
        folder = self.folder
        found = [file_source(r, p, folder.child(p)) for r, p, _ in unit.files if folder is not None]
        return (*found, *(self.shelf.source(name) for name in unit.textures))

    def _photograph(
        self,
        unit: SceneUnit,
        scene: "synth.Scene",
        sources: tuple[Source, ...],
    ) -> Pair:
        import synth

        config = self.config
        parameters = synth.sample_parameters(
            synth.generator(config.seed, f"{unit.pair_id}/camera"),
            scene,
            families=config.kernels,
            max_coc_px=config.max_coc_px,
            bit_depth=config.bit_depth,
        )
        made = synth.synthesize(
            scene, parameters, synth.generator(config.seed, f"{unit.pair_id}/noise")
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
                sources=sources,
                kernel_family=parameters.family,
                parameters=parameters.as_dict(),
                seed=config.seed,
            ),
        )

    def _scene(self, unit: SceneUnit) -> tuple["synth.Scene", tuple[Source, ...]]:
        """Return the scene at the configured size, and its files."""
        if self.config.source == PROCEDURAL:
            return self._procedural(unit)
        if self.config.source == MOTORCYCLE:
            from synth.sources.motorcycle import motorcycle_scene

            scene = motorcycle_scene()
            sources: tuple[Source, ...] = (_MOTORCYCLE_SOURCE,)
        else:
            scene, sources = self._from_folder(unit)
        return self._part(unit, scene, sources), sources

    def _procedural(self, unit: SceneUnit) -> tuple["synth.Scene", tuple[Source, ...]]:
        import synth
        from synth.sources.procedural import procedural_scene

        pictures, sources = [], []
        for name in unit.textures:
            try:
                picture, source = self.shelf.picture(name)
            except (ValueError, OSError) as error:
                if not fault_of_input(error):
                    raise
                reason = reason_of(error).removeprefix(f"{name}: ")
                raise BadInput(
                    reason, path=name, stage="decode", sources=self.sources(unit)
                ) from error
            pictures.append(picture)
            sources.append(source)
        size = self.config.height_width
        if size is None:
            raise ValueError("procedural scenes have no size of their own")
        rng = synth.generator(self.config.seed, f"{unit.pair_id}/scene")
        scene = procedural_scene(rng, scene_id=unit.scene_id, size=size, textures=pictures)
        return scene, tuple(sources)

    def _from_folder(self, unit: SceneUnit) -> tuple["synth.Scene", tuple[Source, ...]]:
        from synth.sources.folder import read_rgbd

        folder = self.folder
        assert folder is not None
        files, sources = [], []
        for role, path, _ in unit.files:
            try:
                data = folder.child(path).read_bytes()
            except OSError as error:
                if not fault_of_input(error):
                    raise
                raise BadInput(
                    reason_of(error), path=path, stage="read", sources=self.sources(unit)
                ) from error
            files.append(io.BytesIO(data))
            sources.append(Source(role=role, file=path, sha256=hashlib.sha256(data).hexdigest()))
        try:
            scene = read_rgbd(
                files[0], files[1], scene_id=unit.scene_id, depth_unit=self.config.depth_unit
            )
        except ValueError as error:
            raise BadInput(
                str(error), path=unit.files[0][1], stage="decode", sources=sources
            ) from error
        return scene, tuple(sources)

    def _part(
        self, unit: SceneUnit, scene: "synth.Scene", sources: tuple[Source, ...]
    ) -> "synth.Scene":
        """Take a part of the configured size, at a scale and place drawn for this pair."""
        import synth
        from synth.sources.fit import fit_scene

        size = self.config.height_width
        if size is None:
            return scene
        have = scene.image.shape
        if have[0] < size[0] or have[1] < size[1]:  # enlarged, it would not be sharp any more
            raise BadInput(
                f"the scene is {have[0]}x{have[1]}, smaller than size={self.config.size}",
                path=unit.files[0][1] if unit.files else unit.scene_id,
                stage="check",
                sources=sources,
            )
        return fit_scene(scene, size, synth.generator(self.config.seed, f"{unit.pair_id}/part"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: Ray counts one CPU for the task, and sums come out in one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
