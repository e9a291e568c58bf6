"""What a photograph's file says of itself is the same before and after, in files of every kind."""

import base64
import errno
import fcntl
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import k3dn
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.metadata import Metadata
from pipelines.deblur.output import AlreadyThere, write_photograph
from pipelines.deblur.photograph import read_photograph
from pipelines.deblur.result import DeblurResult
from pipelines.deblur.run import run
from pipelines.errors import UserError
from pipelines.storage import Location, locate
from tests.pipelines.deblur.pictures import XMP, Kind, exif, kinds, scene, wide_gamut

Sharpen = Callable[..., DeblurResult]

# How samples lie in a file, which is the writer's to choose.
OF_SAMPLES = {
    *("Compression", "Predictor", "StripOffsets", "StripByteCounts", "RowsPerStrip"),
    *("TileWidth", "TileLength", "TileOffsets", "TileByteCounts", "PlanarConfiguration"),
    *("Interlace", "Filter", "Palette", "ColorType", "BitDepth", "VP8Version", "WebP_Flags"),
    *("HorizontalScale", "VerticalScale", "AlphaPreprocessing", "AlphaFiltering"),
    *("AlphaCompression", "Transparency", "ExtraSamples", "SampleFormat", "SubfileType"),
    *("ApplicationNotes", "IPTC-NAA"),  # XMP and IPTC of a BigTIFF, read elsewhere, too
    *("ImageLength", "PhotometricInterpretation", "YCbCrSubSampling", "AlphaIsUsed"),
}


def of_pillow(path: Path) -> dict[str, Any]:
    """All that Pillow reads beside the samples."""
    with Image.open(path) as picture:
        found = picture.getexif()  # before it is loaded, which turns a TIFF
        said = (270, 271, 272, 274, 305, 306, 315)  # others below 340 say how samples lie
        tags = {tag: value for tag, value in found.items() if tag > 339 or tag in said}
        inner = {tag: dict(found.get_ifd(tag)) for tag in (0x8769, 0x8825)}
        picture.load()  # texts of a PNG may lie behind its samples
        info = picture.info
        kept = (
            "icc_profile",
            "xmp",
            "photoshop",
            "comment",
            "Title",
            "Author",
            "XML:com.adobe.xmp",
        )
        texts = {key: info[key] for key in kept if key in info}
        dpi = tuple(round(float(value)) for value in info.get("dpi", (0, 0)))
        return {"tags": tags, **inner, **texts, "dpi": dpi}  # type: ignore[dict-item]


