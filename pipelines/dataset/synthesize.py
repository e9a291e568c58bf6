"""The step ``synth``: dual-pixel pairs from RGB-D scenes become a dataset version."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pipelines.config import SHARED_KEYS, as_dict
from pipelines.dataset.config import SynthConfig
from pipelines.dataset.plan import Reject, make_plan
from pipelines.dataset.provenance import code_fingerprint
from pipelines.dataset.publish import VersionResult, cheap_to_read, publish
from pipelines.dataset.scenes import MOTORCYCLE, PROCEDURAL, SceneFiles, plan_scenes
from pipelines.dataset.synthetic_pairs import SyntheticPairs
from pipelines.dataset.textures import TextureShelf
from pipelines.errors import UserError
from pipelines.storage import Location, locate

_CODE = ("pipelines.dataset", "synth")


def run(config: SynthConfig) -> VersionResult:
    """Make the dataset version. Raises UserError."""
    root = locate(config.root)
    folder, scenes, rejects = _scenes_of(config)
    shelf = _shelf_of(config)
    textures = shelf.names() if shelf is not None else []
    if shelf is not None and not textures:
        raise UserError(f"there are no pictures at {shelf.folder}; textures names their folder")
    units = plan_scenes(config, scenes=scenes, textures=textures)
    code = code_fingerprint(_CODE)
    settings = {key: value for key, value in as_dict(config).items() if key not in SHARED_KEYS}
    plan = make_plan(
        dataset=config.dataset,
        version=config.version,
        units=units,
        rejects=rejects,
        content_config=_content(config),
        pairs_per_shard=config.pairs_per_shard,
    )
    return publish(
        plan,
        root,
        SyntheticPairs(
            config=_anywhere(config), folder=folder, shelf=shelf or TextureShelf(folder=None)
        ),
        config=settings,
        code=code,
        max_rejected=config.max_rejected,
        move_latest=config.set_latest,
        ray_address=config.ray_address,
        read_inputs=cheap_to_read(folder, shelf.folder if shelf is not None else None),
    )


def _scenes_of(
    config: SynthConfig,
) -> tuple[Location | None, Mapping[str, SceneFiles], list[Reject]]:
    """Return the folder of RGB-D scenes, the files of each scene, and what has no partner."""
    if config.source in (PROCEDURAL, MOTORCYCLE):
        return None, {}, []
    from synth.sources.folder import pair_files

    folder = locate(config.source)
    sizes = folder.walk() if folder.exists() else {}
    try:
        found = pair_files(list(sizes))
    except ValueError as error:
        raise UserError(f"{folder}: {error}; remove one of them") from error
    scenes = {
        files.scene_id: (
            ("image", files.image, sizes[files.image]),
            ("depth", files.depth, sizes[files.depth]),
        )
        for files in found
    }
    if not scenes:
        raise UserError(
            f"there are no RGB-D scenes at {folder}; source is {PROCEDURAL}, {MOTORCYCLE} or a "
            "folder of NNN_image.png with NNN_depth.png"
        )
    paired = {path for files in scenes.values() for _, path, _ in files}
    return folder, scenes, [r for path in sizes if (r := _lonely(path, paired)) is not None]


def _lonely(path: str, paired: set[str]) -> Reject | None:
    """Return the reject for an image without depth or depth without image."""
    scene_id, _, ending = path.rpartition(".")[0].rpartition("_")
    partner = {"image": "depth", "depth": "image"}.get(ending.lower())
    if path in paired or partner is None:
        return None
    reason = f"there is no {partner} for it"
    return Reject(pair_id=scene_id, split="", path=path, reason=reason, stage="discover")


def _shelf_of(config: SynthConfig) -> TextureShelf | None:
    if config.source != PROCEDURAL or config.textures == "none":
        return None
    if config.textures == "skimage":
        return TextureShelf(folder=None)
    folder = locate(config.textures)
    if not folder.exists():
        raise UserError(
            f"there is nothing at {folder}; textures is skimage, none or a folder of photographs"
        )
    return TextureShelf(folder=folder)


def _content(config: SynthConfig) -> dict[str, Any]:
    """The settings that decide pixels: not where things lie, and not how strict the run is."""
    kept = ("kernels", "size", "max_coc_px", "bit_depth", "seed", "depth_unit")
    values = {key: value for key, value in asdict(config).items() if key in kept}
    known = config.source in (PROCEDURAL, MOTORCYCLE)
    return values | {"source": config.source if known else "folder"}


def _anywhere(config: SynthConfig) -> SynthConfig:
    """The configuration without what a worker has no business with."""
    return replace(config, root="", tracking_uri=None, ray_address=None)
