"""WebP: parts of the source around newly coded samples, without loss."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur.metadata import Metadata
from synth.pictures.webp import chunks, exif_of

LARGEST_PX = 16382
"""A side: one less than the format has, as imagecodecs does not take the last."""
_OF_SAMPLES = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH")
_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_ALPHA = 0x10


def read_webp(data: bytes) -> Metadata:
    """Return what a WebP says of itself."""
    own = tuple((kind, body) for kind, body in chunks(data) if kind not in _OF_SAMPLES)
    kinds = dict(own)
    return Metadata(
        format="webp",
        exif=exif_of(kinds) or None,
        xmp=kinds.get(b"XMP "),
        icc=kinds.get(b"ICCP"),
        own=own,
        own_words=tuple(f"part {kind.decode('latin-1')}" for kind, _ in own if kind not in _FLAGS),
    )


def encode_webp(pixels: NDArray[Any], metadata: Metadata) -> bytes:
    """Return ``(H, W, 1 to 4)`` of 8 bit as a WebP.

    Grey becomes three equal samples, and alpha that is opaque all over none: the encoder's way.
    """
    import imagecodecs

    height, width, samples = pixels.shape
    if samples < 3:
        pixels = np.dstack([np.repeat(pixels[..., :1], 3, 2), pixels[..., 1:]])
    coded = imagecodecs.webp_encode(np.ascontiguousarray(pixels), lossless=True)
    parts = list(metadata.own) if metadata.format == "webp" else _from_others(metadata)
    if not parts:
        return bytes(coded)
    samples_of = next(part for part in chunks(bytes(coded)) if part[0] == b"VP8L")
    flags = sum(_FLAGS.get(kind, 0) for kind in dict(parts))
    flags |= _ALPHA if _has_alpha(samples_of[1]) else 0
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    before = [part for part in parts if part[0] == b"ICCP"]
    behind = [part for part in parts if part[0] != b"ICCP"]
    header = (b"VP8X", bytes([flags, 0, 0, 0]) + size)
    body = b"WEBP" + b"".join(map(_part, [header, *before, samples_of, *behind]))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _has_alpha(coded: bytes) -> bool:
    """Whether samples without loss (VP8L) say so: one bit behind width and height."""
    return bool(int.from_bytes(coded[1:5], "little") >> 28 & 1)


def _from_others(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    found = [(b"ICCP", metadata.icc), (b"EXIF", metadata.as_exif()), (b"XMP ", metadata.xmp)]
    return [(kind, body) for kind, body in found if body is not None]


def _part(part: tuple[bytes, bytes]) -> bytes:
    kind, body = part
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
