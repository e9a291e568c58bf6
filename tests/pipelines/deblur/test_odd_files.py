"""Files that say odd things of themselves: made, or refused in one line; never a crash."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.deblur.exif_tree import read_tree
from pipelines.deblur.jpeg_file import encode_jpeg
from pipelines.deblur.metadata import Metadata
from pipelines.deblur.output import check_format, lost_in
from pipelines.deblur.photograph import Photograph, read_photograph
from pipelines.deblur.png_file import _chunk, encode_png
from pipelines.deblur.result import DeblurResult
from pipelines.deblur.tiff_file import encode_tiff
from pipelines.deblur.webp_file import encode_webp
from pipelines.errors import UserError
from pipelines.failures import explain_failure
from pipelines.split.config import SplitConfig
from pipelines.split.run import run as split
from pipelines.storage import Location, locate
from tests.pipelines.deblur.pictures import XMP, exif, scene, wide_gamut

Sharpen = Callable[..., DeblurResult]
PIXELS = scene(0, 3, np.uint8, (16, 20))
SUFFIXES = (".png", ".tif", ".jpg", ".webp")
CASES = 75


def saved(suffix: str, pixels: np.ndarray = PIXELS, **keys: Any) -> bytes:
    """A picture with all that its format can say of itself."""
    form = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}[suffix]
    keys = {"exif": exif(6), "icc_profile": wide_gamut()} | keys
    if suffix in (".jpg", ".webp"):
        keys["xmp"] = XMP
    if suffix != ".webp":
        keys["dpi"] = (300, 300)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **keys)
    return file.getvalue()


def chunks_of(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at + 8 : at + 8 + length]
        at += 12 + length


def png_with(*more: tuple[bytes, bytes], pixels: np.ndarray = PIXELS) -> bytes:
    first, *rest = chunks_of(saved(".png", pixels))
    return png_of(first, *more, *rest)


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def jpeg_with(*more: tuple[int, bytes]) -> bytes:
    """Segments before those of the file, which begin with its JFIF."""
    bodies = [
        b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in more
    ]
    plain = io.BytesIO()
    Image.fromarray(PIXELS).save(plain, "JPEG", quality=95)
    return b"\xff\xd8" + b"".join(bodies) + plain.getvalue()[20:]


def damaged(body: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, emptied, or with a few bytes of other values, often extreme ones."""
    way = rng.integers(5)
    if way == 0:
        return body[: rng.integers(len(body) + 1)]
    if way == 1:
        return body[rng.integers(len(body) + 1) :]
    changed = bytearray(body)
    for _ in range(rng.integers(1, 6) if changed else 0):
        at, size = int(rng.integers(len(changed))), int(rng.choice([1, 1, 2, 4, 8]))
        fill = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
        changed[at : at + size] = bytes([fill]) * len(changed[at : at + size])
    return bytes(changed)


def damaged_file(suffix: str, rng: np.random.Generator) -> bytes:
    """A picture with whole samples, and damage in what it says of itself."""
    if suffix == ".png":
        chunks = [*chunks_of(png_with((b"gAMA", b"\0\0\xb1\x8f"), (b"tEXt", b"a\0b")))]
        touched = [n for n, (kind, _) in enumerate(chunks) if kind not in (b"IHDR", b"IDAT")]
        for n in rng.choice(touched[:-1], 2):
            chunks[n] = chunks[n][0], damaged(chunks[n][1], rng)
        return png_of(*chunks)
    data = saved(suffix)
    if suffix == ".jpg":
        start = data.index(b"\xff\xdb")  # tables, which begin the samples
        at, segments = 2, list[tuple[int, bytes]]()
        while at < start:
            (length,) = struct.unpack_from(">H", data, at + 2)
            segments.append((data[at + 1], data[at + 4 : at + 2 + length]))
            at += 2 + length
        for n in rng.integers(len(segments), size=2):
            segments[n] = segments[n][0], damaged(segments[n][1], rng)
        return jpeg_with(*segments)
    if suffix == ".webp":
        at, parts = 12, b""
        while at < len(data):
            kind, length = struct.unpack_from("<4sI", data, at)
            body = data[at + 8 : at + 8 + length]
            if kind in (b"ICCP", b"EXIF", b"XMP "):
                body = damaged(body, rng)
            parts += kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
            at += 8 + length + length % 2
        return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for _ in range(2):
        at = start + 2 + 12 * int(rng.integers(count))
        (tag,) = struct.unpack_from("<H", data, at)
        if tag < 270 or tag in (273, 277, 278, 279, 284):  # of samples
            continue
        changed[at + 2 : at + 12] = damaged(data[at + 2 : at + 12], rng).ljust(10, b"\0")
    behind = start + 6 + 12 * count  # values, and the directories of Exif and GPS
    strips = struct.unpack_from("<I", data, data.index(struct.pack("<HH", 273, 4), start) + 8)[0]
    end = strips if strips > behind else len(data)
    changed[behind:end] = damaged(data[behind:end], rng).ljust(end - behind, b"\0")
    return bytes(changed)


