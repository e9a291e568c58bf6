"""What a newcomer types: names and outputs of every kind, and what is said of mistakes."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.cli import run_command_line
from pipelines.deblur.result import DeblurResult
from pipelines.errors import UnavailableError, UserError
from pipelines.failures import explain_failure
from pipelines.progress import printable
from tests.pipelines.deblur.pictures import scene

Sharpen = Callable[..., DeblurResult]


def pair(folder: Path, left: str, right: str) -> tuple[Path, Path]:
    """The two views of one exposure under these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shift in ((left, 0), (right, 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(folder / name)
    return folder / left, folder / right


def test_a_folder_as_output_takes_the_picture_under_its_name(
    tmp_path: Path, sharpen: Sharpen
) -> None:
    left, right = pair(tmp_path / "shots.2024", "IMG_1_L.png", "IMG_1_R.png")
    there = tmp_path / "there"
    there.mkdir()
    sharpen(left, right, there)
    sharpen(left, right, f"{tmp_path}/not/yet/")
    sharpen(left, right, left.parent)  # whose name has a suffix
    sharpen(left, right, tmp_path / "bare")
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")} - {
        path.relative_to(tmp_path) for path in (left, right)
    }
    wanted = ("there/IMG_1.png", "not/yet/IMG_1.png", "shots.2024/IMG_1.png", "bare.png")
    assert found == {Path(name) for name in wanted}
    with pytest.raises(UserError, match="/dev/null is not a file"):
        sharpen(left, right, "/dev/null")


def test_a_left_view_alone_finds_its_right_one(tmp_path: Path, mean: str, sharpen: Sharpen) -> None:
    left, right = pair(tmp_path, "IMG_1_L.png", "IMG_1_R.png")
    sharpen(left, None, tmp_path / "alone.png", model="box:nano")
    sharpen(left, right, tmp_path / "both.png", model="box:nano")
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "both.png").read_bytes()
    right.unlink()
    with pytest.raises(UserError, match=r"given alone, and there is no IMG_1_R\.png beside it"):
        sharpen(left, None, tmp_path / "none.png", model="box")
    with pytest.raises(UserError, match="needs the left and the right view"):  # not guessed
        sharpen(left, None, tmp_path / "none.png", model=mean)


