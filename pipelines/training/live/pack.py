"""A pack: RGB-D scenes and photographs in one small file that needs numpy alone to read.

A zip file of ``pack.json``, which lists what there is, and one member a plane array: differences of
neighbouring rows and of green to red and blue, wrapped around, through LZMA. Written once by
``pipelines.training.live.make_pack``; the same pictures give the same bytes. Pictures may be JPEGs
in place of that, a third as large and less; they take OpenCV to read.
"""

import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError

PACK_VERSION = 1
_INDEX = "pack.json"
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 4}]
_EPOCH = (1980, 1, 1, 0, 0, 0)

_Level = TypeVar("_Level", np.uint8, np.uint16)
Planes = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class PackedScene:
    """A picture that is sharp everywhere, with depth where it is an RGB-D scene."""

    name: str
    split: str
    """train or val: what one may not be seen in the other."""
    image: NDArray[np.uint8]
    """(H, W, 3), sRGB."""
    depth_mm: NDArray[np.uint16] | None
    """(H, W), millimetres, positive; None for a photograph."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """What a pack holds."""

    digest: str
    """sha256 of the file."""
    scenes: tuple[PackedScene, ...]
    """With depth."""
    photographs: tuple[PackedScene, ...]
    """Without."""


def pack_bytes(pictures: Iterable[PackedScene], *, jpeg: int | None = None) -> bytes:
    """Return the bytes of a pack. jpeg: quality of its pictures; None: as they are."""
    file = io.BytesIO()
    index = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, picture in enumerate(pictures):
            entry = {"name": picture.name, "split": picture.split, "shape": picture.image.shape}
            coded = _coded(_apart(picture.image)) if jpeg is None else _jpeg(picture.image, jpeg)
            _add(archive, f"{number:05d}.image", coded)
            if picture.depth_mm is not None:
                _add(archive, f"{number:05d}.depth", _coded(picture.depth_mm[..., None]))
            index.append(entry | {"depth": picture.depth_mm is not None, "jpeg": jpeg is not None})
        text = json.dumps({"pack": PACK_VERSION, "pictures": index}, indent=1)
        _add(archive, _INDEX, text.encode())
    return file.getvalue()


def read_pack(data: bytes, *, where: str) -> Pack:
    """Return what a pack holds. Raises UserError for what is not a whole pack."""
    scenes: list[PackedScene] = []
    photographs: list[PackedScene] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = json.loads(archive.read(_INDEX))
            if found["pack"] != PACK_VERSION:
                raise ValueError(
                    f"its version is {found['pack']}, this program reads {PACK_VERSION}"
                )
            for number, entry in enumerate(found["pictures"]):
                height, width, _ = entry["shape"]
                coded = archive.read(f"{number:05d}.image")
                if entry.get("jpeg", False):
                    image = _of_jpeg(coded, (height, width, 3), where)
                else:
                    raw = _decoded(coded, 3 * height * width)
                    image = _together(_summed(raw.reshape(3, height, width)))
                depth = None
                if entry["depth"]:
                    raw = _decoded(archive.read(f"{number:05d}.depth"), 2 * height * width)
                    low, high = raw.reshape(2, 1, height, width).astype(np.uint16)
                    depth = _summed(low + high * np.uint16(256))[..., 0]
                of = scenes if entry["depth"] else photographs
                of.append(PackedScene(str(entry["name"]), str(entry["split"]), image, depth))
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, lzma.LZMAError) as error:
        raise UserError(
            f"{where} is not a pack of scenes ({error}); python -m "
            "pipelines.training.live.make_pack makes one"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    return Pack(digest, tuple(scenes), tuple(photographs))


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)


def _apart(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Green, and red and blue less green: what they have in common is stored once."""
    green = image[..., 1]
    return np.stack([green, image[..., 0] - green, image[..., 2] - green], axis=-1)


def _together(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    green = planes[..., 0]
    return np.stack([planes[..., 1] + green, green, planes[..., 2] + green], axis=-1)


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Colour at full resolution, as it lies in the picture."""
    import cv2

    keys = (cv2.IMWRITE_JPEG_QUALITY, quality)
    full = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    done, coded = cv2.imencode(".jpg", image[..., ::-1], (*keys, *full))
    assert done
    return coded.tobytes()


def _of_jpeg(data: bytes, shape: tuple[int, int, int], where: str) -> NDArray[np.uint8]:
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"{where} holds JPEGs, for which OpenCV is needed; install opencv-python-headless, or "
            "make the pack without jpeg="
        ) from error
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape != shape:
        raise ValueError("a picture is not the JPEG that it should be")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def _coded(planes: Planes) -> bytes:
    difference = planes.copy()
    difference[1:] -= planes[:-1]
    difference[:, 1:] -= difference[:, :-1].copy()
    moved = np.ascontiguousarray(np.moveaxis(difference, -1, 0))
    raw = moved.tobytes()
    if moved.dtype == np.uint16:  # low and high bytes apart: the high ones are nearly all equal
        wide = moved.astype(np.uint16)
        raw = (wide & 0xFF).astype(np.uint8).tobytes() + (wide >> 8).astype(np.uint8).tobytes()
    return lzma.compress(raw, format=lzma.FORMAT_XZ, filters=_FILTERS)


def _decoded(data: bytes, count: int) -> NDArray[np.uint8]:
    raw = np.frombuffer(lzma.decompress(data), np.uint8)
    if raw.size != count:
        raise ValueError("a picture is too short")
    return raw


def _summed(difference: NDArray[_Level]) -> NDArray[_Level]:
    """Planes (H, W, C) of differences (C, H, W) between neighbours."""
    kind = difference.dtype
    planes = np.cumsum(np.cumsum(difference, axis=2, dtype=kind), axis=1, dtype=kind)
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))
