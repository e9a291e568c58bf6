"""Folders and patterns: what is found, what stops it, and what a killed run leaves."""

import errno
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import k3dn
from pipelines.cli import run_command_line
from pipelines.deblur.photograph import read_photograph
from pipelines.deblur.progress import Progress
from pipelines.deblur.result import DeblurResult
from pipelines.errors import UserError
from pipelines.storage import locate
from tests.pipelines.deblur.pictures import scene

Sharpen = Callable[..., DeblurResult]
TARGETS = ("target_left", "target_right")
REPOSITORY = Path(__file__).parents[3]


def write(*paths: Path, shift: int = 0, size: tuple[int, int] = (34, 46)) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(shift, 3, np.uint8, size)).save(path)


def made(result: DeblurResult, out: Path) -> list[str]:
    return sorted(str(Path(picture.output).relative_to(out)) for picture in result.pictures)


def test_a_folder_of_any_known_make(tmp_path: Path, sharpen: Sharpen) -> None:
    makes = {
        "suffix": ["a_L.png", "a_R.png", "b_L.tif", "b_R.tif", "deep/c_l.png", "deep/c_r.png"],
        "words": ["x-left.jpg", "x-right.jpg", "Left_2.jpg", "Right_2.jpg"],
        "folders": ["left/1.png", "right/1.png", "left/2.png", "right/2.png"],
        "dpd": ["test_l/source/1.png", "test_r/source/1.png", "test_c/target/1.png"],
        "ntire": ["0500_l.png", "0500_r.png", "0500_g.png", "0501_l.png", "0501_r.png"],
        "splits": [
            f"{split}/{folder}/{name}.png"
            for split, name in (("train", "a"), ("test", "a"), ("test", "b"))
            for folder in ("inputL", "inputR", "target")
        ],
        "canon": [f"flat/0600/{name}.png" for name in ("left", "right", *TARGETS)],
        "two": [
            f"{day}/{folder}/1.png"
            for day in ("mon", "tue")
            for folder in ("left", "right", "sharp")
        ],
    }
    expected = {
        "suffix": ["a.png", "b.tif", "deep/c.png"],
        "words": ["2.jpg", "x.jpg"],
        "folders": ["1.png", "2.png"],
        "dpd": ["1.png"],
        "ntire": ["0500.png", "0501.png"],
        "splits": ["b.png", "test/a.png", "train/a.png"],
        "canon": ["flat/0600.png"],
        "two": ["mon/1.png", "tue/1.png"],
    }
    for make, names in makes.items():
        write(*(tmp_path / make / name for name in names))
        out = tmp_path / f"out-{make}"
        result = sharpen(tmp_path / make, None, out)
        assert made(result, out) == expected[make], make
        assert result.failed == (), make


def test_a_pattern_and_two_folders(tmp_path: Path, sharpen: Sharpen) -> None:
    shots = tmp_path / "shots"
    write(*(shots / f"{n}_{side}.png" for n in (1, 2) for side in "LR"), shots / "other.png")
    out = tmp_path / "out"
    assert made(sharpen(f"{shots}/*_L.png", None, out), out) == ["1.png", "2.png"]
    for name in ("1_L.xmp", "1_R.xmp", "notes.txt"):  # what lies beside pictures
        (shots / name).write_text("")
    (shots / "3_L.heic").write_bytes(b"")
    everything = sharpen(f"{shots}/*", None, tmp_path / "all")
    assert made(everything, tmp_path / "all") == ["1.png", "2.png"]
    assert [Path(one.name).name for one in everything.failed] == ["3_L.heic"]
    with pytest.raises(UserError, match=r"notes\.txt: its name says no side"):
        sharpen(f"{shots}/*.txt", None, out)
    other = tmp_path / "other"
    write(other / "1.png", other / "2.png")
    two = tmp_path / "two"
    by_two = sharpen(f"{shots}/*_L.png", f"{other}/*.png", two)
    assert made(by_two, two) == ["1.png", "2.png"]
    write(tmp_path / "here" / "1.png")
    both = tmp_path / "both"
    result = sharpen(tmp_path / "here", other, both)
    assert made(result, both) == ["1.png"]
    with pytest.raises(UserError, match="nothing matches"):
        sharpen(f"{shots}/*.bmp", None, out)
    with pytest.raises(UserError, match="its right view is missing: there is no"):
        write(tmp_path / "lone" / "9_L.png")
        sharpen(f"{tmp_path}/lone/*_L.png", None, out)