def of(tmp_path: Path, name: str, data: bytes) -> Photograph:
    (tmp_path / name).write_bytes(data)
    return read_photograph(locate(str(tmp_path / name)), name)


def written(tmp_path: Path, photograph: Photograph, name: str) -> bytes:
    """As ``write_photograph`` does, but for what makes it last: hundreds are written."""
    path, pixels, metadata = tmp_path / name, photograph.pixels, photograph.metadata
    if path.suffix == ".tif":
        path.write_bytes(encode_tiff(pixels, metadata))
    elif path.suffix == ".png":
        path.write_bytes(b"".join(encode_png(pixels, metadata)))
    else:
        encode = {".jpg": encode_jpeg, ".webp": encode_webp}[path.suffix]
        path.write_bytes(encode(pixels, metadata))
    return path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_metadata_is_a_crash(tmp_path: Path, suffix: str) -> None:
    """Damage of any kind: each format is written, or a reason is given."""
    rng = np.random.default_rng(suffix.encode()[1])
    path, made = tmp_path / f"view{suffix}", 0
    for case in range(CASES):
        path.write_bytes(damaged_file(suffix, rng))
        try:
            photograph = read_photograph(locate(str(path)), "view")
        except UserError as error:
            assert str(error).startswith("view: "), case
            continue
        for other in SUFFIXES:
            out = tmp_path / f"out{other}"
            lost_in(out.name, photograph.metadata)
            try:
                written(tmp_path, photograph, out.name)
            except ValueError:
                continue
            again = read_photograph(locate(str(out)), "out")
            if other != ".jpg":
                assert np.array_equal(again.pixels, photograph.pixels), (case, other)
        made += 1
    assert made > CASES / 3, "what is always refused proves nothing of what is written"


def tiff_of(*tags: tuple[Any, ...], samples: int = 3, **keys: Any) -> bytes:
    file = io.BytesIO()
    pixels = scene(0, samples, np.uint8, (16, 20))
    tifffile.imwrite(file, pixels, metadata=None, extratags=tags, **{"photometric": "rgb"} | keys)
    return file.getvalue()


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 7])
def test_a_short_jfif_an_empty_profile_and_a_unit_of_another_kind(
    tmp_path: Path, kind: int
) -> None:
    for length in range(9):
        photograph = of(tmp_path, "a.jpg", jpeg_with((0xE0, b"JFIF\0\1\1\1\0\1\0\1"[:length])))
        assert photograph.metadata.resolution is None
    photograph = of(tmp_path, "a.jpg", jpeg_with((0xE2, b"ICC_PROFILE\0")))
    assert photograph.metadata.icc is None
    data = tiff_of(resolution=(118, 118), resolutionunit="CENTIMETER")
    entry = struct.pack("<HHII", 296, 3, 1, 3)
    assert data.count(entry) == 1
    data = data.replace(entry, struct.pack("<HHII", 296, kind, 1, 3))
    photograph = of(tmp_path, "a.tif", data)
    known = kind in (1, 3, 4)
    expected = (118 * 2.54, 118 * 2.54) if known else None
    assert photograph.metadata.resolution == (pytest.approx(expected) if known else None)
    written(tmp_path, photograph, "b.png")


