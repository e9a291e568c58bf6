"""Make a pack of RGB-D scenes and sharp photographs, small enough to carry to a lent machine.

    python -m pipelines.training.live.make_pack scenes=FOLDER photographs=FOLDER output=PACK

scenes: NAME_image with NAME_depth (16-bit millimetres). Pictures are made smaller to ``height``
pixels (scenes) and ``side`` pixels on their shorter side (photographs), which are cut square. With
``jpeg=95`` a third of the bytes hold as much, for a reader that has OpenCV. Every
``val``-th scene and photograph is held out. Nothing of it belongs into a repository.
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import UserError
from pipelines.plain_keys import read_keys
from pipelines.training.live.pack import PackedScene, pack_bytes
from synth.pictures import decode
from synth.sources.fit import fit_scene
from synth.sources.folder import pair_files, read_rgbd
from synth.sources.patterns import resize
from synth.sources.textures import as_unit_float

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackConfig:
    """What goes into a pack."""

    scenes: str | None = None
    """Folder of RGB-D scenes."""
    photographs: str | None = None
    """Folder of sharp photographs."""
    output: str = "k3dn-data/pack"
    """The file to write."""
    height: int = 450
    """Height of the scenes, pixels; smaller ones stay as they are."""
    side: int = 384
    """Side of the photographs, pixels."""
    jpeg: int | None = None
    """Quality of JPEGs that the pictures are stored as, 80 to 100; none: without loss."""
    val: int = 10
    """One of so many is held out for validation."""
    most_mib: float = 40.0
    """What the file may have at most."""


def make_pack(config: PackConfig) -> int:
    """Write the pack; return its bytes. Raises UserError for what the user can mend."""
    if config.scenes is None and config.photographs is None:
        raise UserError("name a folder: scenes=FOLDER, photographs=FOLDER, or both")
    pictures = [*_scenes(config), *_photographs(config)]
    if config.jpeg is not None and not 80 <= config.jpeg <= 100:
        raise UserError(f"jpeg must lie in 80 to 100, got {config.jpeg}")
    data = pack_bytes(pictures, jpeg=config.jpeg)
    if len(data) > config.most_mib * 2**20:
        raise UserError(
            f"the pack has {len(data) / 2**20:.1f} MiB, more than most_mib={config.most_mib:g}; "
            f"lower height ({config.height}) or side ({config.side})"
        )
    path = Path(config.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return len(data)


def _scenes(config: PackConfig) -> list[PackedScene]:
    if config.scenes is None:
        return []
    folder = _folder(config.scenes)
    found, _ = pair_files([str(p.relative_to(folder)) for p in sorted(folder.rglob("*"))])
    if not found:
        raise UserError(f"there are no scenes (NAME_image with NAME_depth) at {folder}")
    packed = []
    for number, files in enumerate(found):
        image, depth = (io.BytesIO((folder / n).read_bytes()) for n in (files.image, files.depth))
        try:
            scene = read_rgbd(image, depth, scene_id=files.scene_id)
        except ValueError as error:
            raise UserError(str(error)) from error
        height, width = scene.depth_m.shape
        if height > config.height:
            scene = fit_scene(scene, (config.height, round(width * config.height / height)))
        depth_mm = np.clip(np.rint(scene.depth_m * 1e3), 1, 65535).astype(np.uint16)
        packed.append(
            PackedScene(files.scene_id, _split(number, config), _eight_bit(scene.image), depth_mm)
        )
    return packed


def _photographs(config: PackConfig) -> list[PackedScene]:
    if config.photographs is None:
        return []
    folder = _folder(config.photographs)
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in _PICTURES]
    if not files:
        raise UserError(f"there are no pictures at {folder}")
    packed = []
    for number, file in enumerate(files):
        name = str(file.relative_to(folder))
        try:
            picture = as_unit_float(decode(file.read_bytes(), where=name).upright)
        except ValueError as error:
            raise UserError(str(error)) from error
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        picture = picture[top : top + side, left : left + side]
        if side > config.side:
            picture = np.clip(resize(picture, (config.side, config.side)), 0.0, 1.0)
        packed.append(PackedScene(name, _split(number, config), _eight_bit(picture), None))
    return packed


def _folder(path: str) -> Path:
    if not Path(path).is_dir():
        raise UserError(f"there is no folder at {path}")
    return Path(path)


def _split(number: int, config: PackConfig) -> str:
    return "val" if number % config.val == config.val - 1 else "train"


def _eight_bit(picture: np.ndarray) -> np.ndarray:
    return np.rint(picture * 255.0).astype(np.uint8)


def main() -> int:
    """Run the command."""
    try:
        config = read_keys(PackConfig, sys.argv[1:])
        size = make_pack(config)
    except UserError as error:
        print(f"k3dn: {error}", file=sys.stderr)
        return 2
    print(f"{config.output}: {size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
