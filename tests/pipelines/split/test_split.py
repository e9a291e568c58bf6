"""Raw files to two views. No camera's file is at hand: files of their form are made here."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pipelines.cli import run_command_line
from pipelines.deblur.exif_tree import Entry, ExifTree, exif_block, read_tree
from pipelines.deblur.photograph import read_photograph
from pipelines.errors import UserError
from pipelines.split.config import SplitConfig
from pipelines.split.raw_file import tags_of
from pipelines.split.run import run
from pipelines.split.views import split_sum
from pipelines.storage import locate
from synth.pictures import decode

BLACK, WHITE = 512, 16383
NEUTRAL = (0.5, 1.0, 0.625)
GLOBAL: list[Any] = [
    (50706, "B", 4, b"\1\4\0\0", True),
    (50708, "s", 0, "ACME Dual 1", True),
    (50721, "2i", 9, [x for v in (1, 0, 0, 0, 1, 0, 0, 0, 1) for x in (v, 1)], True),
    (50728, "2I", 3, [x for v in NEUTRAL for x in (round(v * 1000), 1000)], True),
    (50778, "H", 1, 21, True),
    (271, "s", 0, "ACME", True),
    (272, "s", 0, "Dual 1", True),
    (274, "H", 1, 6, True),
    (306, "s", 0, "2024:01:02 03:04:05", True),
]
FRAME: list[Any] = [
    (33421, "H", 2, (2, 2), True),
    (33422, "B", 4, b"\0\1\1\2", True),
    (50714, "H", 1, BLACK, True),
    (50717, "H", 1, WHITE, True),
]


def dng(path: Path, *frames: NDArray[np.uint16]) -> Path:
    """A raw file with so many frames, main one first, as TIFF-like raw files hold them."""
    with tifffile.TiffWriter(path) as file:
        for number, frame in enumerate(frames):
            tags = FRAME if number else GLOBAL + FRAME
            file.write(frame, photometric="cfa", extratags=tags, metadata=None, subfiletype=0)
    return path


def mosaic(light: NDArray[Any]) -> NDArray[np.uint16]:
    """What an RGGB sensor has of a grey light ``(H, W)`` in [0, 1] of white."""
    share = np.empty(light.shape)
    share[::2, ::2], share[1::2, 1::2] = NEUTRAL[0], NEUTRAL[2]
    share[::2, 1::2] = share[1::2, ::2] = NEUTRAL[1]
    return np.rint(BLACK + light * share * (WHITE - BLACK)).astype(np.uint16)


def srgb(linear: NDArray[Any]) -> NDArray[Any]:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lights(size: tuple[int, int] = (64, 96)) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two smooth views, each up to half of white."""
    x = np.linspace(0, 6, size[1])[None] + np.linspace(0, 2, size[0])[:, None]
    return 0.22 + 0.2 * np.sin(x), 0.22 + 0.2 * np.sin(x - 0.4)


ONES = arrays.arrays(np.int64, (6, 8), elements=st.integers(0, 6000))


@given(ONES, ONES, st.integers(0, 2048), st.integers(0, 2048))
def test_both_views_come_out_of_their_sum(
    one: NDArray[Any], other: NDArray[Any], black: int, black_of_side: int
) -> None:
    assume(0.3 < (one.mean() + 1) / (one.mean() + other.mean() + 2) < 0.7)
    assume(one.mean() + other.mean() >= 50)
    views = split_sum(
        (one + other + black).astype(np.uint16),
        (one + black_of_side).astype(np.uint16),
        black_of_total=black,
        black_of_side=black_of_side,
        white=16383,
    )
    assert not views.clipped.any()
    assert np.array_equal(views.side, np.minimum(black + 2 * one, 16383))
    assert np.array_equal(views.other, np.minimum(black + 2 * other, 16383))


def test_where_the_sum_is_clipped_the_other_view_is_white() -> None:
    one, other = np.full((4, 4), 3000), np.full((4, 4), 4000)
    one[0], other[0] = 5000, 13000  # more than the sum can hold; the side alone is not white
    one[1], other[1] = 9000, 9000
    total = np.minimum(one + other + BLACK, WHITE)
    views = split_sum(total, one + BLACK, black_of_total=BLACK, black_of_side=BLACK, white=WHITE)
    assert views.clipped.tolist() == [[row < 2] * 4 for row in range(4)]
    assert (views.side[0] == BLACK + 10000).all() and (views.other[0] == WHITE).all()
    assert (views.side[1] == WHITE).all() and (views.other[1] == WHITE).all()
    assert (views.other[2:] == BLACK + 8000).all()