@pytest.mark.parametrize("value", [1e-5, 0.3, 1, 72, 65535, 65536, 2e7, 2e8, 4e9])
def test_a_resolution_that_a_format_cannot_state_is_left_out_and_said(
    tmp_path: Path, value: float
) -> None:
    fraction = (round(value), 1) if value >= 1 else (1, round(1 / value))
    tags = {"resolution": (fraction, fraction), "resolutionunit": "INCH"}
    tiff = of(tmp_path, "a.tif", tiff_of(**tags))
    meters = min(max(round(value / 0.0254), 1), 2**32 - 1)
    png = of(
        tmp_path,
        "a.png",
        png_of(
            *(c for c in chunks_of(saved(".png")) if c[0] == b"IHDR"),
            (b"pHYs", struct.pack(">IIB", meters, meters, 1)),
            *(c for c in chunks_of(saved(".png")) if c[0] in (b"IDAT", b"IEND")),
        ),
    )
    for source in (tiff, png):
        said = source.metadata.resolution[0]
        for suffix in SUFFIXES[:3]:
            photograph = of(tmp_path, f"b{suffix}", written(tmp_path, source, f"b{suffix}"))
            lost = any("px an inch" in words for words in lost_in(f"b{suffix}", source.metadata))
            found = photograph.metadata.resolution
            same = found and found[0] == pytest.approx(said, rel=0.02, abs=0.5)
            assert bool(same) != lost, (suffix, said, found)


def test_parts_of_a_png_that_are_of_its_old_samples_stay_behind(tmp_path: Path) -> None:
    """By the fourth letter, as PNG has it; those that are known to stay true are kept."""
    true = [(b"gAMA", b"\0\0\xb1\x8f"), (b"sBIT", b"\x08\x08\x08"), (b"prVa", b"safe")]
    stale = [(b"iDOT", bytes(28)), (b"caBX", b"signed"), (b"prVT", b"unsafe")]
    photograph = of(tmp_path, "a.png", png_with(*true, *stale))
    chunks = dict(chunks_of(written(tmp_path, photograph, "b.png")))
    assert all(chunks.get(kind) == body for kind, body in true)
    assert not chunks.keys() & dict(stale).keys()
    for name in ("b.png", "b.tif"):
        told = " ".join(lost_in(name, photograph.metadata))
        assert all(kind.decode() in told for kind, _ in stale) and "prVa" not in told
    untouched = {kind for kind, _ in chunks_of(png_with())}
    assert untouched == {
        kind for kind, _ in chunks_of(written(tmp_path, of(tmp_path, "c.png", png_with()), "d.png"))
    }


@pytest.mark.parametrize("behind", ["nothing", "zeros", "JPEG", "film"])
def test_what_follows_a_jpeg_is_said(tmp_path: Path, behind: str) -> None:
    """A gain map or a second view is a whole JPEG itself."""
    more = {"nothing": b"", "zeros": bytes(9), "JPEG": saved(".jpg"), "film": b"\0\0ftypmp4"}
    photograph = of(tmp_path, "a.jpg", saved(".jpg") + more[behind])
    lost = any("what follows the picture" in w for w in lost_in("b.jpg", photograph.metadata))
    assert lost == (behind in ("JPEG", "film"))
    written(tmp_path, photograph, "b.jpg")
    assert of(tmp_path, "b.jpg", (tmp_path / "b.jpg").read_bytes()).metadata.left_out == ()


def test_content_credentials_are_of_the_old_samples(tmp_path: Path) -> None:
    parts = ((0xEB, b"JP\0\1\0\0\0\1jumb"), (0xEB, b"JP\0\1\0\0\0\2more"), (0xEB, b"HDR_RI"))
    photograph = of(tmp_path, "a.jpg", jpeg_with(*parts))
    kept = written(tmp_path, photograph, "b.jpg")
    assert b"jumb" not in kept and b"\2more" not in kept and b"HDR_RI" in kept
    for name in ("b.jpg", "b.png"):
        told = [words for words in lost_in(name, photograph.metadata) if "credentials" in words]
        assert told == ["content credentials (of the old samples)"]


