"""Lossless images, 8 or 16 bit, from and to bytes.

Two encodings. PNG is what people exchange. *Packed* is what the shards hold: zstd over row
differences, no larger than PNG and about five times as fast to read (figures in docs/data.md).
``decode_image`` reads both, and the JPEG and TIFF files that cameras and converters write.
"""

import re
import struct
import zlib
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 1 << 28
"""Larger pictures are refused before memory is taken for them: 268 megapixels."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# A marker, as against a stuffed byte (00), a restart (D0 to D7) and padding (FF) in a scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PACKED = b"K3DP"
_PACKED_HEADER = struct.Struct("<4sIIBBxx")  # magic, height, width, channels, bits
_ZSTD_LEVEL = 3


def decode_image(data: bytes, *, where: str) -> Pixels:
    """Return an encoded image as (H, W, 3) RGB, uint8 or uint16 as stored.

    Grey becomes three equal channels and an alpha channel is dropped.
    where: path or pair_id, named in the message.
    Raises ValueError with the reason: empty, truncated or damaged data, no image format that is
    known, another sample type than 8 or 16 bit, too many pixels.
    """
    if not data:
        raise ValueError(f"{where}: the file is empty")
    if data[:4] == _PACKED:
        return _unpack(data, where)
    import cv2

    if data[:8] == _PNG:
        _check_png(data, where)
    elif data[:3] == _JPEG and not _has_jpeg_end(data):
        raise ValueError(f"{where}: truncated JPEG (its end is missing)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{where}: not readable as an image ({reason})") from error
    if image is None:
        raise ValueError(f"{where}: not an image, or damaged")
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{where}: samples are {image.dtype}; 8 or 16 bit unsigned are expected")
    if image.ndim == 2:
        return cast(Pixels, np.repeat(image[:, :, None], 3, axis=2))
    return cast(Pixels, np.ascontiguousarray(image[:, :, 2::-1]))  # BGR(A) to RGB


def encode_image(image: Pixels, encoding: Literal["png", "packed"] = "png") -> bytes:
    """Return (H, W, 3) RGB uint8 or uint16 as bytes, without loss.

    The same pixels give the same bytes. Raises ValueError for another shape or type.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"an image is (H, W, 3) of uint8 or uint16, not {image.shape} of {image.dtype}"
        )
    if 0 in image.shape:
        raise ValueError(f"an image has at least one pixel, not {image.shape}")
    if encoding == "packed":
        return _pack(image)
    import cv2

    done, encoded = cv2.imencode(".png", image[:, :, ::-1])
    if not done:
        raise ValueError("the PNG encoder refused the image")
    return bytes(encoded.tobytes())


def bit_depth_of(image: Pixels) -> int:
    """Return 8 or 16."""
    return image.dtype.itemsize * 8


def _pack(image: Pixels) -> bytes:
    import pyarrow as pa

    difference = image.copy()
    difference[1:] -= image[:-1]  # wraps around, and back again on reading
    if image.dtype == np.uint16:
        # Low and high bytes apart: the high ones are nearly all equal and cost nothing then.
        low, high = (difference & 0xFF).astype(np.uint8), (difference >> 8).astype(np.uint8)
        raw = low.tobytes() + high.tobytes()
    else:
        raw = difference.tobytes()
    header = _PACKED_HEADER.pack(_PACKED, *image.shape, bit_depth_of(image))
    compressed = pa.Codec("zstd", compression_level=_ZSTD_LEVEL).compress(raw, asbytes=True)
    return header + bytes(compressed)


def _unpack(data: bytes, where: str) -> Pixels:
    import pyarrow as pa

    try:
        _, height, width, channels, bits = _PACKED_HEADER.unpack_from(data)
        samples = height * width * channels
        if channels != 3 or bits not in (8, 16) or not 0 < samples <= 3 * MAX_PIXELS:
            raise ValueError("its header makes no sense")
        body = memoryview(data)[_PACKED_HEADER.size :]
        raw = pa.Codec("zstd").decompress(body, decompressed_size=samples * bits // 8)
        planes = np.frombuffer(raw, np.uint8)
        if planes.size != samples * bits // 8:
            raise ValueError("it is too short")
    except (OSError, ValueError, struct.error) as error:
        raise ValueError(f"{where}: damaged packed image ({error})") from error
    shape = (height, width, channels)
    if bits == 8:
        return _running_sum(planes.reshape(shape))
    wide = planes[samples:].astype(np.uint16)
    wide <<= 8
    wide |= planes[:samples]
    return _running_sum(wide.reshape(shape))


def _running_sum(difference: Pixels) -> Pixels:
    # Row by row stays in the cache and vectorises: twice as fast as np.add.accumulate.
    image = np.empty_like(difference)
    image[0] = difference[0]
    for row in range(1, len(image)):
        np.add(difference[row], image[row - 1], out=image[row])
    return image


def _has_jpeg_end(data: bytes) -> bool:
    """Tell whether a JPEG comes to its end marker; what follows (a phone's film) is no matter.

    `synth.sources.decode` has the same rule: importing synth imports torch, which ingest does
    without.
    """
    position = 2
    while (head := _MARKER.search(data, position)) is not None:
        kind, position = data[head.start() + 1], head.end()
        if kind == 0xD9:
            return True
        if kind == 0x01:  # TEM stands alone
            continue
        # A segment states its length; pictures inside it (thumbnails) are stepped over with it.
        position += int.from_bytes(data[position : position + 2], "big")
    return False


def _check_png(data: bytes, where: str) -> None:
    """Raise ValueError unless every chunk is whole: decoders return half a picture silently."""
    position, view = len(_PNG), memoryview(data)
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4], "big")
        kind = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if kind == b"IHDR" and length >= 8:
            width, height = struct.unpack_from(">II", data, position + 8)
            if width * height > MAX_PIXELS:
                raise ValueError(f"{where}: {width} x {height} pixels is more than is accepted")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"{where}: damaged PNG (checksum of {kind.decode('latin-1')} differs)")
        if kind == b"IEND":
            return
        position = end + 4
    raise ValueError(f"{where}: truncated PNG (its end is missing)")
