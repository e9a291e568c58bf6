"""PNG, with every checksum looked at."""

import struct
import zlib

import numpy as np

from synth.pictures.exif import check_exif_is_srgb, orientation_of, read_exif
from synth.pictures.picture import Picture, check_size, with_channels
from synth.pictures.profile import check_is_srgb

_MAX_PROFILE_BYTES = 1 << 24
_LINEAR_TO_SRGB = 45455  # gAMA of sRGB, 1 / 2.2 in units of 1e-5
_SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def decode_png(data: bytes, *, colour: bool) -> Picture:
    """Decode a PNG. Raises ValueError."""
    import imagecodecs

    chunks = _chunks(data)
    if b"IHDR" not in chunks:
        raise ValueError("damaged PNG (it has no header)")
    if colour and b"acTL" in chunks:  # colour=False: the first picture
        raise ValueError("a PNG must hold one picture, got an animation; save one of it")
    exif = read_exif(chunks.get(b"eXIf", b""))
    if colour:
        check_colours(chunks)
        check_exif_is_srgb(exif)
    try:
        pixels = imagecodecs.png_decode(data)
    except UnicodeDecodeError as error:  # of libpng's own message, when it has none
        raise ValueError("damaged PNG (its parts make no sense)") from error
    except (imagecodecs.PngError, ValueError) as error:
        raise ValueError(f"damaged PNG ({error})") from error
    return Picture(with_channels(np.asarray(pixels)), orientation_of(exif))


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks but for the picture's own; all must be whole and have their checksum."""
    position, view, found = 8, memoryview(data), dict[bytes, bytes]()
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"damaged PNG (checksum of {kind.decode('latin-1')} differs)")
        if kind == b"IHDR":
            if length != 13:
                raise ValueError("damaged PNG (its header has another length)")
            check_size(*struct.unpack_from(">II", data, position + 8))
        if kind == b"IEND":
            return found
        if kind != b"IDAT":
            found[kind] = bytes(view[position + 8 : end])
        position = end + 4
    raise ValueError("truncated PNG (its end is missing)")


def check_colours(chunks: dict[bytes, bytes]) -> None:
    """Raise ValueError unless the strongest of the chunks about colour says sRGB."""
    if (cicp := chunks.get(b"cICP")) is not None:
        if cicp != b"\x01\x0d\x00\x01":  # primaries, curve, no matrix, full range
            raise ValueError("its colours are not sRGB (cICP); convert them to sRGB")
    elif (iccp := chunks.get(b"iCCP")) is not None:
        try:
            unpacker = zlib.decompressobj()
            packed = iccp.partition(b"\0")[2][1:]
            profile = unpacker.decompress(packed, _MAX_PROFILE_BYTES)
        except zlib.error as error:
            raise ValueError("damaged PNG (its colour profile)") from error
        check_is_srgb(profile)
    elif b"sRGB" not in chunks:
        gamma = int.from_bytes(chunks.get(b"gAMA", b"")[:4], "big") or _LINEAR_TO_SRGB
        if abs(gamma - _LINEAR_TO_SRGB) > 500:
            what = "linear light" if gamma > 90_000 else f"gamma {1e5 / gamma:.2g}"
            raise ValueError(f"its values are {what} (gAMA), not sRGB; convert them to sRGB")
        primaries = chunks.get(b"cHRM", b"")
        if len(primaries) == 32:
            there = struct.unpack(">8I", primaries)
            pairs = zip(there, _SRGB_CHROMATICITIES, strict=True)
            if any(abs(a - b) > 1000 for a, b in pairs):
                raise ValueError("its primaries are not sRGB's (cHRM); convert it to sRGB")