def test_one_bad_file_stops_nothing_and_is_listed(
    tmp_path: Path, mean: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shots, out = tmp_path / "shots", tmp_path / "out"
    write(*(shots / f"{n}_{side}.png" for n in range(4) for side in "LR"), shots / "9_L.png")
    (shots / "1_R.png").write_bytes((shots / "1_R.png").read_bytes()[:99])
    write(shots / "2_R.png", size=(34, 50))
    arguments = ["deblur", str(shots), "-o", str(out), f"model={mean}"]
    assert run_command_line(arguments) == 2
    told = capsys.readouterr().out
    assert "sharpened 2 pictures" in told and "3 could not be made" in told
    for words in ("1_R.png: truncated PNG", "the views do not fit", "9_L.png"):
        assert words in told
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "3.png"]
    (out / "0.png").write_bytes(b"dear")
    write(shots / "1_R.png", shots / "2_R.png", shots / "9_R.png")
    assert run_command_line(arguments) == 0
    told = capsys.readouterr().out
    assert "sharpened 3 pictures" in told and "already there: 2" in told
    assert (out / "0.png").read_bytes() == b"dear"


def test_what_was_made_is_no_input(tmp_path: Path, sharpen: Sharpen) -> None:
    write(*(tmp_path / f"{n}_{side}.png" for n in (1, 2) for side in "LR"))
    assert len(sharpen(tmp_path, None, tmp_path / "sharp").pictures) == 2
    again = sharpen(tmp_path, None, tmp_path / "sharp", overwrite=True)
    assert len(again.pictures) == 2 and again.failed == ()
    assert len(sharpen(tmp_path, None, tmp_path).pictures) == 2  # beside the views


def test_an_unquoted_pattern_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["deblur", "1_L.png", "2_L.png", "3_L.png", "-o", "x"]) == 2
    assert (
        "one word too many after left and right; an output goes after -o" in capsys.readouterr().err
    )


def test_a_switch_takes_no_picture(tmp_path: Path, mean: str) -> None:
    left, right, out = (tmp_path / name for name in ("left.png", "right.png", "out.png"))
    write(left, right)
    words = ["deblur", "--overwrite", str(left), str(right), "-o", str(out), f"model={mean}"]
    assert run_command_line(words) == 0 and run_command_line(words) == 0
    assert run_command_line([*words, "--overwrite", "false"]) == 2


def whole_run(shots: Path, out: Path, mean: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "pipelines", "deblur", str(shots), "-o", str(out)]
    return subprocess.Popen(
        [*command, f"model={mean}", "precision=fp32"],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-", "2>&1 | true"])
def test_nobody_has_to_read_what_is_printed(tmp_path: Path, mean: str, closed: str) -> None:
    for side, shift in (("L", 0), ("R", 1)):
        write(tmp_path / f"1_{side}.png", shift=shift)
    words = f"'{tmp_path}/1_L.png' '{tmp_path}/1_R.png' -o '{tmp_path}/out.png' model='{mean}'"
    command = f"'{sys.executable}' -m pipelines deblur {words} {closed}"
    script = f"set -o pipefail; {command}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").exists()
    if closed == "2>&-":  # stdout is for results
        assert done.stdout.startswith("sharpened by mean.safetensors")


