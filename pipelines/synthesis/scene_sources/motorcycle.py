"""The one real RGB-D scene that comes with scikit-image."""

from dataclasses import dataclass

from pipelines.dataset.record import Source
from pipelines.synthesis.config import MOTORCYCLE
from pipelines.synthesis.scene_sources.source import Picture, Scenes, SceneUnit
from synth.scene import Scene
from synth.sources.motorcycle import motorcycle_scene

# The file is the package's: its version stands in the manifest.
_SOURCE = Source(role="image", file="skimage:stereo_motorcycle", sha256="")


@dataclass(frozen=True, slots=True)
class MotorcycleReader:
    """Reads it from the package."""

    def read(self, unit: SceneUnit) -> tuple[Scene, tuple[Source, ...]]:
        """See SceneReader."""
        return motorcycle_scene(), self.sources(unit)

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """See SceneReader."""
        return (_SOURCE,)


def motorcycle_scenes() -> Scenes:
    """The one scene there is."""
    return Scenes(
        kind=MOTORCYCLE,
        reader=MotorcycleReader(),
        pictures=[Picture(picture_id=MOTORCYCLE, scene_id=MOTORCYCLE)],
    )
