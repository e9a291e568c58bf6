"""Where the scenes of synthetic pairs come from. A new source is a file and a line here."""

from pipelines.errors import UserError
from pipelines.storage import locate
from pipelines.synthesis.config import MADE, MOTORCYCLE, SynthConfig
from pipelines.synthesis.scene_sources.folder import folder_scenes
from pipelines.synthesis.scene_sources.made import made_scenes
from pipelines.synthesis.scene_sources.motorcycle import motorcycle_scenes
from pipelines.synthesis.scene_sources.nyu import nyu_scenes
from pipelines.synthesis.scene_sources.source import Picture, SceneReader, Scenes, SceneUnit
from pipelines.synthesis.scene_sources.synthia import SYNTHIA, synthia_scenes

__all__ = ["Picture", "SceneReader", "SceneUnit", "Scenes", "open_scenes"]


def open_scenes(config: SynthConfig) -> Scenes:
    """Find what ``source`` names. Raises UserError where it is nothing that can be used."""
    if config.source == MOTORCYCLE:
        return motorcycle_scenes()
    if config.source in MADE:
        assert config.height_width is not None  # the configuration sees to it
        return made_scenes(
            config.source,
            seed=config.seed,
            size=config.height_width,
            pairs=config.pairs,
            textures=config.textures,
        )
    place = locate(config.source)
    if place.name.lower().endswith(".mat"):
        return nyu_scenes(place)
    sizes = place.walk() if place.exists() else {}
    scenes = synthia_scenes(place, sizes) or folder_scenes(
        place, sizes, config.depth_unit, scene_of=config.scene_of
    )
    if not scenes.pictures:
        raise UserError(
            f"there are no RGB-D scenes at {place}; source is {', '.join(MADE)}, {MOTORCYCLE}, a "
            "folder of NNN_image.png with NNN_depth.png, a folder of SYNTHIA-SF "
            "(SEQ1/RGBLeft, SEQ1/DepthLeft) or NYU Depth v2's labelled .mat file"
        )
    if scenes.kind == SYNTHIA and (config.depth_unit != "mm" or config.scene_of != "folder"):
        raise UserError(
            f"{place} is a folder of SYNTHIA-SF, whose depth has a unit of its own and whose "
            "scenes are its sequences: leave depth_unit and scene_of out"
        )
    return scenes
