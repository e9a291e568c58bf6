"""PNG: chunks of the source around newly coded samples."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur.metadata import Metadata

_MARK = b"\x89PNG\r\n\x1a\n"
_LEVEL = 4
_XMP = b"XML:com.adobe.xmp"
_OF_SAMPLES = (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"hIST")
_OF_COLOUR_TYPE = (b"bKGD", b"sBIT")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_WORDS = {
    **dict.fromkeys((b"tEXt", b"zTXt", b"iTXt"), "PNG's texts"),
    **dict.fromkeys((b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI"), "PNG's words on colour"),
    b"tIME": "PNG's time of change",
}
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of samples a pixel
_STAY_TRUE = (
    *(b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"tIME"),
    *(b"sPLT", b"sCAL"),
)
"""Chunks that say by their name that they depend on the samples, and hold for the new ones, too."""
_INCH_M = 0.0254
_LONGEST = 1 << 24


def read_png(data: bytes) -> Metadata:
    """Return what a PNG says of itself."""
    own: list[tuple[bytes, bytes]] = []
    exif, xmp, icc, resolution = None, None, None, None
    words: dict[str, None] = {}
    left_out: dict[str, None] = {}
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            own.append((kind, body))  # its colour type decides on what else is kept
        if kind in _ANIMATION:
            left_out["further frames of an animation"] = None
        if kind in (*_OF_SAMPLES, *_ANIMATION):
            continue
        if kind[3] & 0x20 == 0 and kind not in _STAY_TRUE:
            left_out[f"the part {kind.decode('latin-1')} (of the old samples)"] = None
            continue
        own.append((kind, body))
        if kind == b"eXIf":
            exif = body
        elif kind == b"iCCP":
            icc = _unpacked(body.partition(b"\0")[2][1:])
        elif kind == b"pHYs" and body[8:9] == b"\1":
            x, y = struct.unpack_from(">II", body)
            resolution = (x * _INCH_M, y * _INCH_M) if x and y else None
        elif kind == b"iTXt" and body.startswith(_XMP + b"\0"):
            xmp = _international(body)
        elif kind in _WORDS:
            words[_WORDS[kind]] = None
    return Metadata(
        format="png",
        exif=exif,
        xmp=xmp,
        icc=icc,
        resolution=resolution,
        own=tuple(own),
        own_words=tuple(words),
        left_out=tuple(left_out),
    )


def encode_png(pixels: NDArray[Any], metadata: Metadata) -> list[bytes]:
    """Return ``(H, W, 1 to 4)`` of 8 or 16 bit as the parts of a PNG, in order."""
    import imagecodecs

    coded = imagecodecs.png_encode(
        np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), level=_LEVEL
    )
    if metadata.format == "png" and metadata.own:  # a PGM has no header to go by
        header = dict(metadata.own)[b"IHDR"]
        same = header[8:10] == bytes([pixels.itemsize * 8, _COLOUR_TYPES[pixels.shape[2]]])
        kept = [
            (kind, body)
            for kind, body in metadata.own
            if kind != b"IHDR" and (same or kind not in _OF_COLOUR_TYPE)
        ]
    else:
        kept = list(_from_others(metadata))
    start = len(_MARK) + 25  # behind the header
    view = memoryview(coded)
    return [bytes(view[:start]), *(_chunk(kind, body) for kind, body in kept), view[start:]]  # type: ignore[list-item]


def _from_others(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.icc is not None:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)
    if (resolution := metadata.resolution_for("png")) is not None:
        x, y = (round(value / _INCH_M) for value in resolution)
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    if (exif := metadata.as_exif()) is not None:
        yield b"eXIf", exif
    if metadata.xmp is not None:
        yield b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each chunk of a PNG that was decoded, samples left out."""
    position = len(_MARK)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = b"" if kind in (b"IDAT", b"fdAT") else data[position + 8 : position + 8 + length]
        yield kind, body
        if kind == b"IEND":
            return
        position += 12 + length


def _international(body: bytes) -> bytes | None:
    """The text of an iTXt chunk."""
    packed = body[len(_XMP) + 1 : len(_XMP) + 2] == b"\1"
    text = body[len(_XMP) + 3 :].partition(b"\0")[2].partition(b"\0")[2]
    return _unpacked(text) if packed else text


def _unpacked(packed: bytes) -> bytes | None:
    """What zlib packed, up to a size that no profile and no text has; None for what is damaged."""
    try:
        return zlib.decompressobj().decompress(packed, _LONGEST)
    except zlib.error:
        return None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
