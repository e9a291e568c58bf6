"""What names say of a side, which belong together, and what their pair is called."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.deblur.names import name_of, partners, side_of
from pipelines.deblur.result import DeblurResult
from pipelines.errors import UserError
from tests.pipelines.deblur.pictures import scene

Sharpen = Callable[..., DeblurResult]
SIDES = [("_L", "_R"), ("-left", "-right"), ("_l", "_r"), (" Left", " Right")]


def write(*paths: Path) -> None:
    """A picture of its own at each path: which one went where can be told."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(number, 3, np.uint8, (34, 46))).save(path)


def names(result: DeblurResult, out: Path) -> list[str]:
    return sorted(os.path.relpath(picture.output, out) for picture in result.pictures)


@given(
    st.text("abcd0123äßé_-. ", min_size=1, max_size=8).filter(lambda t: t.strip("_-. ") == t),
    st.sampled_from(SIDES),
)
def test_a_pair_is_called_what_its_names_have_in_common(stem: str, sides: tuple[str, str]) -> None:
    left, right = (f"{stem}{side}.tif" for side in sides)
    first = next(partners(left))
    assert (first.right, first.name) == (right, stem)
    assert list(partners(right)) == []
    assert (side_of(left), side_of(right), side_of(f"{stem}.tif")) == ("left", "right", None)
    assert name_of(left) == name_of(left, right) == name_of(right, left) == stem


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ("EOS_R5_0001_L.tif", "EOS_R5_0001_R.tif", "EOS_R5_0001"),
        ("left/EOS_R5_0001.tif", "right/EOS_R5_0001.tif", "EOS_R5_0001"),
        ("R\u00fcgen/T\u00fcr_L.png", "R\u00fcgen/T\u00fcr_R.png", "R\u00fcgen/T\u00fcr"),
        ("_DSC0001_L.tif", "_DSC0001_R.tif", "_DSC0001"),
        ("Left_2.jpg", "Right_2.jpg", "2"),
        ("left/a_L.png", "right/a_R.png", "a"),
        ("flat/0600/left.png", "flat/0600/right.png", "flat/0600"),
        ("1_l.jpg", "1_R.jpg", "1"),
        ("L5_1.png", "R5_1.png", "5_1"),
        ("L.png", "R.png", "deblurred"),
    ],
)
def test_only_the_words_that_tell_them_apart_are_left_out(left: str, right: str, name: str) -> None:
    assert [one.name for one in partners(left) if one.right == right] == [name]


def test_no_pair_is_lost_to_another_of_its_name(tmp_path: Path, sharpen: Sharpen) -> None:
    """Each way to name pairs, with two that come to one name without their words."""
    write(*(tmp_path / "fa" / name for name in ("1.png", "1_L.png")))
    write(*(tmp_path / "fb" / name for name in ("1.png", "1_R.png")))
    out = tmp_path / "two-folders"
    assert names(sharpen(tmp_path / "fa", tmp_path / "fb", out), out) == ["1.png", "1_L.png"]

    shots = tmp_path / "shots"
    write(*(shots / f"{name}_{side}.png" for name in ("a1", "a_1") for side in "LR"))
    out, patterns = tmp_path / "patterns", [f"{shots}/a*_{side}.png" for side in "LR"]
    assert names(sharpen(*patterns, out), out) == ["1.png", "_1.png"]

    mixed = tmp_path / "mixed"
    write(*(mixed / f"1{sign}{side}.png" for sign in "_-" for side in "LR"))
    write(*(mixed / f"1_{side}.tif" for side in "LR"), mixed / "left/1.png", mixed / "right/1.png")
    expected = ["1-L.png", "1.tif", "1_L.png", "left/1.png"]
    out = tmp_path / "names"
    assert names(sharpen(mixed, None, out), out) == expected
    out = tmp_path / "pattern"
    found = names(sharpen(f"{mixed}/**/*[L1].*", None, out), out)
    assert found == expected


def test_a_new_pair_is_made_whatever_it_does_to_names(tmp_path: Path, sharpen: Sharpen) -> None:
    shots, out = tmp_path / "shots", tmp_path / "out"
    write(*(shots / f"1_{side}.png" for side in "LR"))
    assert names(sharpen(shots, None, out), out) == ["1.png"]
    first = (out / "1.png").read_bytes()
    write(*(shots / f"1-{side}.png" for side in "LR"))
    assert names(sharpen(shots, None, out), out) == ["1-L.png", "1_L.png"]
    assert (out / "1.png").read_bytes() == first