@pytest.mark.slow
def test_a_killed_batch_goes_on_and_all_are_whole(tmp_path: Path, mean: str) -> None:
    """SIGKILL at random moments of the work, then once more; K3DN_KILLS=10 for a longer run."""
    shots, out = tmp_path / "shots", tmp_path / "out"
    kills = int(os.environ.get("K3DN_KILLS", "1"))
    count = max(30, 5 * kills)
    for side, shift in (("L", 0), ("R", 1)):
        write(shots / f"0_{side}.png", shift=shift, size=(96, 144))
        for number in range(1, count):
            os.link(shots / f"0_{side}.png", shots / f"{number}_{side}.png")
    generator, killed = random.Random(0), 0
    for _ in range(kills):
        process = whole_run(shots, out, mean)
        there = len(list(out.glob("*.png")))
        aim = there + generator.randint(1, max(1, (count - there) // 2))
        while process.poll() is None and len(list(out.glob("*.png"))) < min(aim, count - 1):
            time.sleep(0.002)  # poll of another process: there is nothing to wait on
        time.sleep(generator.uniform(0, 0.01))  # a random moment of the next picture
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        for path in out.glob("*.png"):
            assert read_photograph(locate(str(path)), "x").pixels.shape == (96, 144, 3)
    assert killed == kills
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert whole_run(shots, out, mean).wait() == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(f"{number}.png" for number in range(count)), "nothing half, nothing else"
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before, "made once"
    first = (out / "0.png").read_bytes()
    assert all((out / name).read_bytes() == first for name in names)


def test_a_folder_is_shared_out_to_devices(
    tmp_path: Path, sharpen: Sharpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once make what one makes, listed in the same order."""
    shots = tmp_path / "shots"
    for number in range(7):
        for side, shift in (("L", number % 3), ("R", 1)):
            write(shots / f"{number}_{side}.png", shift=shift)
    (shots / "3_R.png").write_bytes(b"no picture")
    one = sharpen(shots, None, tmp_path / "one", devices=("cpu",))
    meeting, restore = threading.Barrier(2), k3dn.Restorer.__call__

    def together(self: k3dn.Restorer, *views: Any, **settings: Any) -> Any:
        meeting.wait(timeout=60)  # six pictures: three times two at once, else it breaks
        return restore(self, *views, **settings)

    monkeypatch.setattr(k3dn.Restorer, "__call__", together)
    two = sharpen(shots, None, tmp_path / "two", devices=("cpu", "cpu"), show=True)
    assert made(two, tmp_path / "two") == made(one, tmp_path / "one")
    assert [Path(p.output).name for p in two.pictures] == [f"{n}.png" for n in (0, 1, 2, 4, 5, 6)]
    assert [failed.name for failed in two.failed] == ["3"] and two.exit_code == 2
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(UserError, match=r"devices=cuda:99: there is no such device .* has cpu"):
        sharpen(shots, None, tmp_path / "none", devices=("cuda:99",))
    with pytest.raises(UserError, match="answers in a process of its own, on one"):
        sharpen(shots, None, tmp_path / "none", devices=("cpu",), model="models:/k3dn@champion")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
@pytest.mark.parametrize("many", [False, True])
def test_who_stops_it_is_told_the_truth(
    tmp_path: Path,
    mean: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    many: bool,
    devices: str,
) -> None:
    shots, out = tmp_path / "shots", tmp_path / "out"
    for name in ("1_L.png", "1_R.png", "2_L.png", "2_R.png"):
        write(shots / name, size=(34, 46) if name[0] == "1" else (400, 600))
    words = [str(shots)] if many else [str(shots / "2_L.png"), str(shots / "2_R.png")]
    output = out if many else out / "2.png"
    begun, ended = threading.Event(), threading.Event()
    restore, end = k3dn.Restorer.__call__, Progress.end

    def told(self: k3dn.Restorer, left: Any, *more: Any, **settings: Any) -> Any:
        if left.shape[:2] == (400, 600):
            if many:  # of two at once, the small one first
                ended.wait(timeout=60)
            begun.set()
        return restore(self, left, *more, **settings)

    def told_end(self: Progress, **how: bool) -> None:
        end(self, **how)
        ended.set()

    monkeypatch.setattr(Progress, "end", told_end)

    monkeypatch.setattr(k3dn.Restorer, "__call__", told)

    def stop() -> None:
        if begun.wait(timeout=60):
            os.kill(os.getpid(), signal.SIGTERM)

    # So many small tiles that it takes longer than anybody waits.
    arguments: list[Any] = ["deblur", *words, "-o", str(output), f"model={mean}", "tile_px=32"]
    arguments.append(f"devices={devices}")
    thread = threading.Thread(target=stop)
    thread.start()
    code = run_command_line([*arguments, "precision=fp32", "halo_px=192"])
    thread.join()
    assert begun.is_set()
    said = capsys.readouterr().err.splitlines()[-1]
    assert code == 143
    if many:
        assert "1 of 2 pictures were made now and are whole" in said and "goes on" in said
        assert [path.name for path in out.iterdir()] == ["1.png"]
    else:
        assert "nothing was written to" in said and "begins anew" in said
        assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize("terminal", [False, True])
def test_how_far_it_is_in_a_log_and_in_a_terminal(
    tmp_path: Path,
    sharpen: Sharpen,
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(*(tmp_path / f"{n}_{side}.png" for n in (1, 2) for side in "LR"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    sharpen(tmp_path, None, tmp_path / "out")
    said = capsys.readouterr().err
    if terminal:
        assert re.search(r"\r2, 46 x 34 px, 8 bit 2 of 2: 100%\|.*\| 00:\d\d<00:00", said), said
        assert "\r1: the views are equal" in said  # where the bar was, which is drawn anew
    else:
        assert "sharpening 1 of 2: 1, 46 x 34 px, 8 bit, by mean.safetensors\n" in said
        assert "\r" not in said


def test_what_was_there_tells_nothing_of_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """900 of 1000 are there, and a quarter of the next takes 15 s: 99.75 pictures are left."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress(1000) as progress:
        for _ in range(900):
            progress.end(made=False)
        progress.begin("a", "mean")
        now = 15.0
        progress.tiles(1, 4)
    assert "about 5985 s left" in capsys.readouterr().err


def test_a_page_that_fails_takes_no_picture_away(
    tmp_path: Path,
    sharpen: Sharpen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipelines.deblur.show.Page.write", full)
    write(tmp_path / "1_L.png", tmp_path / "1_R.png")
    result = sharpen(tmp_path, None, tmp_path / "out", show=True)
    assert len(result.pictures) == 1 and result.page is None
    assert "there is no page: " in capsys.readouterr().err