@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("samples", [2, 4])
def test_a_webp_says_what_alpha_it_has(tmp_path: Path, opaque: bool, samples: int) -> None:
    pixels = scene(0, samples, np.uint8, (16, 20))
    if opaque:
        pixels[..., -1] = 255
    metadata = of(tmp_path, "a.webp", saved(".webp")).metadata
    (tmp_path / "b.webp").write_bytes(data := encode_webp(pixels, metadata))
    assert data[12:16] == b"VP8X" and bool(data[20] & 0x10) != opaque
    again = of(tmp_path, "b.webp", data).pixels
    assert again.shape[2] == (3 if opaque else 4)
    assert np.array_equal(again[..., 0], pixels[..., 0])
    assert opaque or np.array_equal(again[..., 3], pixels[..., -1])


@pytest.mark.parametrize(("suffix", "longest"), [(".jpg", 65500), (".webp", 16382)])
def test_a_side_that_a_format_lacks_is_told_before_the_work(suffix: str, longest: int) -> None:
    for side in (longest, longest + 1):
        pixels = np.zeros((1, side, 3), np.uint8)
        long = Photograph(where="a", pixels=pixels, orientation=1, metadata=Metadata(format="png"))
        if side == longest:
            check_format(f"b{suffix}", long)
            (encode_jpeg if suffix == ".jpg" else encode_webp)(pixels, long.metadata)
        else:
            with pytest.raises(UserError, match=f"holds {longest} px a side at most"):
                check_format(f"b{suffix}", long)