def test_two_left_views_are_a_pattern_without_quotes(tmp_path: Path, sharpen: Sharpen) -> None:
    write(*(tmp_path / f"{n}_{side}.png" for n in (1, 2) for side in "LR"), tmp_path / "3_L.png")
    with pytest.raises(UserError, match="are left views, each with its right one beside it; put"):
        sharpen(tmp_path / "1_L.png", tmp_path / "2_L.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
    assert sharpen(tmp_path / "1_L.png", tmp_path / "3_L.png", tmp_path / "out.png").pictures


def test_a_folder_of_brackets_is_no_pattern(tmp_path: Path, sharpen: Sharpen) -> None:
    shots, out = tmp_path / "s [1]", tmp_path / "out"
    write(*(shots / f"{n}_{side}.png" for n in (1, 2) for side in "LR"))
    assert names(sharpen(f"{shots}/*_L.png", None, out), out) == ["1.png", "2.png"]
    out = tmp_path / "two"
    both = sharpen(f"{shots}/*_L.png", f"{shots}/*_R.png", out)
    assert names(both, out) == ["1.png", "2.png"]
    with pytest.raises(UserError, match="no other sign of a pattern"):
        sharpen(f"{shots}/[12]*_L.png", f"{shots}/[12]*_R.png", out)


def test_an_output_folder_that_holds_all_pictures(tmp_path: Path, sharpen: Sharpen) -> None:
    write(*(tmp_path / "s" / "out" / f"1_{side}.png" for side in "LR"))
    with pytest.raises(UserError, match="lie in the output folder"):
        sharpen(tmp_path / "s", None, tmp_path / "s" / "out")


def test_a_pipe_is_told_at_once(tmp_path: Path, sharpen: Sharpen) -> None:
    write(tmp_path / "b.png")
    os.mkfifo(tmp_path / "a.png")
    for views in (("a.png", "b.png"), ("b.png", "a.png")):
        with pytest.raises(UserError, match=r"a\.png is a pipe or a device, not a file"):
            sharpen(*(tmp_path / view for view in views), tmp_path / "out.png")


def test_every_view_of_a_folder_is_made_or_listed(
    tmp_path: Path, sharpen: Sharpen, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures beside pairs take nothing away from them."""
    cases: dict[str, tuple[list[str], list[str], list[str]]] = {
        "cover": (["cover.jpg"], ["1.png", "x.png"], []),
        "half": (["y-left.png"], ["1.png", "x.png"], ["y-left.png"]),
        "beside": (["1_L.jpg"], ["1.png", "x.png"], ["1_L.jpg"]),
        "made": (["1.png", "EOS_R5.png"], ["1.png", "x.png"], []),
        "kinds": (["3_L.heic", "3_R.heic"], ["1.png", "x.png"], ["3_L.heic"]),
        "targets": (
            [f"train_{side}/source/7.png" for side in "lr"] + ["train_c/target/7.png"],
            ["1.png", "train/source/7.png", "x.png"],
            [],
        ),
    }
    for case, (more, expected, listed) in cases.items():
        shots, out = tmp_path / case, tmp_path / f"out-{case}"
        write(*(shots / f"{n}.png" for n in ("1_L", "1_R", "x-left", "x-right")))
        for name in more:
            if name.endswith(".heic"):
                (shots / name).write_bytes(b"picture")
            else:
                write(shots / name)
        result = sharpen(shots, None, out)
        assert names(result, out) == expected, case
        assert [failed.name for failed in result.failed] == listed, case
        said = capsys.readouterr().err
        assert ("left out: " in said) == (case in ("cover", "made", "targets")), case


def test_two_folders_list_what_has_no_other_view(tmp_path: Path, sharpen: Sharpen) -> None:
    write(*(tmp_path / "l" / f"{n}.png" for n in (1, 2)))
    write(*(tmp_path / "r" / f"{n}.png" for n in (1, 7)))
    (tmp_path / "r" / "3.heic").write_bytes(b"picture")
    out = tmp_path / "out"
    result = sharpen(tmp_path / "l", tmp_path / "r", out)
    assert names(result, out) == ["1.png"]
    listed = {Path(failed.name).name for failed in result.failed}
    assert listed == {"2.png", "3.heic", "7.png"}
    patterns = sharpen(f"{tmp_path}/l/*.png", f"{tmp_path}/r/*.png", tmp_path / "two")
    assert {Path(failed.name).name for failed in patterns.failed} == {"2.png", "7.png"}


def test_the_same_command_goes_on_beside_the_views(tmp_path: Path, sharpen: Sharpen) -> None:
    write(*(tmp_path / f"{n}.png" for n in ("IMG_1_L", "IMG_1_R", "Left_2", "Right_2")))
    assert names(sharpen(tmp_path, None, tmp_path), tmp_path) == ["2.png", "IMG_1.png"]
    (tmp_path / "2.png").unlink()
    again = sharpen(tmp_path, None, tmp_path)
    assert names(again, tmp_path) == ["2.png"] and again.failed == () and len(again.kept) == 1


def test_grey_maps_of_a_folder_are_pairs(tmp_path: Path, sharpen: Sharpen) -> None:
    write(*(tmp_path / f"1_{side}.png" for side in "LR"))
    for side in ("left", "right"):
        grey = scene(side == "right", 1, np.uint8, (34, 46))
        (tmp_path / f"2_{side}.pgm").write_bytes(b"P5 46 34 255 " + grey.tobytes())
    out = tmp_path / "out"
    assert names(sharpen(tmp_path, None, out), out) == ["1.png", "2.png"]


def test_grey_and_colours_are_no_pair(tmp_path: Path, sharpen: Sharpen) -> None:
    write(tmp_path / "1_L.png", tmp_path / "2_R.png")
    for name in ("1_R.png", "2_L.png"):
        grey = scene(1, 1, np.uint8, (34, 46)).reshape(34, 46)
        Image.fromarray(grey).save(tmp_path / name)
    result = sharpen(tmp_path, None, tmp_path / "out")
    assert [failed.reason.partition(":")[0] for failed in result.failed] == [
        "the views do not fit"
    ] * 2
