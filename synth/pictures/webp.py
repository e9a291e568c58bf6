"""WebP: its parts, limits and colours; the decoder gives RGB or RGBA."""

import struct

import numpy as np

from synth.pictures.exif import check_exif_is_srgb, orientation_of, read_exif
from synth.pictures.picture import Picture, check_size
from synth.pictures.profile import check_is_srgb

_ANIMATED = 0x02


def decode_webp(data: bytes, *, colour: bool) -> Picture:
    """Decode a still WebP, 8 bit. Raises ValueError."""
    import imagecodecs

    parts = chunks(data)
    kinds = dict(parts)
    header = kinds.get(b"VP8X", b"")
    if len(header) >= 10:
        if header[0] & _ANIMATED:
            raise ValueError("a WebP must hold one picture, got an animation; save one of it")
        check_size(*(int.from_bytes(header[i : i + 3], "little") + 1 for i in (4, 7)))
    exif = read_exif(exif_of(kinds))
    if colour:
        if (profile := kinds.get(b"ICCP")) is not None:
            check_is_srgb(profile)
        else:
            check_exif_is_srgb(exif)
    try:
        pixels = imagecodecs.webp_decode(data)
    except (imagecodecs.WebpError, ValueError) as error:
        raise ValueError(f"damaged WebP ({error})") from error
    return Picture(np.asarray(pixels), orientation_of(exif))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and content of each part, in order. Raises ValueError for a truncated file."""
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise ValueError("truncated WebP (its end is missing)")
    position, found = 12, list[tuple[bytes, bytes]]()
    while position + 8 <= length + 8:
        kind, size = struct.unpack_from("<4sI", data, position)
        if position + 8 + size > length + 8:
            raise ValueError("damaged WebP (a part lies beyond its end)")
        found.append((kind, data[position + 8 : position + 8 + size]))
        position += 8 + size + size % 2
    return found


def exif_of(kinds: dict[bytes, bytes]) -> bytes:
    """Return the Exif block from its byte order mark on; some writers put JPEG's mark before it."""
    return kinds.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
