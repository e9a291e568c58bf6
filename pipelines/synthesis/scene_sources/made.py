"""Scenes of our own, a new one for each pair, with photographs on their surfaces."""

from dataclasses import dataclass

from pipelines.dataset.record import Source
from pipelines.errors import UserError
from pipelines.making.shards import BadInput, fault_of_input, reason_of
from pipelines.storage import locate
from pipelines.synthesis.config import PLACES
from pipelines.synthesis.scene_sources.source import Picture, Scenes, SceneUnit
from pipelines.synthesis.textures import TextureShelf
from synth.randomness import generator
from synth.scene import Scene
from synth.sources.places import place_scene
from synth.sources.procedural import procedural_scene


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeReader:
    """Makes a scene; its random numbers follow from (seed, pair_id)."""

    kind: str
    """places or procedural."""
    seed: int
    size: tuple[int, int]
    """Height and width in pixels."""
    shelf: TextureShelf

    def read(self, unit: SceneUnit) -> tuple[Scene, tuple[Source, ...]]:
        """See SceneReader."""
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
        rng = generator(self.seed, f"{unit.pair_id}/scene")
        make = place_scene if self.kind == PLACES else procedural_scene
        scene = make(rng, scene_id=unit.scene_id, size=self.size, textures=pictures)
        return scene, tuple(sources)

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """Return the photographs."""
        return tuple(self.shelf.source(name) for name in unit.textures)


def made_scenes(
    kind: str, *, seed: int, size: tuple[int, int], pairs: int, textures: str
) -> Scenes:
    """As many scenes as pairs. kind: places or procedural.

    textures: skimage, none, or a folder of photographs.

    Raises UserError where there are no photographs.
    """
    shelf = _shelf_of(textures)
    names = shelf.names() if textures != "none" else []
    if not names and textures != "none":
        raise UserError(f"there are no pictures at {shelf.folder}; textures must name their folder")
    ids = [f"scene-{number:06d}" for number in range(pairs)]
    return Scenes(
        kind=kind,
        reader=MadeReader(kind=kind, seed=seed, size=size, shelf=shelf),
        pictures=[Picture(picture_id=scene_id, scene_id=scene_id) for scene_id in ids],
        textures=names,
        locations=[shelf.folder] if shelf.folder is not None else [],
    )


def _shelf_of(textures: str) -> TextureShelf:
    if textures in ("skimage", "none"):
        return TextureShelf(folder=None)
    folder = locate(textures)
    if not folder.exists():
        raise UserError(
            f"there is nothing at {folder}; textures must be skimage, none or a folder of "
            "photographs"
        )
    return TextureShelf(folder=folder)