@pytest.mark.parametrize("kind", ["the same", "brighter", "nothing", "size", "black"])
def test_a_second_frame_that_is_no_side_is_refused(kind: str) -> None:
    total = np.random.default_rng(0).integers(600, 9000, (16, 16)).astype(np.uint16)
    seconds = {
        "the same": total,
        "brighter": np.minimum(2 * total.astype(int), 16383),
        "nothing": np.full_like(total, BLACK),
        "size": total[:8] // 2,
        "black": total // 2,
    }
    if kind == "black":
        total = np.full_like(total, BLACK)
    with pytest.raises(
        ValueError, match=r"not one view of the first|differ in size|nothing to split"
    ):
        split_sum(total, seconds[kind], black_of_total=BLACK, black_of_side=BLACK, white=WHITE)


@pytest.mark.parametrize("percent", [10, 19, 21, 50, 79, 81, 90])
def test_a_view_has_a_fifth_to_four_fifths_of_the_light(percent: int) -> None:
    total = np.full((8, 8), BLACK + 10_000)
    side = np.full((8, 8), BLACK + 100 * percent)
    blacks = {"black_of_total": BLACK, "black_of_side": BLACK}
    if 20 <= percent <= 80:
        views = split_sum(total, side, **blacks, white=WHITE)
        assert (views.other == BLACK + 2 * (10_000 - 100 * percent)).all()
    else:
        with pytest.raises(ValueError, match=f"it has 0.{percent} of its light"):
            split_sum(total, side, **blacks, white=WHITE)


@pytest.mark.parametrize("second", ["left", "right"])
def test_a_raw_file_becomes_two_pictures(tmp_path: Path, second: str) -> None:
    """A grey scene under a coloured light comes out grey, each view as bright as it was."""
    one, other = lights()
    path = dng(tmp_path / "IMG_1.dng", mosaic(one + other), mosaic(one))
    result = run(SplitConfig(source=str(path), output=f"{tmp_path}/out", second=second))  # type: ignore[arg-type]
    (file,) = result.files
    assert Path(file.left).name == "IMG_1_L.tif" and file.clipped == 0
    pictures = [read_photograph(locate(name), name) for name in (file.left, file.right)]
    expected = (one, other) if second == "left" else (other, one)
    for picture, light in zip(pictures, expected, strict=True):
        assert picture.pixels.dtype == np.uint16 and picture.pixels.shape == (64, 96, 3)
        assert picture.orientation == 6, "as the sensor lies, with the turn as a tag"
        inner = picture.pixels[4:-4, 4:-4] / 65535
        assert np.abs(inner - srgb(2 * light)[4:-4, 4:-4, None]).max() < 0.01


def test_both_views_get_what_a_whole_raw_file_gets(tmp_path: Path) -> None:
    """White balance, demosaicing and colours: those of the view alone in a raw file of its own."""
    rng = np.random.default_rng(1)
    one, other = (rng.uniform(0.02, 0.5, (64, 96)) for _ in range(2))
    total = np.clip(mosaic(one).astype(int) + mosaic(other) - BLACK, 0, WHITE).astype(np.uint16)
    path = dng(tmp_path / "IMG_1.dng", total, mosaic(one))
    (file,) = run(SplitConfig(source=str(path))).files
    alone = np.minimum(BLACK + 2 * (mosaic(one).astype(int) - BLACK), WHITE).astype(np.uint16)
    with rawpy.imread(str(dng(tmp_path / "alone.dng", alone))) as raw:
        expected = raw.postprocess(
            use_camera_wb=True,
            output_bps=16,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            gamma=(2.4, 12.92),
            user_flip=0,
        )
    assert np.array_equal(decode(Path(file.left).read_bytes(), where="left").stored, expected)


def test_what_the_raw_file_says_of_the_exposure_is_kept(tmp_path: Path) -> None:
    one, other = lights()
    path = dng(tmp_path / "IMG_1.dng", mosaic(one + other), mosaic(one))
    (file,) = run(SplitConfig(source=str(path))).files
    with tifffile.TiffFile(file.left) as written:
        tags = {tag.code: tag.value for tag in written.pages[0].tags}  # type: ignore[union-attr]
    assert (tags[271], tags[272], tags[306]) == ("ACME", "Dual 1", "2024:01:02 03:04:05")
    assert tags[274] == 6
    assert not any(code > 50000 or code in (33421, 33422) for code in tags), "it is no raw file now"


