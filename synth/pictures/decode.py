"""PNG, JPEG, TIFF and WebP to arrays: every sample as stored, or refused with the reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 1 << 28
"""Larger pictures are refused before memory is taken for them: 268 megapixels."""

MIRRORED = (2, 4, 5, 7)
"""Values of Orientation that no camera writes."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture."""

    stored: NDArray[Any]
    """(H, W, C) as the file stores it, RGB; C is 1 for grey, 2 and 4 with alpha."""
    orientation: int = 1
    """Exif's Orientation, 1 to 8: how a viewer turns what is stored."""

    @property
    def upright(self) -> NDArray[Any]:
        """The picture (H, W, C) as a viewer shows it."""
        return upright(self.stored, self.orientation)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror what is stored, (H, W, ...), as Exif's Orientation says."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def decode(data: bytes, *, where: str, colour: bool = True) -> Picture:
    """Decode a PNG, JPEG, TIFF or WebP.

    colour: the samples are sRGB colours or grey of 8 or 16 bit, and other colour spaces are
    refused. False for depth: profiles are no matter, and TIFF may hold integers or floats.
    where: path or pair_id, named in messages. Raises ValueError with the reason: empty, truncated
    or damaged data, another format, sample type or colour space, more than MAX_PIXELS.
    """
    try:
        return _decode(data, colour)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _decode(data: bytes, colour: bool) -> Picture:
    if not data:
        raise ValueError("the file is empty")
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        from synth.pictures.png import decode_png

        return decode_png(data, colour=colour)
    if data[:3] == b"\xff\xd8\xff":
        from synth.pictures.jpeg import decode_jpeg

        return decode_jpeg(data, colour=colour)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        from synth.pictures.tiff import decode_tiff

        return decode_tiff(data, colour=colour)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        from synth.pictures.webp import decode_webp

        return decode_webp(data, colour=colour)
    raise ValueError("not an image in a format that is read: PNG, JPEG, TIFF or WebP")


def check_size(width: int, height: int) -> None:
    """Raise ValueError for a picture without pixels or with more than MAX_PIXELS."""
    if width <= 0 or height <= 0:
        raise ValueError(f"damaged: its header says {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels is more than is accepted")


def with_channels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W) or (H, W, C) as (H, W, C)."""
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
