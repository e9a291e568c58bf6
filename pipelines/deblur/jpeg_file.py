"""JPEG: segments of the source around newly coded samples."""

import struct
from typing import Any

from numpy.typing import NDArray

from pipelines.deblur.exif_tree import ExifTree, exif_block, read_tree
from pipelines.deblur.metadata import INCH_CM, Metadata
from synth.pictures.jpeg import segments

QUALITY = 97
LARGEST_PX = 65500
"""A side, of libjpeg."""
_EXIF, _XMP, _MORE_XMP = (
    b"Exif\0\0",
    b"http://ns.adobe.com/xap/1.0/\0",
    b"http://ns.adobe.com/xmp/ext",
)
_ICC, _MPF, _PHOTOSHOP = b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"
_LONGEST = 65533
_FURTHER = "further pictures of the file"


def read_jpeg(data: bytes) -> Metadata:
    """Return what a JPEG says of itself."""
    own: list[tuple[bytes, bytes]] = []
    icc: list[tuple[int, bytes]] = []
    exif, xmp, photoshop, resolution = None, None, b"", None
    words: dict[str, None] = {}
    left_out: dict[str, None] = {}
    for kind, body in segments(data):
        if kind == 0xD9 and body.strip(b"\0") and _FURTHER not in left_out:
            left_out["what follows the picture in its file (a film, a gain map)"] = None
        if not 0xE0 <= kind <= 0xEF and kind != 0xFE:
            continue
        if kind == 0xE2 and body.startswith(_MPF):
            left_out[_FURTHER] = None
            continue
        if kind == 0xEB and body.startswith(b"JP"):
            left_out["content credentials (of the old samples)"] = None
            continue
        if kind == 0xEE and body.startswith(b"Adobe") and body[11:12] != b"\x01":
            continue  # says that the samples are RGB, which the new ones are not
        own.append((bytes([kind]), body))
        if kind == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, x, y = struct.unpack_from(">BHH", body, 7)
            if unit and x and y:
                factor = 1.0 if unit == 1 else INCH_CM
                resolution = (x * factor, y * factor)
        elif kind == 0xE1 and body.startswith(_EXIF):
            exif = exif or body[len(_EXIF) :]
        elif kind == 0xE1 and body.startswith(_XMP):
            xmp = body[len(_XMP) :]
        elif kind == 0xE1 and body.startswith(_MORE_XMP):
            words["extended XMP"] = None
        elif kind == 0xE2 and body.startswith(_ICC):
            if len(body) > 14:  # number, count, and some of a profile
                icc.append((body[12], body[14:]))
        elif kind == 0xED and body.startswith(_PHOTOSHOP):
            photoshop += body[len(_PHOTOSHOP) :]
        elif kind == 0xFE:
            words["a comment"] = None
        elif kind not in (0xE0, 0xEE):
            words[f"segment APP{kind - 0xE0}"] = None
    return Metadata(
        format="jpeg",
        exif=exif,
        xmp=xmp,
        icc=b"".join(part for _, part in sorted(icc)) or None,
        photoshop=photoshop or None,
        resolution=resolution,
        own=tuple(own),
        own_words=tuple(words),
        left_out=tuple(left_out),
    )


def encode_jpeg(pixels: NDArray[Any], metadata: Metadata) -> bytes:
    """Return ``(H, W, 1)`` or ``(H, W, 3)`` of 8 bit as a JPEG, colour at full resolution."""
    import simplejpeg

    grey = pixels.shape[2] == 1
    coded = simplejpeg.encode_jpeg(
        pixels,
        quality=QUALITY,
        colorspace="GRAY" if grey else "RGB",
        colorsubsampling="Gray" if grey else "444",
        fastdct=False,
    )
    length = int.from_bytes(coded[4:6], "big")  # of JFIF's segment, which comes first
    if metadata.format == "jpeg":
        head = b"".join(_segment(kind[0], body) for kind, body in metadata.own)
    else:
        head = _jfif(coded[2 : 4 + length], metadata) + _from_others(metadata)
    return b"\xff\xd8" + head + bytes(coded[4 + length :])


def _jfif(segment: bytes, metadata: Metadata) -> bytes:
    resolution = metadata.resolution_for("jpeg")
    if resolution is None:
        return segment
    x, y = (max(round(value), 1) for value in resolution)
    return segment[:11] + struct.pack(">BHH", 1, x, y) + segment[16:]


def _from_others(metadata: Metadata) -> bytes:
    head = b""
    if (exif := metadata.as_exif()) is not None:
        if len(exif) + len(_EXIF) > _LONGEST:
            exif = exif_block((read_tree(exif) or ExifTree("<")).without_maker_note())
        if len(exif) + len(_EXIF) <= _LONGEST:
            head += _segment(0xE1, _EXIF + exif)
    if metadata.xmp is not None and len(metadata.xmp) + len(_XMP) <= _LONGEST:
        head += _segment(0xE1, _XMP + metadata.xmp)
    if metadata.photoshop is not None:
        step = _LONGEST - len(_PHOTOSHOP)
        for start in range(0, len(metadata.photoshop), step):
            head += _segment(0xED, _PHOTOSHOP + metadata.photoshop[start : start + step])
    if metadata.icc is not None:
        step = _LONGEST - len(_ICC) - 2
        if len(metadata.icc) > 255 * step:
            raise ValueError("its colour profile is longer than a JPEG takes; name a .png or .tif")
        parts = [metadata.icc[at : at + step] for at in range(0, len(metadata.icc), step)]
        for number, part in enumerate(parts, 1):
            head += _segment(0xE2, _ICC + bytes([number, len(parts)]) + part)
    return head


def too_long(metadata: Metadata) -> tuple[str, ...]:
    """Return what does not fit into a JPEG's segments, in words."""
    if metadata.format == "jpeg":
        return ()
    lost = []
    if len(metadata.as_exif() or b"") + len(_EXIF) > _LONGEST:
        lost.append("the maker's notes (longer than a JPEG takes)")
    if len(metadata.xmp or b"") + len(_XMP) > _LONGEST:
        lost.append("XMP (longer than a JPEG takes)")
    return tuple(lost)


def _segment(kind: int, body: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body