def of_exiftool(folder: Path) -> dict[str, dict[str, Any]]:
    """All that exiftool reads of the files of a folder, but for how samples lie."""
    command = ["exiftool", "-json", "-G1", "-a", "-u", "-n", "-r", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    skip = ("System:", "ExifTool:", "File:", "Composite:", "SourceFile", "IFD1:")
    return {
        Path(entry["SourceFile"]).name: {
            key: value
            for key, value in entry.items()
            if not key.startswith(skip) and key.partition(":")[2] not in OF_SAMPLES
        }
        for entry in json.loads(done.stdout)
    }


def through_jpeg(pixels: NDArray[Any]) -> NDArray[Any]:
    """What is left of samples, ``(H, W, C)``, at the quality that pictures are written in."""
    data = io.BytesIO()
    grey_or_colours = np.rint(pixels).astype(np.uint8).squeeze()
    Image.fromarray(grey_or_colours).save(data, "JPEG", quality=97, subsampling=0)
    decoded = np.asarray(Image.open(data), float)
    return decoded.reshape(pixels.shape)


@pytest.fixture(scope="module")
def every_kind() -> list[Kind]:
    return list(kinds())


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, every_kind: list[Kind], mean: str
) -> tuple[Path, Path]:
    """One folder, more than 300 files; and the sharp picture of each, known to the value."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("shots", "out"))
    for kind in every_kind:
        for side, shift in (("L", 0), ("R", 1)):
            pixels = scene(shift, kind.channels, kind.dtype)
            (source / f"{kind.name}_{side}{kind.suffix}").write_bytes(kind.write(pixels))
    assert len(list(source.iterdir())) > 300
    for suffix in (".png", ".tif", ".jpg", ".webp"):
        assert {kind.orientation for kind in every_kind if kind.suffix == suffix} == {*range(1, 9)}
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    result = run(DeblurConfig(left=str(source), output=str(out), model=mean, precision="fp32"))
    assert result.failed == () and len(result.pictures) == len(every_kind)
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    return source, out


@pytest.mark.slow
def test_files_of_every_kind_keep_what_they_say(
    folders: tuple[Path, Path], every_kind: list[Kind]
) -> None:
    source, answers = folders
    # A comparison that sees nothing proves nothing.
    rich = of_pillow(source / "jpg-3-6-b_L.jpg")
    assert rich["icc_profile"] == wide_gamut() and rich["xmp"] == XMP and rich["tags"][274] == 6
    assert rich[0x8769][0x8827] == 400 and rich[0x8825][1] == "N" and rich["comment"] == b"hello"
    assert b"somebody" in rich["photoshop"][0x0404]
    tiff = of_pillow(source / "big8-3_L.tif")["tags"]
    assert (tiff[270], tiff[305], tiff[315]) == ("a view", "a converter", "somebody")
    assert b"somebody" in bytes(tiff[34377]) and b"somebody" in bytes(tiff[33723])
    for kind in every_kind:
        left, out = (source / f"{kind.name}_L{kind.suffix}", answers / kind.name)
        out = out.with_suffix(kind.suffix)
        views = [
            read_photograph(locate(str(source / f"{kind.name}_{side}{kind.suffix}")), "x")
            for side in "LR"
        ]
        made = read_photograph(locate(str(out)), "x")
        assert made.pixels.dtype == kind.dtype, kind.name
        assert made.pixels.shape == views[0].pixels.shape, kind.name
        assert made.orientation == kind.orientation, kind.name
        colours = 3 if made.pixels.shape[2] >= 3 else 1
        expected = sum(view.pixels[..., :colours].astype(float) for view in views) / 2
        error = made.pixels[..., :colours] - expected
        if kind.suffix == ".jpg":  # no more is lost than by another encoder of this quality
            lost = through_jpeg(expected) - expected
            assert np.square(error).mean() <= 1.5 * np.square(lost).mean(), kind.name
        else:
            assert np.abs(error).max() <= (1 if kind.dtype is np.uint8 else 2), kind.name
        if made.pixels.shape[2] in (2, 4):
            assert np.array_equal(made.pixels[..., -1], views[0].pixels[..., -1]), kind.name
        if not (kind.suffix == ".tif" and kind.channels == 2 and kind.dtype is np.uint16):
            assert of_pillow(out) == of_pillow(left), kind.name  # Pillow reads no such TIFF


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("exiftool") is None, reason="no exiftool on this machine")
def test_exiftool_reads_the_same_before_and_after(
    folders: tuple[Path, Path], every_kind: list[Kind]
) -> None:
    told, tells = map(of_exiftool, folders)
    for kind in every_kind:
        was = told[f"{kind.name}_L{kind.suffix}"]
        now = tells[f"{kind.name}{kind.suffix}"]
        assert len(was) > 5 and now == was, kind.name
    for suffix in (".jpg", ".tif"):  # a comparison that sees nothing proves nothing
        name = next(kind.name for kind in every_kind if kind.suffix == suffix)
        assert tells[f"{name}{suffix}"]["IPTC:By-line"] == "somebody"


@pytest.mark.parametrize("source", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("target", [".png", ".tif", ".jpg", ".webp"])
def test_another_format_takes_what_it_can(
    tmp_path: Path, sharpen: Sharpen, source: str, target: str
) -> None:
    pixels = scene(0, 3, np.uint8)
    picture = Image.fromarray(pixels)
    form = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}[source]
    keys: dict[str, Any] = {} if source in (".png", ".tif") else {"xmp": XMP}
    for side in "LR":
        picture.save(
            tmp_path / f"{side}{source}",
            form,
            exif=exif(6),
            icc_profile=wide_gamut(),
            **({"dpi": (300, 300)} if source != ".webp" else {}),
            **keys,
        )
    out = tmp_path / f"out{target}"
    sharpen(tmp_path / f"L{source}", tmp_path / f"R{source}", out)
    was, now = of_pillow(tmp_path / f"L{source}"), of_pillow(out)
    for key in (0x8769, 0x8825, "icc_profile"):
        assert now[key] == was[key]
    assert now["tags"][274] == 6 and now["tags"][271] == "ACME"
    if keys:
        assert now["XML:com.adobe.xmp" if target == ".png" else "xmp"] in (XMP, XMP.decode())
    if ".webp" not in (source, target):
        assert now["dpi"] == (300, 300)


def test_what_a_format_cannot_hold_is_said(
    tmp_path: Path, sharpen: Sharpen, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in "LR":
        Image.fromarray(scene(0, 3, np.uint8)).save(tmp_path / f"{side}.jpg", comment=b"hello")
        Image.fromarray(scene(0, 4, np.uint8)).save(tmp_path / f"{side}.png")
    result = sharpen(tmp_path / "L.jpg", tmp_path / "R.jpg", tmp_path / "out.png")
    assert result.pictures[0].lost == ("a comment",)
    assert "out.png does not hold a comment" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"JPEG holds no alpha, .* name a \.png or \.tif"):
        sharpen(tmp_path / "L.png", tmp_path / "R.png", tmp_path / "out.jpg")
    linear = (tmp_path / "L.png").read_bytes()
    chunk = bytes.fromhex("0000000467414d41000186a031e8965f")  # gAMA 1.0
    for side in "LR":
        (tmp_path / f"{side}.png").write_bytes(linear[:33] + chunk + linear[33:])
    with pytest.raises(UserError, match=r"linear light .* or name a \.png"):
        sharpen(tmp_path / "L.png", tmp_path / "R.png", tmp_path / "out.tif")
    sharpen(tmp_path / "L.png", tmp_path / "R.png", tmp_path / "linear.png")
    assert chunk in (tmp_path / "linear.png").read_bytes()


def test_views_of_unlike_profiles_are_told(
    tmp_path: Path, sharpen: Sharpen, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shift, keys in (("1_L", 0, {"icc_profile": wide_gamut()}), ("1_R", 1, {})):
        Image.fromarray(scene(shift, 3, np.uint8)).save(tmp_path / f"{name}.png", **keys)
    (made,) = sharpen(tmp_path / "1_L.png", None, tmp_path / "out.png", model="box:nano").pictures
    assert len(made.notices) == 1 and "different colour profiles" in made.notices[0]
    assert made.notices[0] in capsys.readouterr().err
    (made,) = sharpen(tmp_path / "1_L.png", tmp_path / "1_L.png", tmp_path / "o2.png").pictures
    assert not any("profile" in line for line in made.notices)


@pytest.mark.parametrize("way", ["itself", "spelling", "symlink", "hard link", "folder link"])
@pytest.mark.parametrize("view", ["left.png", "right.png"])
def test_an_input_is_never_written_over(
    tmp_path: Path, sharpen: Sharpen, way: str, view: str
) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for name, shift in (("left.png", 0), ("right.png", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(shots / name)
    before = {path.name: path.read_bytes() for path in shots.iterdir()}
    output = shots / view
    if way == "spelling":
        output = shots / ".." / "shots" / view
    elif way == "symlink":
        output = tmp_path / "link.png"
        output.symlink_to(shots / view)
    elif way == "hard link":
        output = tmp_path / "hard.png"
        os.link(shots / view, output)
    elif way == "folder link":
        (tmp_path / "same").symlink_to(shots)
        output = tmp_path / "same" / view
    with pytest.raises(UserError, match="is an input, which is never written over"):
        sharpen(shots / "left.png", shots / "right.png", output, overwrite=True)
    assert {path.name: path.read_bytes() for path in shots.iterdir()} == before


def test_what_a_killed_run_left_beside_a_picture_goes_with_the_next_one(
    tmp_path: Path, sharpen: Sharpen
) -> None:
    for name, shift in (("left.png", 0), ("right.png", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(tmp_path / name)
    for name in ("[a].png", "another.png"):
        (tmp_path / f".{name}.tmp-1-00000000").write_bytes(b"half")
    sharpen(tmp_path / "left.png", tmp_path / "right.png", tmp_path / "[a].png")
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert hidden == [".another.png.tmp-1-00000000"], "somebody else's"
    with (tmp_path / ".[a].png.tmp-1-00000000").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # its writer is alive
        sharpen(tmp_path / "left.png", tmp_path / "right.png", tmp_path / "[a].png", overwrite=True)
        assert len(list(tmp_path.glob(".*"))) == 2


def test_an_existing_output_stays(tmp_path: Path, sharpen: Sharpen) -> None:
    for name, shift in (("left.png", 0), ("right.png", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(tmp_path / name)
    views, out = (tmp_path / "left.png", tmp_path / "right.png"), tmp_path / "out.png"
    out.write_bytes(b"dear")
    with pytest.raises(UserError, match="is there already and stays; --overwrite"):
        sharpen(*views, out)
    assert out.read_bytes() == b"dear"
    sharpen(*views, out, overwrite=True)
    assert read_photograph(locate(str(out)), "x").pixels.shape == scene(0, 3, np.uint8).shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["left.png", "out.png", "right.png"]


@pytest.mark.parametrize("links", [False, True])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """NFS without its lock manager, some SMB and FUSE."""

    def no_lock(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "there are no locks here")

    def no_link(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "there are no second names here")

    monkeypatch.setattr(fcntl, "flock", no_lock)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_link)
    place, pixels = locate(str(tmp_path / "a.png")), scene(0, 3, np.uint8)
    write_photograph(place, pixels, Metadata(format="png"), overwrite=False)
    assert np.array_equal(read_photograph(place, "a").pixels, pixels)
    with pytest.raises(AlreadyThere):
        write_photograph(place, 255 - pixels, Metadata(format="png"), overwrite=False)
    assert np.array_equal(read_photograph(place, "a").pixels, pixels)
    write_photograph(place, 255 - pixels, Metadata(format="png"), overwrite=True)
    assert np.array_equal(read_photograph(place, "a").pixels, 255 - pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_of_two_writers_to_a_bucket_one_wins(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, pixels = Location(f"memory://pictures/a{suffix}"), scene(0, 3, np.uint8)
    place.delete()
    write_photograph(place, pixels, Metadata(format="png"), overwrite=False)
    first = place.read_bytes()
    assert read_photograph(place, "a").pixels.shape == pixels.shape
    monkeypatch.setattr(Location, "exists", lambda self: False)  # as it was when the other looked
    with pytest.raises(AlreadyThere):
        write_photograph(place, 255 - pixels, Metadata(format="png"), overwrite=False)
    assert place.read_bytes() == first
    write_photograph(place, 255 - pixels, Metadata(format="png"), overwrite=True)
    assert place.read_bytes() != first


@pytest.mark.parametrize("kind", ["file", "link to nothing", "no links"])
@pytest.mark.parametrize("many", [False, True])
def test_what_appears_while_a_picture_is_made_stays(
    tmp_path: Path, sharpen: Sharpen, monkeypatch: pytest.MonkeyPatch, many: bool, kind: str
) -> None:
    shots, out = tmp_path / "shots", tmp_path / "out"
    shots.mkdir()
    out.mkdir()
    for name, shift in (("1_L.png", 0), ("1_R.png", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(shots / name)
    place, restore = out / "1.png", k3dn.Restorer.__call__

    def appears(*arguments: Any, **settings: Any) -> Any:
        if kind == "link to nothing":
            place.symlink_to(tmp_path / "nothing")
        else:
            place.write_bytes(b"dear")
        return restore(*arguments, **settings)

    def without_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "there are no second names here")

    monkeypatch.setattr(k3dn.Restorer, "__call__", appears)
    if kind == "no links":
        monkeypatch.setattr(Path, "hardlink_to", without_links)
    if many:
        result = sharpen(shots, None, out)
        assert (result.pictures, result.failed, len(result.kept)) == ((), (), 1)
    else:
        with pytest.raises(UserError, match="has appeared meanwhile and stays"):
            sharpen(shots / "1_L.png", shots / "1_R.png", place)
    if kind == "link to nothing":
        assert place.is_symlink() and not (tmp_path / "nothing").exists()
    else:
        assert place.read_bytes() == b"dear"
    assert [path.name for path in out.iterdir()] == ["1.png"]


def test_only_what_killed_runs_left_is_tidied(tmp_path: Path, sharpen: Sharpen) -> None:
    shots, out = tmp_path / "shots", tmp_path / "out"
    for name, shift in (("1_L.png", 0), ("1_R.png", 1)):
        shots.mkdir(exist_ok=True)
        Image.fromarray(scene(shift, 3, np.uint8)).save(shots / name)
    (out / "deep").mkdir(parents=True)
    foreign = [".notes.tmp-keep", ".1.png.tmp-12", "deep/.x.png.tmp-12-0123abcd", "1.png.tmp-1-2"]
    for name in foreign:
        (out / name).write_bytes(b"dear")
    (out / ".1.png.tmp-12-0123abcd").write_bytes(b"half")
    os.mkfifo(out / ".2.png.tmp-12-0123abcd")
    sharpen(shots, None, out)
    left = {str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir()}
    assert left == {*foreign, "1.png", ".2.png.tmp-12-0123abcd"}


@pytest.mark.parametrize("name", ["x.tif.tmp-1.png", "a.tmp-1.png", ".tmp-1.png"])
def test_the_format_is_that_of_the_last_suffix(tmp_path: Path, sharpen: Sharpen, name: str) -> None:
    for view, shift in (("left.tif", 0), ("right.tif", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(tmp_path / view)
    sharpen(tmp_path / "left.tif", tmp_path / "right.tif", tmp_path / name)
    assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_the_page_takes_no_other_file_away_and_shows_what_was_made_before(
    tmp_path: Path, sharpen: Sharpen
) -> None:
    shots, out = tmp_path / "shots", tmp_path / "out"
    shots.mkdir()
    for name, shift in (("1_L.png", 0), ("1_R.png", 1), ("2_L.png", 0), ("2_R.png", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(shots / name)
    assert len(sharpen(shots, None, out).pictures) == 2
    page = out / "before-and-after.html"
    page.write_text("precious")
    with pytest.raises(UserError, match="is not a page of before and after"):
        sharpen(shots, None, out, show=True)
    assert page.read_text() == "precious"
    page.unlink()
    for _ in range(2):  # a page of its own is replaced
        result = sharpen(shots, None, out, show=True)
        assert (result.pictures, len(result.kept)) == ((), 2)
        assert "2 of 2 pictures" in page.read_text()
    single = tmp_path / "sharp.html"
    single.write_text("precious")
    with pytest.raises(UserError, match="is not a page"):
        sharpen(
            shots / "1_L.png", shots / "1_R.png", tmp_path / "sharp.png", show=True, overwrite=True
        )
    assert single.read_text() == "precious" and not (tmp_path / "sharp.png").exists()
    long = tmp_path / f"{'x' * 247}.png"
    pair = (shots / "1_L.png", shots / "1_R.png")
    result = sharpen(*pair, long, show=True, model="box:nano")
    assert result.page is not None and result.page.endswith("/before-and-after.html")
    # What the network found is shown beside the mean of the views.
    shown = re.search(r'base64,([^"]+)" alt="The blurred picture"', Path(result.page).read_text())
    assert shown is not None
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[1]))), float)
    mean = np.mean([scene(shift, 3, np.uint8) for shift in (0, 1)], axis=0)
    assert found.shape == mean.shape
    assert np.abs(found - mean).mean() < 8
