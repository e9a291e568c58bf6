"""TIFF by tifffile: planes, photometric interpretation and alpha as the tags say."""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.pictures.exif import check_exif_is_srgb, read_exif
from synth.pictures.picture import Picture, check_size, with_channels
from synth.pictures.profile import (
    CURVE_WITHIN,
    SRGB_PRIMARIES,
    check_is_srgb,
    srgb_encode,
)

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _YCBCR = 0, 1, 2, 6
_OTHER_SPACES = {
    3: "a palette",
    4: "a mask",
    5: "CMYK",
    8: "CIE Lab",
    9: "ICC Lab",
    10: "ITU Lab",
    32803: "raw sensor data",
    34892: "raw sensor data",
}
_JPEG_COMPRESSIONS = (6, 7, 33007)
_LZW = 5
_ASSOCIATED = 1


def decode_tiff(data: bytes, *, colour: bool) -> Picture:
    """Decode the one picture of a TIFF. Raises ValueError."""
    import io

    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = _the_page(file)
            _check(page, len(data), colour)
            _check_lzw(page, data)
            pixels = _pixels(page)
            orientation = _tag(page, 274, 1)
            if colour:
                _check_colours(page, data)
    except ValueError:  # tifffile's own error is one
        raise
    except (
        *(KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError),
        *(AssertionError, OSError, RuntimeError, ArithmeticError, struct.error, zlib.error),
    ) as error:
        raise ValueError(f"damaged TIFF ({_first_line(error)})") from error
    return Picture(pixels, orientation)


def _the_page(file: Any) -> Any:
    # Thumbnails and masks say so (NewSubfileType 1 and 4).
    pages = [p for p in file.pages if not int(_tag(p, 254, 0)) & 5] or list(file.pages)[:1]
    if not pages:
        raise ValueError("damaged TIFF (it has no picture)")
    if len(pages) > 1:
        raise ValueError(f"a TIFF must hold one picture, got {len(pages)}; save them apart")
    return pages[0]


def _check(page: Any, length: int, colour: bool) -> None:
    check_size(int(page.imagewidth), int(page.imagelength))
    if int(page.imagedepth) != 1:
        raise ValueError("a TIFF must be flat, got a volume; save one plane of it")
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    jpeg = int(page.compression) in _JPEG_COMPRESSIONS
    if photometric in _OTHER_SPACES:
        space = _OTHER_SPACES[photometric]
        raise ValueError(f"a TIFF must be grey or RGB, got {space}; save it so")
    if photometric == _YCBCR and not jpeg:
        raise ValueError("a TIFF must be grey or RGB, got YCbCr; save it so")
    wanted = 3 if photometric in (_RGB, _YCBCR) else 1
    if photometric > _YCBCR or samples not in (wanted, wanted + 1):
        raise ValueError(f"a TIFF must be grey or RGB, got {samples} samples a pixel; save it so")
    kind = np.dtype(page.dtype) if page.dtype is not None else None
    bits = page.bitspersample
    name = str(kind)
    if kind is None or bits not in (8, 16, 32, 64) or kind.itemsize * 8 != bits:
        raise ValueError(f"samples are of {bits} bit; save it with 8 or 16, unsigned")
    if colour and kind not in (np.uint8, np.uint16):
        raise ValueError(f"samples are {name}; save it with 8 or 16 bit, unsigned")
    if kind.kind not in "uif":
        raise ValueError(f"samples are {name}; integers or floats are expected")
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) != len(counts) or not offsets:
        raise ValueError("damaged TIFF (its strips are not all listed)")
    for start, size in zip(offsets, counts, strict=True):
        if start <= 0 or size <= 0 or start + size > length:
            raise ValueError("truncated TIFF (a strip or tile lies beyond its end)")


def _check_lzw(page: Any, data: bytes) -> None:
    """Raise ValueError where a strip or tile of LZW is not of its length.

    LZW has no checksum, and tifffile fills what is missing.
    """
    import imagecodecs

    if int(page.compression) != _LZW:
        return
    height, width = int(page.imagelength), int(page.imagewidth)
    apart = int(page.planarconfig) == 2
    pixel = page.bitspersample // 8 * (1 if apart else int(page.samplesperpixel))
    rows = int(page.tilelength if page.is_tiled else min(page.rowsperstrip, height))
    full = rows * int(page.tilewidth if page.is_tiled else width) * pixel
    strips = -(-height // rows)
    last = full if page.is_tiled else (height - (strips - 1) * rows) * width * pixel
    for number, (start, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        found = len(imagecodecs.lzw_decode(data[start : start + size]))
        least = last if not page.is_tiled and number % strips == strips - 1 else full
        if not least <= found <= full:
            raise ValueError(f"damaged TIFF (a part has {found} bytes in place of {least})")


def _pixels(page: Any) -> NDArray[Any]:
    """Return (H, W, C), white high, colours not multiplied by alpha."""
    height, width = int(page.imagelength), int(page.imagewidth)
    samples = int(page.samplesperpixel)
    pixels = np.asarray(page.asarray(maxworkers=1))
    if samples > 1 and int(page.planarconfig) == 2:
        pixels = np.moveaxis(pixels.reshape(samples, height, width), 0, -1)
    pixels = np.ascontiguousarray(with_channels(pixels))
    if pixels.shape != (height, width, samples):
        raise ValueError(f"damaged TIFF (its picture is {pixels.shape})")
    if int(page.photometric) == _MIN_IS_WHITE and pixels.dtype.kind == "u":
        pixels[..., :1] = np.iinfo(pixels.dtype).max - pixels[..., :1]
    extra = [int(e) for e in (page.extrasamples or ())]
    multiplied = samples in (2, 4) and _ASSOCIATED in extra and pixels.dtype.kind == "u"
    if multiplied and (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
        raise ValueError("its colours are multiplied by its alpha (associated); save it without")
    return pixels


def _check_colours(page: Any, data: bytes) -> None:
    profile = _tag(page, 34675, None)
    if profile is not None:
        check_is_srgb(bytes(profile))
        return
    check_exif_is_srgb(read_exif(data))  # a TIFF is an Exif block itself
    primaries = _tag(page, 319, None)
    if primaries is not None and len(primaries) == 12:
        there = [primaries[n] / max(primaries[n + 1], 1) for n in range(0, 12, 2)]
        if max(abs(a - b) for a, b in zip(there, SRGB_PRIMARIES, strict=True)) > 0.01:
            raise ValueError(
                "its primaries are not sRGB's (PrimaryChromaticities); convert it to sRGB"
            )
    curve = np.asarray(_tag(page, 301, ()), np.float64).reshape(-1)
    if curve.size and curve.size % 256 == 0:
        curves = curve.reshape(3 if curve.size % 3 == 0 else 1, -1) / 65535
        shown = np.abs(srgb_encode(curves) - np.linspace(0, 1, curves.shape[1])).max()
        if shown > CURVE_WITHIN:
            raise ValueError("its tone curve is not sRGB's (TransferFunction); convert it to sRGB")


def _tag(page: Any, number: int, otherwise: Any) -> Any:
    tag = page.tags.get(number)
    return otherwise if tag is None else tag.value


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
