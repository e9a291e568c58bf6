"""Lossless images, 8 or 16 bit, from and to bytes.

Two encodings. PNG is what people exchange. *Packed* is what the shards hold (`packed.py`).
``decode_image`` reads both, and the JPEG and TIFF files that cameras and converters write, which
`pictures` decodes.
"""

import struct
import zlib
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.packed import MAGICS, pack, unpack
from pipelines.dataset.packed import Pixels as Pixels
from synth.pictures import decode
from synth.pictures.picture import MIRRORED


def decode_image(data: bytes, *, where: str) -> Pixels:
    """Return an encoded image as (H, W, 3) RGB, uint8 or uint16, upright.

    Grey becomes three equal channels and an alpha channel is dropped.
    where: path or pair_id, named in the message.
    Raises ValueError with the reason: empty, truncated or damaged data, no image format that is
    known, another sample type than 8 or 16 bit, other colours than sRGB, too many pixels.
    """
    if data[:4] in MAGICS:
        return unpack(data, where)
    return _three_channels(decode(data, where=where).upright)


def decode_as_sensor(data: bytes, *, where: str) -> tuple[Pixels, int]:
    """Return an encoded image as the sensor saw it, and its Orientation.

    A camera that is turned writes its rows as always and how to turn them (Orientation). Parallax
    runs along the rows: turned upright it would be vertical, or of the other sign. So the views of
    a pair stay as they are stored. Raises ValueError as decode_image, and for a mirrored picture,
    which is none that a sensor saw.
    """
    if data[:4] in MAGICS:
        return unpack(data, where), 1
    picture = decode(data, where=where)
    if picture.orientation in MIRRORED:
        raise ValueError(
            f"{where}: its Orientation {picture.orientation} mirrors it, so its parallax cannot be "
            "told; save it as a viewer shows it"
        )
    return _three_channels(picture.stored), picture.orientation


def _three_channels(pixels: NDArray[Any]) -> Pixels:
    if pixels.shape[2] < 3:
        return cast(Pixels, np.repeat(pixels[:, :, :1], 3, axis=2))
    return cast(Pixels, np.ascontiguousarray(pixels[:, :, :3]))


def encode_image(image: Pixels, encoding: Literal["png", "packed"] = "png") -> bytes:
    """Return (H, W, 3) RGB uint8 or uint16 as bytes, without loss.

    The same pixels give the same bytes. Raises ValueError for another shape or type.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"an image must be (H, W, 3) of uint8 or uint16, got {image.shape} of {image.dtype}"
        )
    if 0 in image.shape:
        raise ValueError(f"an image must have at least one pixel, got {image.shape}")
    if encoding == "packed":
        return pack(image).data
    try:
        import cv2
    except ImportError:  # training needs no OpenCV, and its pictures no small file
        return _plain_png(image)
    done, encoded = cv2.imencode(".png", image[:, :, ::-1])
    if not done:
        raise ValueError("the PNG encoder refused the image")
    return bytes(encoded.tobytes())


def _plain_png(image: Pixels) -> bytes:
    """PNG by the standard library: no filters, one chunk."""
    height, width, _ = image.shape
    rows = np.ascontiguousarray(image.astype(image.dtype.newbyteorder(">"))).view(np.uint8)
    lines = np.pad(rows.reshape(height, -1), ((0, 0), (1, 0)))
    header = struct.pack(">IIBBBBB", width, height, bit_depth_of(image), 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def bit_depth_of(image: Pixels) -> int:
    """Return 8 or 16."""
    return image.dtype.itemsize * 8


def as_16_bit(picture: Pixels) -> NDArray[np.uint16]:
    """Return uint16 as it is and uint8 on the same scale: v / 255 = 257 v / 65535."""
    if picture.dtype == np.uint8:
        return picture.astype(np.uint16) * np.uint16(257)
    return picture.astype(np.uint16, copy=False)