@pytest.mark.parametrize(
    "name",
    [
        *("two words", "写真 ñ", "new\nline", "\udcff", "[a]*b?", "a=b", "50%", "'q\"$x;"),
        *("~nobody", "é" * 124),  # as long as a name may be
    ],
)
def test_names_of_every_kind_go_through(
    tmp_path: Path,
    mean: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    left, right = f"{name}_L.png", f"{name}_R.png"
    try:
        pair(tmp_path / "shots", left, right)
    except OSError:
        pytest.skip("no such name on this file system")
    monkeypatch.chdir(tmp_path / "shots")
    keys = [f"model={mean}", "precision=fp32"]
    assert run_command_line(["deblur", left, right, "-o", "../one.png", *keys]) == 0
    assert run_command_line(["deblur", ".", "-o", "../many", *keys]) == 0
    assert [path.name for path in (tmp_path / "many").iterdir()] == [f"{name}.png"]
    assert (tmp_path / "many" / f"{name}.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    Path(right).write_bytes(b"")
    capsys.readouterr()
    assert run_command_line(["deblur", left, right, "-o", "../two.png", *keys]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("k3dn deblur: ") and said.endswith("the file is empty")
    assert printable(right) in said and said.encode()


def test_one_dash_is_no_help(tmp_path: Path, mean: str, capsys: pytest.CaptureFixture[str]) -> None:
    left, right = map(str, pair(tmp_path, "left.png", "right.png"))
    for number, output in enumerate(["-o={}", "-o{}"]):
        out = tmp_path / f"hhh{number}.png"
        words = ["deblur", left, right, output.format(out), f"model={mean}"]
        assert run_command_line(words) == 0 and out.exists()
    for name in ("--show_L.png", "-_L.png"):
        with contextlib.chdir(tmp_path):
            Path(name).write_bytes(Path(left).read_bytes())
            assert run_command_line(["deblur", name, right]) == 2
            assert f"dash is given as ./{name}" in capsys.readouterr().err
            keys = ["-o", f"of{name}", f"model={mean}"]
            assert run_command_line(["deblur", f"./{name}", right, *keys]) == 0
    for words, told in (
        ([left, right, "-show"], "cannot read '-show': keys take two dashes, --show"),
        ([left, right, "-o"], "-o needs the output's name"),
        ([left, right, "out.png"], "an output goes after -o"),
    ):
        capsys.readouterr()
        assert run_command_line(["deblur", *words]) == 2
        assert told in capsys.readouterr().err
    assert run_command_line([]) == 2
    assert capsys.readouterr().err == "", "the help is the answer"


@pytest.mark.parametrize(("kind", "white"), [("u1", 255), (">u2", 65535), (">u2", 4095)])
def test_a_pgm_becomes_a_png(tmp_path: Path, sharpen: Sharpen, kind: str, white: int) -> None:
    views = []
    for side, shift in (("L", 0), ("R", 1)):
        grey = scene(shift, 1, np.uint16)[..., 0] // (65536 // (white + 1))
        header = f"P5 {grey.shape[1]} {grey.shape[0]} {white}\n".encode()
        (tmp_path / f"1_{side}.pgm").write_bytes(header + grey.astype(kind).tobytes())
        views.append(grey.astype(float) * ((255 if white == 255 else 65535) / white))
    sharpen(tmp_path / "1_L.pgm", tmp_path / "1_R.pgm", tmp_path / "out.png")
    made = imagecodecs.imread(tmp_path / "out.png")
    assert made.dtype == (np.uint8 if kind == "u1" else np.uint16)
    assert np.abs(made - sum(views) / 2).max() <= 2


def test_what_a_folder_without_pairs_is_told(tmp_path: Path, sharpen: Sharpen) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are no files at"):
        sharpen(tmp_path / "empty", None, tmp_path / "out")
    pair(tmp_path / "shots", "1.png", "2.png")
    with pytest.raises(UserError, match=r"no pairs at .*its name says no side.* left='l/\*\.png'"):
        sharpen(tmp_path / "shots", None, tmp_path / "out")
    with pytest.raises(UserError, match=r"is a folder and right=.*1\.png is a file"):
        sharpen(tmp_path / "shots", tmp_path / "shots" / "1.png", tmp_path / "out")
    with pytest.raises(UserError, match=r"no picture at .*nowhere, nor a folder"):
        sharpen(f"{tmp_path}/nowhere/", None, tmp_path / "out")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        *(("GIF", "a GIF"), ("BMP", "a BMP"), ("AVIF", "AVIF"), ("JPEG2000", "2000")),
        *(("JXL", "JPEG XL"), ("HEIC", "HEIC")),
    ],
)
def test_a_format_that_is_not_read_is_named(
    tmp_path: Path, sharpen: Sharpen, form: str, words: str
) -> None:
    pixels = scene(0, 3, np.uint8)
    if form == "JXL":
        (tmp_path / "left").write_bytes(imagecodecs.jpegxl_encode(pixels))
    elif form == "HEIC":  # the head of one: nothing here writes more
        (tmp_path / "left").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    else:
        Image.fromarray(pixels).save(tmp_path / "left", form)
    with pytest.raises(UserError, match=rf"it is .*{words}.*: save it as PNG or TIFF"):
        sharpen(tmp_path / "left", tmp_path / "left", tmp_path / "out.png")


def test_pictures_of_a_folder_that_are_not_read_are_listed(
    tmp_path: Path, sharpen: Sharpen
) -> None:
    pair(tmp_path / "shots", "1_L.png", "1_R.png")
    for name in ("2_L.heic", "2_R.heic", "3_L.JXL", "3_R.JXL", "portrait.heic", "1_L.xmp"):
        (tmp_path / "shots" / name).write_bytes(b"")
    result = sharpen(tmp_path / "shots", None, tmp_path / "out")
    assert [Path(made.output).name for made in result.pictures] == ["1.png"]
    assert {failed.name: failed.reason for failed in result.failed} == {
        "2_L.heic": "HEIC is not read: save it as PNG or TIFF",
        "3_L.JXL": "JPEG XL is not read: save it as PNG or TIFF",
    }
    for side in "LR":
        (tmp_path / "shots" / f"1_{side}.png").unlink()
    none = sharpen(tmp_path / "shots", None, tmp_path / "none")
    assert none.pictures == () and none.exit_code == 2
    assert all("is not read" in failed.reason for failed in none.failed)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The shell's limit (ulimit -f), in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_file_that_may_not_be_as_large(tmp_path: Path, sharpen: Sharpen, suffix: str) -> None:
    rng = np.random.default_rng(0)
    for side in "LR":
        noise = rng.integers(0, 256, (150, 150, 3), np.uint8)
        if suffix == ".tif":  # uncompressed, which NumPy writes
            tifffile.imwrite(tmp_path / f"{side}.tif", noise, photometric="rgb")
        else:
            Image.fromarray(noise).save(tmp_path / f"{side}{suffix}", lossless=True)
    views = [tmp_path / f"{side}{suffix}" for side in "LR"]
    out = tmp_path / f"out{suffix}"
    with largest_file(30_000), pytest.raises(UserError, match="no file may be as large there"):
        sharpen(*views, out)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["L", "R"]
    sharpen(*views, out)


def test_a_full_disk_stops_all_and_says_where(
    tmp_path: Path, sharpen: Sharpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full fails as a full disk does, on the first write."""
    for number in range(3):
        pair(tmp_path / "shots", f"{number}_L.png", f"{number}_R.png")
    opened = Path.open

    def full(self: Path, mode: str = "r", *more: object) -> object:
        where = Path("/dev/full") if mode == "wb" and ".tmp-" in self.name else self
        return opened(where, mode, *more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UnavailableError, match=r"no space left for .*/0\.png; free some"):
        sharpen(tmp_path / "shots", None, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path, sharpen: Sharpen) -> None:
    with pytest.raises(OSError) as caught:
        sharpen(tmp_path / f"{'a' * 300}.png", None, tmp_path / "out.png")
    failure = explain_failure(caught.value)
    assert failure.exit_code == 2 and "file name too long; check the path" in failure.message


@pytest.mark.skipif(os.name != "posix", reason="bytes of names")
def test_what_is_printed_fits_any_terminal() -> None:
    text = "a\nb\x1b[31m\udcff写"
    assert printable(text) == r"a\nb\x1b[31m\xff写"
    assert printable("plain ü") == "plain ü"