@pytest.mark.parametrize("extra", ["unspecified", "unassalpha"])
@pytest.mark.parametrize("samples", [2, 4])
def test_a_last_sample_means_what_it_meant(tmp_path: Path, extra: str, samples: int) -> None:
    keys = {"photometric": "rgb" if samples == 4 else "minisblack", "planarconfig": "contig"}
    data = tiff_of(samples=samples, extrasamples=[extra], **keys)
    photograph = of(tmp_path, "a.tif", data)
    written(tmp_path, photograph, "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [int(e) for e in file.pages[0].extrasamples] == [2 if extra == "unassalpha" else 0]
    told = lost_in("b.png", photograph.metadata)
    assert any("alpha" in words for words in told) == (extra == "unspecified")


def test_a_picture_is_no_dng(tmp_path: Path) -> None:
    tags = [
        (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, 5, "ACME", True),
        (271, 2, 5, "ACME", True),
    ]
    photograph = of(tmp_path, "a.tif", tiff_of(*tags))
    for name in ("b.tif", "b.jpg", "b.png"):
        written(tmp_path, photograph, name)
        assert "what only a DNG says" in lost_in(name, photograph.metadata)
    tree = read_tree((tmp_path / "b.tif").read_bytes())
    assert tree is not None and 271 in tree.main and not {50706, 50708} & tree.main.keys()


@pytest.mark.parametrize("value", [0, 9, 65535])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_orientation_that_means_nothing_is_upright_and_said(
    tmp_path: Path, sharpen: Sharpen, suffix: str, value: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in "LR":
        (tmp_path / f"a_{side}{suffix}").write_bytes(saved(suffix, exif=exif(value)))
    photograph = read_photograph(locate(str(tmp_path / f"a_L{suffix}")), "a")
    assert photograph.orientation == 1
    assert photograph.notices == (
        f"its Orientation is {value}, which means nothing: taken for 1, upright",
    )
    if value == 9:
        sharpen(tmp_path / f"a_L{suffix}", tmp_path / f"a_R{suffix}", tmp_path / f"b{suffix}")
        assert f"its Orientation is {value}" in capsys.readouterr().err


@pytest.mark.parametrize("head", [b"\0" * 8, saved(".tif"), saved(".png")[:40], b"GIF89a"])
def test_a_huge_file_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    path = tmp_path / "huge.tif"
    path.write_bytes(head)
    os.truncate(path, 6 << 30)

    def read(path: Path) -> bytes:
        raise AssertionError("it was read whole")

    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(UserError, match=r"huge: (the file has 6144 MiB|not an image)"):
        read_photograph(locate(str(path)), "huge")
    os.truncate(path, 300 << 20)
    with pytest.raises(UserError, match=r"huge: (the file has 300 MiB, of 200 MiB|not an image)"):
        read_photograph(locate(str(path)), "huge", memory_mib=200)


def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(UserError, match="is a pipe or a device, not a file"):
            read_photograph(locate(str(path)), str(path))


def test_a_disk_that_is_late_is_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(saved(".png"))

    def late(location: Location) -> bytes:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr(Location, "read_bytes", late)
    with pytest.raises(UserError, match=r"^a cannot be read: connection timed out; check its disk"):
        read_photograph(locate(str(tmp_path / "a.png")), "a")


def test_who_is_late_is_told_apart(tmp_path: Path) -> None:
    """A file's name comes with the error of a disk, and with none of a service."""
    disk = TimeoutError(110, "Connection timed out", str(tmp_path / "a.tif"))
    told = explain_failure(disk)
    assert told.exit_code == 2 and "a.tif: connection timed out; check the path" in told.message
    assert "a service does not answer" in explain_failure(TimeoutError("timed out")).message


def test_a_picture_needs_no_split(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    (tmp_path / "a.png").write_bytes(saved(".png"))
    with pytest.raises(UserError, match="a picture needs no split: k3dn deblur takes two views"):
        split(SplitConfig(source=str(tmp_path / "a.png"), output=str(tmp_path / "views")))


def test_odd_names_and_pages(tmp_path: Path, sharpen: Sharpen) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for side in "LR":
        (folder / os.fsdecode(f"\xff<b>_{side}.png".encode("latin-1"))).write_bytes(saved(".png"))
    result = sharpen(folder, None, tmp_path / "out", show=True, model="box:nano")
    assert len(result.pictures) == 1 and result.page is not None
    assert "&lt;b&gt;" in Path(result.page).read_text("utf-8")


def test_a_zipped_profile_that_is_no_profile(tmp_path: Path) -> None:
    for body in (b"", b"a", b"a\0", b"a\0\0", b"a\0\0junk", b"a\0\0" + zlib.compress(b"")[:-4]):
        photograph = of(
            tmp_path,
            "a.png",
            png_of(
                *(c for c in chunks_of(saved(".png")) if c[0] == b"IHDR"),
                (b"iCCP", body),
                *(c for c in chunks_of(saved(".png")) if c[0] in (b"IDAT", b"IEND")),
            ),
        )
        for suffix in SUFFIXES:
            written(tmp_path, photograph, f"b{suffix}")


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nothing", ""])
def test_a_device_that_computes_nothing_is_named(
    tmp_path: Path, sharpen: Sharpen, device: str
) -> None:
    for side in "LR":
        (tmp_path / f"a_{side}.png").write_bytes(saved(".png"))
    with pytest.raises(UserError, match=rf"^devices={device}: there is no such device to compute"):
        sharpen(tmp_path / "a_L.png", None, tmp_path / "b.png", devices=(device,), model="box:nano")


def test_a_folder_goes_on_past_odd_files(tmp_path: Path, sharpen: Sharpen) -> None:
    for name, data in (
        ("a", jpeg_with((0xE0, b"JFIF\0\1\1"))),
        ("b", jpeg_with((0xE2, b"ICC_PROFILE\0"))),
        ("c", saved(".jpg")),
        ("d", b"\xff\xd8\xff"),
    ):
        for side in "LR":
            (tmp_path / f"{name}_{side}.jpg").write_bytes(data)
    result = sharpen(tmp_path, None, tmp_path / "out")
    assert [Path(made.output).stem for made in result.pictures] == ["a", "b", "c"]
    assert len(result.failed) == 1 and "truncated JPEG" in result.failed[0].reason
