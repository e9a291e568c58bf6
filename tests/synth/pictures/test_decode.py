"""Every sample as stored, or refused: TIFF as its tags say, colours, turns, limits, damage."""

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from synth.pictures import decode
from synth.pictures.profile import _curve

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)


def tiff(pixels: np.ndarray, **keys: Any) -> bytes:
    file = io.BytesIO()
    colour = pixels.ndim >= 3 and not {3, 4}.isdisjoint(pixels.shape)
    keys.setdefault("photometric", "rgb" if colour else "minisblack")
    tifffile.imwrite(file, pixels, metadata=None, **keys)
    return file.getvalue()


def saved(picture: Image.Image, kind: str, **keys: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **keys)
    return file.getvalue()


def smooth(height: int = 48, width: int = 64) -> Image.Image:
    coarse = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def read(data: bytes) -> np.ndarray:
    return decode(data, where="x").upright


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_every_make(compression: str | None, kind: type, planar: str, order: str) -> None:
    picture = (NOISE >> (8 if kind is np.uint8 else 0)).astype(kind)
    stored = picture if planar == "contig" else np.moveaxis(picture, -1, 0)
    data = tiff(stored, compression=compression, planarconfig=planar, byteorder=order)
    assert np.array_equal(read(data), picture)
    tiled = tiff(stored, compression=compression, planarconfig=planar, tile=(16, 16))
    assert np.array_equal(read(tiled), picture)


def test_tiff_grey_alpha_and_min_is_white() -> None:
    grey, alpha = NOISE[..., 0], NOISE[..., 1]
    assert np.array_equal(read(tiff(grey)), grey[..., None])
    inverted = tiff(65535 - grey, photometric="miniswhite")
    assert np.array_equal(read(inverted), grey[..., None])
    both = tiff(np.stack([grey, alpha], -1), extrasamples=["unassalpha"], planarconfig="contig")
    assert np.array_equal(read(both)[..., 0], grey)
    small = (np.dstack([NOISE, NOISE[..., :1]]) >> 8).astype(np.uint8)
    rgba = tiff(small, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read(rgba), small), "colours are not multiplied by alpha"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(NOISE, photometric="cielab"), "CIE Lab"),
        (tiff(np.dstack([NOISE, NOISE[..., 0]]), photometric="separated"), "CMYK"),
        (tiff(NOISE.astype(np.float32)), "float32"),
        (tiff(NOISE.astype(np.uint32)), "uint32"),
        (tiff(np.stack([NOISE, NOISE])), "one picture, got 2"),
        (tiff(np.dstack([NOISE, NOISE[..., 0]]), extrasamples=["assocalpha"]), "multiplied"),
        (saved(smooth().quantize(8), "TIFF"), "palette"),
        (saved(smooth(), "BMP"), "PNG, JPEG, TIFF or WebP"),
        (saved(smooth().convert("CMYK"), "JPEG"), "CMYK"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=f"x: .*{words}"):
        decode(data, where="x")


def test_depth_may_be_floats_and_needs_no_profile() -> None:
    depth = RNG.random((5, 7), np.float32)
    assert np.array_equal(decode(tiff(depth), where="x", colour=False).stored[..., 0], depth)
    linear = png_with(b"gAMA", struct.pack(">I", 100_000))
    assert decode(linear, where="x", colour=False).stored.shape == (48, 64, 3)


def test_grey_stays_grey() -> None:
    for kind in ("PNG", "JPEG", "TIFF"):
        assert read(saved(smooth().convert("L"), kind)).shape == (48, 64, 1)


def test_our_jpeg_is_the_one_of_another_decoder() -> None:
    data = saved(smooth(), "JPEG", quality=90)
    assert np.abs(read(data).astype(int) - np.asarray(Image.open(io.BytesIO(data)))).max() <= 1