def test_tags_of_a_cr3_lie_in_boxes() -> None:
    def block(entries: dict[int, Entry]) -> bytes:
        return exif_block(ExifTree("<", entries))

    def box(kind: bytes, body: bytes) -> bytes:
        return (8 + len(body)).to_bytes(4, "big") + kind + body

    adobe = Entry(3, 1, b"\2\0")
    data = box(b"ftyp", b"crx \0\0\0\1") + box(
        b"moov",
        box(b"CMT1", block({271: Entry(2, 6, b"Canon\0"), 50706: Entry(1, 4, b"\1\4\0\0")}))
        + box(b"CMT2", block({0x829A: Entry(5, 1, b"\1\0\0\0\x64\0\0\0"), 0xA001: adobe}))
        + box(b"CMT4", block({1: Entry(2, 2, b"N\0")})),
    )
    tree = tags_of(data)
    assert tree.main == {271: Entry(2, 6, b"Canon\0")}
    assert tree.exif[0x829A].value == b"\1\0\0\0\x64\0\0\0"
    assert tree.exif[0xA001].value == b"\1\0", "what is written is sRGB"
    assert tree.gps == {1: Entry(2, 2, b"N\0")}
    assert tags_of(b"\0" * 64).main == {}
    assert read_tree(exif_block(tree)) is not None


def pgm(path: Path, view: NDArray[np.uint16]) -> Path:
    """As the Pixel capture app writes it."""
    path.write_bytes(
        f"P5 {view.shape[1]} {view.shape[0]} 65535 ".encode() + view.astype(">u2").tobytes()
    )
    return path


def test_a_pixel_capture_becomes_two_grey_pictures(tmp_path: Path) -> None:
    views = [np.rint(4096 + light * (65535 - 4096)).astype(np.uint16) for light in lights()]
    for side, view in zip(("left", "right"), views, strict=True):
        pgm(tmp_path / f"20240102_030405_{side}.pgm", view)
    (file,) = run(SplitConfig(source=str(tmp_path), output=f"{tmp_path}/out")).files
    assert Path(file.right).name == "20240102_030405_R.tif"
    for name, light in zip((file.left, file.right), lights(), strict=True):
        written = decode(Path(name).read_bytes(), where=name).stored
        assert written.shape == (64, 96, 1)
        assert np.abs(written[..., 0] / 65535 - srgb(light)).max() < 2e-4


def test_one_view_that_is_there_is_refused(tmp_path: Path) -> None:
    """With another second= the two would be the same view."""
    for number in (1, 2):
        for side, light in zip(("left", "right"), lights(), strict=True):
            pgm(tmp_path / f"{number}_{side}.pgm", mosaic(light))
    there = tmp_path / "out" / "1_L.tif"
    there.parent.mkdir()
    there.write_bytes(b"dear")
    config = SplitConfig(source=str(tmp_path), output=str(there.parent))
    result = run(config)
    ((name, reason),) = result.failed
    assert name.endswith("1_left.pgm") and "1_L.tif is there and 1_R.tif is not" in reason
    assert there.read_bytes() == b"dear" and not there.with_name("1_R.tif").exists()
    assert [Path(file.left).name for file in result.files] == ["2_L.tif"]
    run(replace(config, overwrite=True))
    assert there.read_bytes() != b"dear" and there.with_name("1_R.tif").exists()


def test_no_view_is_named_before_both_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = lights()
    path, out = dng(tmp_path / "IMG_1.dng", mosaic(one + other), mosaic(one)), tmp_path / "out"
    written = []

    def full(file: int) -> None:
        written.append(file)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"no space left for .*_R\.tif"):
        run(SplitConfig(source=str(path), output=str(out)))
    assert len(written) == 2 and list(out.iterdir()) == []


def test_numbers_that_begin_anew_in_each_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = lights()
    for folder in ("100CANON", "101 [b]"):
        (tmp_path / "DCIM" / folder).mkdir(parents=True)
        dng(tmp_path / "DCIM" / folder / "IMG_1.dng", mosaic(one + other), mosaic(one))
        (tmp_path / "DCIM" / folder / "IMG_1.jpg").write_bytes(b"")
    out = tmp_path / "views"
    monkeypatch.setenv("HOME", str(tmp_path))
    result = run(SplitConfig(source="~/DCIM/*/*", output=str(out)))
    assert result.failed == () and len(result.files) == 2
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.tif"))
    assert written == [f"{d}/IMG_1_{s}.tif" for d in ("100CANON", "101 [b]") for s in "LR"]
    assert str(out) in result.next_steps()[0] and "100CANON" not in result.next_steps()[0]
    assert f"made the folder {out}/100CANON" in capsys.readouterr().err
    again = run(SplitConfig(source=f"{tmp_path}/DCIM/*/*.dng", output=str(out)))
    assert len(again.kept) == 2
    one_folder = SplitConfig(source=f"{tmp_path}/DCIM/101 [b]/*.dng", output=f"{tmp_path}/one")
    assert [Path(f.left).parent.name for f in run(one_folder).files] == ["one"]


