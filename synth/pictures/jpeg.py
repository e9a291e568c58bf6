"""JPEG: limits and colours from the markers; what the decoder finds damaged is refused."""

import re

import numpy as np

from synth.pictures.exif import check_exif_is_srgb, orientation_of, read_exif
from synth.pictures.picture import Picture, check_size
from synth.pictures.profile import check_is_srgb

# A marker, as against a stuffed byte (00), a restart (D0 to D7) and padding (FF) in a scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


def decode_jpeg(data: bytes, *, colour: bool) -> Picture:
    """Decode a JPEG of 8 bit, grey or colour. Raises ValueError."""
    import simplejpeg

    parts_of_file = segments(data)
    frames = [body for kind, body in parts_of_file if kind in _FRAMES]
    if not frames or len(frames[0]) < 6:
        raise ValueError("damaged JPEG (it has no header)")
    for body in frames:
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        check_size(width, height)
    bits, channels = frames[0][0], frames[0][5]
    if bits != 8:
        raise ValueError(f"a JPEG must have 8 bit, got {bits}")
    if channels not in (1, 3):
        raise ValueError(
            f"a JPEG must be grey or RGB, got {channels} channels (CMYK?); save it as RGB"
        )
    blocks = [body[6:] for kind, body in parts_of_file if kind == 0xE1 and body[:6] == b"Exif\0\0"]
    exif = read_exif(blocks[0]) if blocks else {}
    if colour:
        parts = [b for kind, b in parts_of_file if kind == 0xE2 and b[:12] == b"ICC_PROFILE\0"]
        if parts:
            check_is_srgb(b"".join(part[14:] for part in sorted(parts, key=lambda p: p[12])))
        else:
            check_exif_is_srgb(exif)
    try:
        # strict: what libjpeg would only warn of, and fill with grey
        space = "GRAY" if channels == 1 else "RGB"
        pixels = simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
        raise ValueError(f"damaged JPEG ({error})") from error
    return Picture(np.asarray(pixels), orientation_of(exif))


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """Return marker and content of each segment of the picture.

    The last is its end, 0xD9, whose content is what follows in the file (a phone's film). A picture
    within a segment (a thumbnail) is stepped over with it. Raises ValueError where there is no end.
    """
    position, found = 2, list[tuple[int, bytes]]()
    while (head := _MARKER.search(data, position)) is not None:
        kind, position = data[head.start() + 1], head.end()
        if kind == 0xD9:
            return [*found, (kind, data[position:])]
        if kind == 0x01:  # TEM stands alone
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        found.append((kind, data[position + 2 : position + length]))
        position += max(length, 2)
    raise ValueError("truncated JPEG (its end is missing)")
