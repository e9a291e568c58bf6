"""Packed pictures, as shards hold them: strips of rows, each of them zstd over row differences.

A strip is read without its neighbours, so that a patch costs what it covers. The bytes are a header
and the strips one after the other; where each begins stands in the shard's index (`shard.py`).
What schema 1 wrote is one strip of all rows, and is read as well. Figures are in docs/data.md.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from synth.pictures import MAX_PIXELS

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

STRIP_ROWS = 64
"""Rows of a strip; of the last one what is left."""

_ONE_STRIP, _STRIPS = b"K3DP", b"K3DS"
MAGICS = (_ONE_STRIP, _STRIPS)
"""The first four bytes of a packed picture, of schema 1 and 2."""
_HEADER = struct.Struct("<4sIIBBH")  # magic, height, width, channels, bits, rows of a strip
_ZSTD_LEVEL = 3


class Region(NamedTuple):
    """A part of a picture, in pixels: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int


class Packed(NamedTuple):
    """A picture or a map, encoded."""

    header: bytes
    strips: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """What the row holds."""
        return self.header + b"".join(self.strips)


def pack(image: Pixels, strip_rows: int = STRIP_ROWS) -> Packed:
    """Encode a picture (H, W, 3), uint8 or uint16. The same pixels give the same bytes."""
    height, width, channels = image.shape
    header = _HEADER.pack(_STRIPS, height, width, channels, image.dtype.itemsize * 8, strip_rows)
    parts = (image[top : top + strip_rows] for top in range(0, height, strip_rows))
    return Packed(header, tuple(_compressed(_planes(part)) for part in parts))


def pack_map(values: NDArray[np.float16]) -> Packed:
    """Encode a map (H, W): its rows as they are, little-endian. It has no header."""
    rows = np.ascontiguousarray(values, dtype="<f2")
    parts = (rows[top : top + STRIP_ROWS] for top in range(0, len(rows), STRIP_ROWS))
    return Packed(b"", tuple(_compressed(part.tobytes()) for part in parts))


def unpack(data: bytes, where: str) -> Pixels:
    """Return a whole picture. Raises ValueError, which begins with ``where``, for damaged data."""
    try:
        magic, height, width, channels, bits, strip_rows = _HEADER.unpack_from(data)
        samples = height * width * channels
        strip_rows = height if magic == _ONE_STRIP else strip_rows
        if (
            channels != 3
            or bits not in (8, 16)
            or not 0 < samples <= 3 * MAX_PIXELS
            or not strip_rows
        ):
            raise ValueError("its header makes no sense")
        raw = _decompressed(memoryview(data)[_HEADER.size :], samples * bits // 8)
    except (OSError, ValueError, struct.error) as error:
        raise ValueError(f"{where}: damaged packed image ({error})") from error
    image = np.empty((height, width, channels), np.uint8 if bits == 8 else np.uint16)
    row_bytes = width * channels * bits // 8
    for top in range(0, height, strip_rows):
        part = image[top : top + strip_rows]
        planes = raw[top * row_bytes :][: part.nbytes].reshape(bits // 8, *part.shape)
        _sum_rows(planes, part)
    return image


def unpack_region(
    strips: Sequence[bytes], region: Region, *, height: int, width: int, bits: int, strip_rows: int
) -> Pixels:
    """Return a region of a picture from the strips that it lies in.

    height, width, bits: of the whole picture. Raises ValueError or OSError for damaged data.
    """
    top, bottom, left, right = region
    image = np.empty((bottom - top, right - left, 3), np.uint8 if bits == 8 else np.uint16)
    for strip, first, rows in _spans(strips, region, height, strip_rows):
        raw = _decompressed(strip, rows * width * 3 * bits // 8)
        planes = raw.reshape(bits // 8, rows, width, 3)[:, :, left:right]
        wanted = slice(max(top - first, 0), min(bottom - first, rows))
        if wanted.start == 0:
            part = image[first - top : first - top + wanted.stop]
            _sum_rows(planes[:, : wanted.stop], part)
        else:  # what lies above is needed for the sums, and for nothing else
            above = np.empty((wanted.stop, right - left, 3), image.dtype)
            _sum_rows(planes[:, : wanted.stop], above)
            image[: wanted.stop - wanted.start] = above[wanted]
    return image


def unpack_map_region(
    strips: Sequence[bytes], region: Region, *, height: int, width: int, strip_rows: int
) -> NDArray[np.float16]:
    """Return a region of a map from the strips that it lies in, as ``unpack_region`` does."""
    parts = []
    for strip, first, rows in _spans(strips, region, height, strip_rows):
        values = _decompressed(strip, rows * width * 2).view("<f2").reshape(rows, width)
        wanted = slice(max(region.top - first, 0), region.bottom - first)
        parts.append(values[wanted, region.left : region.right])
    return np.concatenate(parts).astype(np.float16, copy=False)


def _spans(
    strips: Sequence[bytes], region: Region, height: int, strip_rows: int
) -> list[tuple[bytes, int, int]]:
    """Each strip with its first row in the picture and how many rows it has."""
    first = region.top // strip_rows * strip_rows
    tops = range(first, region.bottom, strip_rows)
    return [
        (strip, top, min(strip_rows, height - top)) for strip, top in zip(strips, tops, strict=True)
    ]


def _planes(part: Pixels) -> bytes:
    difference = part.copy()
    difference[1:] -= part[:-1]  # wraps around, and back again on reading
    if part.dtype == np.uint8:
        return difference.tobytes()
    # Low and high bytes apart: the high ones are nearly all equal and cost nothing then.
    low, high = (difference & 0xFF).astype(np.uint8), (difference >> 8).astype(np.uint8)
    return low.tobytes() + high.tobytes()


def _sum_rows(planes: NDArray[np.uint8], image: Pixels) -> None:
    """Undo ``_planes``: (bytes of a sample, H, W, 3) into ``image``, (H, W, 3)."""
    # Row by row stays in the cache and vectorises: twice as fast as np.add.accumulate.
    if len(planes) == 1:
        image[0] = planes[0, 0]
        for row in range(1, len(image)):
            np.add(planes[0, row], image[row - 1], out=cast(Any, image[row]))
        return
    low, high = planes
    np.multiply(high, 256, out=image, dtype=np.uint16)
    image |= low
    for row in range(1, len(image)):
        image[row] += image[row - 1]


def _compressed(raw: bytes) -> bytes:
    import pyarrow as pa  # not where pictures are files

    return bytes(pa.Codec("zstd", compression_level=_ZSTD_LEVEL).compress(raw, asbytes=True))


def _decompressed(data: bytes | memoryview, size: int) -> NDArray[np.uint8]:
    import pyarrow as pa

    raw = np.frombuffer(pa.Codec("zstd").decompress(data, decompressed_size=size), np.uint8)
    if raw.size != size:
        raise ValueError("it is too short")
    return raw