def test_two_files_of_one_name_are_refused_before_any_is_split(tmp_path: Path) -> None:
    one, other = lights()
    for name in ("IMG_1.dng", "IMG_1.cr2"):
        dng(tmp_path / name, mosaic(one + other), mosaic(one))
    with pytest.raises(UserError, match=r"IMG_1\.cr2 and .*IMG_1\.dng would both be written to"):
        run(SplitConfig(source=str(tmp_path), overwrite=True))
    assert not list(tmp_path.glob("*.tif"))


def test_a_pattern_of_captures_names_left_views(tmp_path: Path) -> None:
    for side, light in zip(("left", "right"), lights(), strict=True):
        pgm(tmp_path / f"1_{side}.pgm", mosaic(light))
    result = run(SplitConfig(source=f"{tmp_path}/*.pgm", output=f"{tmp_path}/out"))
    assert len(result.files) == 1 and result.failed == ()
    with pytest.raises(UserError, match=r"no raw file .* among what .*right\.pgm names"):
        run(SplitConfig(source=f"{tmp_path}/*right.pgm"))


def test_what_libraw_says_while_it_renders_ends_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = lights()
    for name in ("1.dng", "2.dng"):
        dng(tmp_path / name, mosaic(one + other), mosaic(one))

    class Failing(rawpy.RawPy):  # type: ignore[misc]
        name = ""

        def open_file(self, path: str) -> None:
            self.name = Path(path).name
            super().open_file(path)

        def postprocess(self, *more: Any, **keys: Any) -> Any:
            if self.name == "1.dng":
                raise rawpy.LibRawDataError(b"Data error or unsupported file format")
            return super().postprocess(*more, **keys)

    monkeypatch.setattr(rawpy, "RawPy", Failing)
    result = run(SplitConfig(source=str(tmp_path), output=f"{tmp_path}/out"))
    assert [Path(file.source).name for file in result.files] == ["2.dng"]
    ((name, reason),) = result.failed
    assert name.endswith("1.dng") and "LibRaw cannot read it (Data error" in reason


def test_pgm_is_decoded_as_its_header_says() -> None:
    view = np.arange(24, dtype=np.uint16).reshape(4, 6) * 40
    data = b"P5\n# a comment\n6 4\n# and one more\n1023\n" + view.astype(">u2").tobytes()
    assert np.array_equal(decode(data, where="x").stored[..., 0], np.rint(view * (65535 / 1023)))
    colours = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    assert np.array_equal(decode(b"P6 6 4 255\n" + colours.tobytes(), where="x").stored, colours)
    for bad in (data[:-1], b"P5 6\n", b"P5 6 4 99999\n" + bytes(48), b"P5 0 4 255\n"):
        with pytest.raises(ValueError, match=r"x: (damaged|truncated)"):
            decode(bad, where="x")


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = lights()
    single = dng(tmp_path / "b.dng", mosaic(one))
    junk = tmp_path / "c.cr2"
    junk.write_bytes(b"II*\0" + bytes(8) + b"CR")
    pgm(tmp_path / "d_left.pgm", mosaic(one))
    for source, words in (
        (single, r"b\.dng holds one frame, .* Dual Pixel RAW"),
        (junk, r"c\.cr2: LibRaw cannot read it \("),
        (tmp_path / "d_left.pgm", "its right view is missing beside it"),
        (tmp_path / "nothing.cr2", "there is nothing at"),
    ):
        with pytest.raises(UserError, match=words):
            run(SplitConfig(source=str(source)))
    dng(tmp_path / "a.dng", mosaic(one + other), mosaic(one))
    words = ["split", str(tmp_path), "-o", str(tmp_path / "out")]
    assert run_command_line(words) == 2
    told = capsys.readouterr()
    assert "split 1 of 4" in told.out and "k3dn deblur" in told.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_L.tif", "a_R.tif"]
    before = (tmp_path / "out" / "a_L.tif").stat().st_mtime_ns
    assert run_command_line([*words[:1], str(tmp_path / "a.dng"), *words[2:]]) == 0
    assert "already there: 1" in capsys.readouterr().out
    assert (tmp_path / "out" / "a_L.tif").stat().st_mtime_ns == before
    assert run_command_line(["deblur", str(junk), str(junk), "-o", str(tmp_path / "x.png")]) == 2
    assert "k3dn split" in capsys.readouterr().err
