"""Files of every kind that a camera or a converter writes, made here."""

import functools
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="a view"/></rdf:RDF></x:xmpmeta>'
)
IPTC = b"\x1c\2\x05\0\x06a view\x1c\2\x50\0\x08somebody"
"""A title and an author."""
PHOTOSHOP = b"8BIM\4\4\0\0" + len(IPTC).to_bytes(4, "big") + IPTC + b"\0" * (len(IPTC) % 2)
SIZE = (34, 46)


@functools.cache
def wide_gamut() -> bytes:
    """A colour profile that is not sRGB: its red and blue are exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(profile[131])}
    profile[at[b"rXYZ"] : at[b"rXYZ"] + 4] = b"bXYZ"
    profile[at[b"bXYZ"] : at[b"bXYZ"] + 4] = b"rXYZ"
    return bytes(profile)


def exif(orientation: int = 1) -> Image.Exif:
    """What a camera says: maker, exposure, its own notes, a place."""
    found = Image.Exif()
    found[0x010F], found[0x0110], found[0x0112] = "ACME", "Dual 1", orientation
    found[0x0132] = "2024:01:02 03:04:05"
    inner = found.get_ifd(0x8769)
    inner[0x8827], inner[0x9003], inner[0x829A] = 400, "2024:01:02 03:04:05", 0.02
    inner[0x927C] = b"MAKER" * 20
    place = found.get_ifd(0x8825)
    place[1], place[2] = "N", (48.0, 8.0, 0.0)
    return found


def scene(shift: int, channels: int, dtype: type, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth picture, its detail ``shift`` px to the right."""
    rng = np.random.default_rng(7)
    coarse = rng.uniform(20, 230, (size[0] // 4 + 2, size[1] // 4 + 3, channels))
    y, x = np.arange(size[0]) / 4, (np.arange(size[1]) - shift + 4) / 4
    y0, x0 = y.astype(int), x.astype(int)
    fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    corner = coarse[y0][:, x0], coarse[y0][:, x0 + 1], coarse[y0 + 1][:, x0]
    last = coarse[y0 + 1][:, x0 + 1]
    values = (corner[0] * (1 - fx) + corner[1] * fx) * (1 - fy) + (
        corner[2] * (1 - fx) + last * fx
    ) * fy
    return np.rint(values * (1 if dtype is np.uint8 else 257)).astype(dtype)


@dataclass(frozen=True)
class Kind:
    """A way to write a picture."""

    name: str
    suffix: str
    channels: int
    dtype: type
    options: dict[str, Any]
    orientation: int = 1

    def write(self, pixels: np.ndarray) -> bytes:
        """Return the file of ``(H, W, C)`` with all that it can say."""
        file = io.BytesIO()
        if self.suffix == ".tif":
            samples = pixels[..., 0] if self.channels == 1 else pixels
            if self.options.get("planarconfig") == "separate":
                samples = np.moveaxis(pixels, -1, 0)
            tifffile.imwrite(
                file,
                samples,
                photometric="rgb" if self.channels >= 3 else "minisblack",
                extrasamples=["unassalpha"] if self.channels in (2, 4) else None,
                metadata=None,
                software="a converter",
                resolution=(300, 300),
                iccprofile=wide_gamut() if self.channels >= 3 else None,
                extratags=[
                    (271, 2, 4, "ACME", True),
                    (274, 3, 1, self.orientation, True),
                    (270, 2, 7, "a view", True),
                    (306, 2, 20, "2024:01:02 03:04:05", True),
                    (315, 2, 9, "somebody", True),
                    (700, 1, len(XMP), XMP, True),
                    (33723, 7, len(IPTC), IPTC, True),
                    (34377, 1, len(PHOTOSHOP), PHOTOSHOP, True),
                ],
                **self.options,
            )
            return file.getvalue()
        if self.dtype is np.uint16:
            import imagecodecs

            data = imagecodecs.png_encode(np.ascontiguousarray(pixels.squeeze()))
            return with_chunks(data, self.orientation, colour=self.channels >= 3)
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[self.channels]
        picture = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
        if "palette" in self.options:
            picture = picture.quantize(64)
        keys = {key: value for key, value in self.options.items() if key != "palette"}
        if self.suffix in (".jpg", ".webp"):
            keys["xmp"] = XMP
        if self.suffix in (".jpg", ".png"):
            keys["dpi"] = (300, 300)
        if self.channels >= 3:
            keys["icc_profile"] = wide_gamut()
        form = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[self.suffix]
        picture.save(file, form, exif=exif(self.orientation), **keys)
        data = file.getvalue()
        return _with_photoshop(data) if self.suffix == ".jpg" else data


def _with_photoshop(jpeg: bytes) -> bytes:
    """A JPEG with Photoshop's resources behind JFIF's segment, of 18 bytes."""
    body = b"Photoshop 3.0\0" + PHOTOSHOP
    return jpeg[:20] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[20:]


def with_chunks(png: bytes, orientation: int, *, colour: bool) -> bytes:
    """A PNG with Exif, a profile, its resolution and texts, before and behind the samples."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + crc

    before = chunk(b"pHYs", (11811).to_bytes(4, "big") * 2 + b"\1")
    if colour:
        before += chunk(b"iCCP", b"wide\0\0" + zlib.compress(wide_gamut()))
    before += chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0"))
    before += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    text = chunk(b"tEXt", b"Title\0a view") + chunk(b"tEXt", b"Author\0somebody")
    return png[:33] + before + png[33:-12] + text + png[-12:]


def kinds() -> Iterator[Kind]:
    """All of them."""
    for dtype in (np.uint8, np.uint16):
        bits = np.dtype(dtype).itemsize * 8
        for channels in (1, 2, 3, 4):
            for turn in (1, 3, 6, 8):
                yield Kind(f"png{bits}-{channels}-{turn}", ".png", channels, dtype, {}, turn)
            for compression in (None, "zlib", "lzw", "packbits"):
                for order in "<>":
                    name = f"tif{bits}-{channels}-{compression}-{'le' if order == '<' else 'be'}"
                    options = {"compression": compression, "byteorder": order}
                    yield Kind(name, ".tif", channels, dtype, options, 6 if order == ">" else 1)
            yield Kind(f"tile{bits}-{channels}", ".tif", channels, dtype, {"tile": (16, 16)})
            yield Kind(f"big{bits}-{channels}", ".tif", channels, dtype, {"bigtiff": True})
            if channels == 3:
                planar = {"planarconfig": "separate", "compression": "zlib"}
                yield Kind(f"planar{bits}", ".tif", 3, dtype, planar)
    yield Kind("palette", ".png", 3, np.uint8, {"palette": True})
    for channels in (1, 3):
        for turn in (1, 6, 8):
            for progressive in (False, True):
                name = f"jpg-{channels}-{turn}-{'p' if progressive else 'b'}"
                options = {"quality": 95, "progressive": progressive, "comment": b"hello"}
                yield Kind(name, ".jpg", channels, np.uint8, options, turn)
    for channels in (3, 4):
        for turn in (1, 6):
            yield Kind(
                f"webp-{channels}-{turn}", ".webp", channels, np.uint8, {"quality": 95}, turn
            )
            lossless = {"lossless": True, "exact": True}
            yield Kind(f"webpl-{channels}-{turn}", ".webp", channels, np.uint8, lossless, turn)
    zipped = {"compression": "zlib"}
    for turn in (2, 4, 5, 7):  # the others are above, but for TIFF's and WebP's
        yield Kind(f"turn-{turn}", ".png", 3, np.uint16, {}, turn)
    for turn in (2, 3, 4, 5, 7, 8):
        yield Kind(f"turn-tif-{turn}", ".tif", 3, np.uint16, zipped, turn)
        yield Kind(f"turn-webp-{turn}", ".webp", 3, np.uint8, {"quality": 95}, turn)
        if turn != 8:
            yield Kind(f"turn-jpg-{turn}", ".jpg", 3, np.uint8, {"quality": 95}, turn)
