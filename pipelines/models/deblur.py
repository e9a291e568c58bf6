"""``k3dn deblur``: sharpen a dual-pixel pair, or one picture.

Weights in the box and files for a K3DN run no code but ours: they answer in this process, without
MLflow and Ray. A registered version brings its own code and gets a process of its own.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.models.config import ANY_BOX, DEFAULT_MEMORY, DeblurConfig, parse_memory_mib
from pipelines.models.loading import BOX, load_network, settle
from pipelines.models.model_process import ModelProcess
from pipelines.models.registry import open_store
from pipelines.progress import told_progress
from pipelines.ray_job import refuse_lost_path
from pipelines.storage import Location, locate
from synth.pictures.picture import upright

_LOSSLESS = (".png", ".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class DeblurResult:
    """A picture was sharpened."""

    model: str
    height: int
    width: int
    bit_depth: int
    output: str
    """Where the picture lies."""

    def describe(self) -> str:
        """Return what was made and where it lies."""
        size = f"{self.width} x {self.height} px, {self.bit_depth} bit"
        return f"sharpened by {self.model}: {size}\n{self.output}"

    def next_steps(self) -> list[str]:
        """Nothing follows from a picture."""
        return []


def run(config: DeblurConfig) -> DeblurResult:
    """Read the views, restore, write. 8 and 16 bit stay what they are.

    Raises UserError for a missing or damaged picture, views that do not fit each other, a model
    that is not there, or an output name that cannot hold the picture.
    """
    refuse_lost_path("output", config.output)
    left, orientation = _read(config.left)
    right, other = (None, orientation) if config.right is None else _read(config.right)
    if other != orientation:
        raise UserError(
            f"the views are turned differently: {config.left} has Orientation {orientation}, "
            f"{config.right} has {other}; give the two views of one exposure"
        )
    if right is not None and (left.shape != right.shape or left.dtype != right.dtype):
        raise UserError(
            f"the views do not fit: {config.left} is {_described(left)}, {config.right} is "
            f"{_described(right)}; give the two views of one exposure"
        )
    if min(left.shape[:2]) < 16:
        raise UserError(f"{config.left}: {_described(left)}; a view needs at least 16 x 16 px")
    target = locate(config.output)
    _check_not_over(target, config)
    suffix = PurePosixPath(target.name).suffix.lower()
    _check_suffix(config.output, suffix, left)
    target.check_writable()
    image, label = _restore(config, left, right)
    image = upright(image, orientation)
    target.write_bytes(_encode(image, suffix))
    return DeblurResult(
        model=label,
        height=image.shape[0],
        width=image.shape[1],
        bit_depth=image.dtype.itemsize * 8,
        output=target.url,
    )


def _restore(
    config: DeblurConfig, left: NDArray[Any], right: NDArray[Any] | None
) -> tuple[NDArray[Any], str]:
    """The sharp picture, and how the model is called that made it."""
    reference = config.model
    if reference.startswith("models:/") or (config.factory and reference != ANY_BOX):
        tracking_uri = open_store(config) if reference.startswith("models:/") else ""
        model = settle(reference, tracking_uri, config.factory)
        with ModelProcess(model.reference, tracking_uri, factory=model.factory) as process:
            return process.predict(left, right, _settings(config)), model.label
    if config.factory:
        raise UserError(f"factory={config.factory} is for a weights file: name it, model=FILE")
    return _restore_here(config, left, right)


def _restore_here(
    config: DeblurConfig, left: NDArray[Any], right: NDArray[Any] | None
) -> tuple[NDArray[Any], str]:
    """Restore in this process, by weights that name no code."""
    import torch

    from k3dn import box, tiling

    device = box.best_device()
    reference = config.model
    if reference == ANY_BOX:
        if right is None:
            raise UserError(
                "the weights in the box are for a pair: give right=..., or name a model for single "
                "pictures, model=FILE"
            )
        reference = BOX + box.choose(left.shape[0], left.shape[1], device)
    network = load_network(reference, "").to(device)
    label = reference if reference.startswith(BOX) else locate(reference).name
    settings: dict[str, Any] = _settings(config)
    try:
        with told_progress(f"sharpening by {label}", "tiles") as told:
            return tiling.deblur(network, left, right, progress=told, **settings), label
    except ValueError as error:
        raise UserError(f"{label}: {error}") from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UserError(
            f"{label}: there is too little memory for a tile; give less, such as memory=500MB"
        ) from error


def _check_not_over(target: Location, config: DeblurConfig) -> None:
    """A photograph must not be lost to its own sharpening."""
    for key, url in (("left", config.left), ("right", config.right)):
        if url is not None and _is_same(target, locate(url)):
            raise UserError(f"output={config.output} is the {key} view; give another name")


def _is_same(one: Location, other: Location) -> bool:
    here, there = one.local_path(), other.local_path()
    if here is not None and there is not None and here.exists():
        return here.samefile(there)  # by another name, too
    return one.url == other.url


def _settings(config: DeblurConfig) -> dict[str, int | str]:
    """Keywords of ``k3dn.deblur``, those alone that differ: an older version may lack some."""
    settings: dict[str, int | str | None] = {
        "tile_px": config.tile_px,
        "halo_px": config.halo_px,
        "precision": None if config.precision == "auto" else config.precision,
        "memory_mib": None if config.memory == DEFAULT_MEMORY else parse_memory_mib(config.memory),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _read(url: str) -> tuple[NDArray[Any], int]:
    """Return a view as the sensor saw it, whose parallax is horizontal, and its Orientation."""
    from pipelines.dataset.images import decode_as_sensor

    try:
        data = locate(url).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"there is no picture at {url}; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{url} is a folder; name one picture in it") from error
    try:
        return decode_as_sensor(data, where=url)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_suffix(output: str, suffix: str, image: NDArray[Any]) -> None:
    if suffix in _LOSSLESS or (suffix in _LOSSY and image.dtype == np.uint8):
        return
    if suffix in _LOSSY:
        raise UserError(f"{output}: JPEG holds 8 bit and the views have 16; name a .png or .tif")
    known = ", ".join(_LOSSLESS + _LOSSY)
    raise UserError(f"{output}: cannot write {suffix or 'a file without suffix'}; use {known}")


def _encode(image: NDArray[Any], suffix: str) -> bytes:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, 97] if suffix in _LOSSY else []
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)
    if not done:
        raise OSError(f"cannot encode a picture as {suffix}")
    return bytes(data)


def _described(image: NDArray[Any]) -> str:
    return f"{image.shape[1]} x {image.shape[0]} px, {image.dtype.itemsize * 8} bit"