def test_limits_hold_before_anything_is_decoded() -> None:
    """A JPEG whose header says 400 megapixels, in a process that may not take the memory."""
    code = (
        "import resource, sys; from synth.pictures import decode\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "try: decode(sys.stdin.buffer.read(), where='x')\n"
        "except ValueError as error: print(error)"
    )
    jpeg = bytearray(saved(smooth(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    wide = bytearray(tiff(np.zeros((4, 4), np.uint8)))
    with tifffile.TiffFile(io.BytesIO(wide)) as file:
        places = [file.pages[0].tags[tag].valueoffset for tag in (256, 257)]
        kinds = [int(file.pages[0].tags[tag].dtype) for tag in (256, 257)]
    for place, kind in zip(places, kinds, strict=True):
        struct.pack_into("<H" if kind == 3 else "<I", wide, place, 20_000)
    for data in (bytes(jpeg), bytes(wide)):
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, input=data, capture_output=True, check=True)
        assert b"20000 x 20000 pixels is more than is accepted" in ran.stdout


def png_with(kind: bytes, body: bytes) -> bytes:
    data = saved(smooth(), "PNG")
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + data[33:]


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def other_profile(*, primaries: bool) -> bytes:
    """SRGB with red and green exchanged, or with a straight tone curve."""
    profile = bytearray(SRGB)
    (count,) = struct.unpack_from(">I", profile, 128)
    places = {}
    for number in range(count):
        key, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        places[key] = (start, size)
    if primaries:
        red, green = places[b"rXYZ"][0], places[b"gXYZ"][0]
        profile[red : red + 20], profile[green : green + 20] = (
            profile[green : green + 20],
            profile[red : red + 20],
        )
    else:
        start, size = places[b"rTRC"]
        profile[start : start + size] = (b"curv" + bytes(8)).ljust(size, b"\0")
    return bytes(profile)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_profiles_are_srgb_or_refused(kind: str) -> None:
    plain = read(saved(smooth(), kind))
    assert read(saved(smooth(), kind, icc_profile=SRGB)).shape == plain.shape
    for primaries, words in ((True, "other colours than sRGB"), (False, "another tone curve")):
        profile = other_profile(primaries=primaries)
        with pytest.raises(ValueError, match=words):
            read(saved(smooth(), kind, icc_profile=profile))
    adobe = {"PNG": adobe_png, "JPEG": adobe_jpeg, "TIFF": adobe_tiff}[kind]
    with pytest.raises(ValueError, match="Adobe RGB"):
        read(adobe())


@pytest.mark.parametrize(
    "description",
    [
        b"desc" + bytes(4) + struct.pack(">I", 10) + b"My camera" + bytes(9),
        b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", 18, 28)
        + "My camera".encode("utf-16-be"),
    ],
    ids=["version 2", "version 4"],
)  # fmt: skip
def test_a_profile_that_is_refused_is_named(description: bytes) -> None:
    profile = bytearray(other_profile(primaries=True))
    (count,) = struct.unpack_from(">I", profile, 128)
    for number in range(count):
        if profile[132 + 12 * number :].startswith(b"desc"):
            struct.pack_into(">II", profile, 136 + 12 * number, len(profile), len(description))
    with pytest.raises(ValueError, match="its colour profile 'My camera' has other colours"):
        read(saved(smooth(), "PNG", icc_profile=bytes(profile) + description))


@pytest.mark.parametrize("kind", range(5))
def test_parametric_curves_are_those_of_icc(kind: int) -> None:
    """ICC.1:2022, table 68."""
    g, a, b, c, d, e, f = 2.0, 0.75, 0.25, 0.125, 0.5, 0.0625, 0.03125
    names = ("g", "g a b", "g a b c", "g a b c d", "g a b c d e f")[kind].split()
    values = {"g": g, "a": a, "b": b, "c": c, "d": d, "e": e, "f": f}
    numbers = [round(values[name] * 65536) for name in names]
    tag = b"para" + bytes(4) + struct.pack(f">HH{len(numbers)}i", kind, 0, *numbers)

    def expected(x: float) -> float:
        power = (a * x + b) ** g
        above, below = {
            0: (x**g, 0.0),
            1: (power, 0.0),
            2: (power + c, c),
            3: (power, c * x),
            4: (power + e, c * x + f),
        }[kind]
        return above if kind == 0 or x >= (d if kind > 2 else -b / a) else below

    x = np.linspace(0, 1, 33)
    np.testing.assert_allclose(_curve(tag, x), [expected(float(one)) for one in x])


EXIF_FOLDER = struct.pack("<HHHIII", 1, 0xA001, 3, 1, 2, 0)
EXIF = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0) + EXIF_FOLDER


def adobe_png() -> bytes:
    return png_with(b"eXIf", EXIF)


def adobe_jpeg() -> bytes:
    return saved(smooth(), "JPEG", exif=b"Exif\0\0" + EXIF)


def adobe_tiff() -> bytes:
    """A TIFF is an Exif block itself: its first folder points to Exif's, here behind the rest."""
    data = tiff(np.asarray(smooth()), extratags=[(40_000, "I", 1, 1 << 28, True)])
    ours, exifs = (struct.pack("<HHII", *e) for e in entries(len(data)))
    return data.replace(ours, exifs) + EXIF_FOLDER


def entries(end: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The entry that tifffile writes, and the one of Exif that it would not."""
    return (40_000, 4, 1, 1 << 28), (0x8769, 4, 1, end)


def test_linear_png_is_refused() -> None:
    with pytest.raises(ValueError, match="linear light"):
        read(png_with(b"gAMA", struct.pack(">I", 100_000)))
    assert read(png_with(b"gAMA", struct.pack(">I", 45_455))).shape == (48, 64, 3)
    with pytest.raises(ValueError, match="cICP"):
        read(png_with(b"cICP", b"\x09\x10\x00\x01"))


SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
"""White, red, green and blue of IEC 61966-2-1 as x and y times 100000, as cHRM has them."""


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize(
    ("off", "refused"), [(0, False), (900, False), (-900, False), (1100, True)]
)
def test_png_primaries_are_srgb_s_to_a_hundredth(place: int, off: int, refused: bool) -> None:
    there = list(SRGB_PRIMARIES)
    there[place] += off
    data = png_with(b"cHRM", struct.pack(">8I", *there))
    if refused:
        with pytest.raises(ValueError, match="its primaries are not sRGB's"):
            read(data)
    else:
        assert read(data).shape == (48, 64, 3)


@pytest.mark.parametrize(("gamma", "refused"), [(45_000, False), (45_900, False), (46_000, True)])
def test_png_gamma_is_srgb_s_or_refused(gamma: int, refused: bool) -> None:
    data = png_with(b"gAMA", struct.pack(">I", gamma))
    if refused:
        with pytest.raises(ValueError, match=r"gamma 2\.2 .*not sRGB"):
            read(data)
    else:
        assert read(data).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_one_rule_for_orientation(kind: str, orientation: int) -> None:
    """As another library turns it."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(smooth(), kind, exif=exif)
    picture = decode(data, where="x")
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert picture.orientation == orientation
    assert picture.stored.shape == (48, 64, 3)
    assert picture.upright.shape == shown.shape
    assert np.abs(picture.upright.astype(int) - shown).max() <= 2


def test_damage_that_the_format_reveals() -> None:
    zipped = bytearray(tiff(NOISE, compression="zlib"))
    for place in range(len(zipped) // 3, len(zipped) - 300, 97):
        broken = bytearray(zipped)
        broken[place] ^= 0x55
        with pytest.raises(ValueError, match="x: "):
            decode(bytes(broken), where="x")
    for length in range(8, len(zipped), 61):
        with pytest.raises(ValueError, match="x: "):
            decode(bytes(zipped[:length]), where="x")
    data = saved(Image.fromarray((NOISE >> 8).astype(np.uint8)).resize((256, 256)), "JPEG")
    scan = data.index(b"\xff\xda")
    gone = data[: scan + 400] + data[-900:]  # a piece of the scan is missing
    with pytest.raises(ValueError, match="damaged JPEG"):
        decode(gone, where="x")


def test_a_strip_of_lzw_that_is_not_of_its_length_is_refused() -> None:
    import imagecodecs

    for layout in ({"rowsperstrip": 10}, {"tile": (16, 16)}, {"planarconfig": "separate"}):
        stored = np.moveaxis(NOISE, -1, 0) if "planarconfig" in layout else NOISE
        whole = tiff(stored, compression="lzw", **layout)
        assert np.array_equal(read(whole), NOISE)
        with tifffile.TiffFile(io.BytesIO(whole)) as file:
            page = file.pages[0]
            start, size = page.dataoffsets[-1], page.databytecounts[-1]
        part = imagecodecs.lzw_decode(whole[start : start + size])
        short = imagecodecs.lzw_encode(part[: len(part) // 2])
        broken = whole[:start] + short + whole[start + len(short) :]
        with pytest.raises(ValueError, match="damaged TIFF"):
            decode(broken, where="x")


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + kind + body + crc


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (chunk(b"acTL", bytes([0, 0, 0, 2, 0, 0, 0, 0])), "got an animation"),
        (chunk(b"cICP", bytes([1, 13, 0, 0])), "not sRGB"),  # of television's range
        (chunk(b"cICP", bytes([9, 16, 0, 1])), "not sRGB"),
        (chunk(b"ABCD", b""), "damaged PNG"),
        (chunk(b"cICP", bytes([1, 13, 0, 1])), ""),
    ],
)
def test_parts_of_a_png_that_change_what_it_shows(part: bytes, words: str) -> None:
    whole = saved(smooth(20, 20), "PNG")
    with_part = whole[:33] + part + whole[33:]
    if not words:
        assert np.array_equal(read(with_part), read(whole))
        return
    with pytest.raises(ValueError, match=words) as caught:
        decode(with_part, where="x")
    assert "codec" not in str(caught.value)


def test_tiff_primaries_and_curve_are_srgb_s_or_refused() -> None:
    def with_tag(code: int, kind: int, count: int, value: tuple[int, ...]) -> bytes:
        return tiff(NOISE, extratags=[(code, kind, count, value, True)])

    srgb = (64, 100, 33, 100, 30, 100, 60, 100, 15, 100, 6, 100)
    assert np.array_equal(read(with_tag(319, 5, 6, srgb)), NOISE)
    adobe = (64, 100, 33, 100, 21, 100, 71, 100, 15, 100, 6, 100)
    with pytest.raises(ValueError, match="PrimaryChromaticities"):
        decode(with_tag(319, 5, 6, adobe), where="x")
    x = np.linspace(0, 1, 256)
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    for count in (256, 768):
        curve = tuple(np.rint(65535 * np.resize(light, count)).astype(int).tolist())
        assert np.array_equal(read(with_tag(301, 3, count, curve)), NOISE)
        linear = tuple(np.rint(65535 * np.resize(x, count)).astype(int).tolist())
        with pytest.raises(ValueError, match="TransferFunction"):
            decode(with_tag(301, 3, count, linear), where="x")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
    ],
)
def test_what_was_downloaded_in_place_of_a_picture(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(data, where="x")


def test_500_mutated_files_are_decoded_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """Never another error, never a picture of another size, and no line of a library's own."""
    picture = smooth(40, 40)
    wide = np.asarray(picture).astype(np.uint16) * 257
    whole = [
        saved(picture, "PNG"),
        saved(picture, "JPEG"),
        saved(picture, "JPEG", progressive=True, icc_profile=SRGB),
        tiff(wide, compression="zlib", predictor=True),
        tiff(wide, compression="lzw"),
        tiff(np.moveaxis(wide, -1, 0), planarconfig="separate", tile=(16, 16)),
        tiff(wide[..., 0], rowsperstrip=4),
    ]
    refused = 0
    for number in range(504):
        rng = np.random.default_rng(number)
        data = bytearray(whole[number % len(whole)])
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
        if number % 5 == 0:
            del data[int(rng.integers(0, len(data))) :]
        try:
            found = decode(bytes(data), where="x")
        except ValueError as error:
            assert str(error).startswith("x: ") and "\n" not in str(error)
            refused += 1
        else:
            assert found.stored.ndim == 3 and found.stored.dtype in (np.uint8, np.uint16)
    assert refused > 250
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "head",
    [
        b"II*\0\x10\0\0\0CR\2\0",  # CR2 of either byte order: a TIFF with its name behind the head
        b"MM\0*\0\0\0\x10CR\2\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1",  # CR3
    ],
)
def test_a_raw_file_is_told_by_its_first_bytes(head: bytes) -> None:
    with pytest.raises(ValueError, match="a camera's raw file, not a picture"):
        decode(head + bytes(64), where="shot")
    with pytest.raises(ValueError) as refused:  # one letter off, it is something else
        decode(head.replace(b"CR", b"PR").replace(b"crx", b"crw") + bytes(64), where="shot")
    assert "raw" not in str(refused.value)
