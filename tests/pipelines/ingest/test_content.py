"""Sets whose pictures are wrong, under names that are right."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.content.look import look_at_pair
from pipelines.dataset.images import decode_image, encode_image
from pipelines.dataset.version import DatasetVersion, open_version
from pipelines.errors import UserError
from pipelines.ingest import looking
from pipelines.ingest.compare_pairs import Shown, in_two_splits
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import look, make
from pipelines.ingest.layouts import discover
from pipelines.ingest.source_files import open_source
from pipelines.making.publish import FINDINGS, REJECTED
from pipelines.storage import locate
from tests.pipelines.content.scenes import Pictures, clean, jpeg, turned

Set = dict[str, list[Pictures]]


def write(folder: Path, pairs: Set) -> Path:
    """In the layout left-right-sharp; pairs are named by split and number."""
    for split, group in pairs.items():
        for number, pair in enumerate(group):
            for role, picture in zip(("left", "right", "sharp"), pair, strict=True):
                file = folder / split / role / f"{split}{number:03d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(encode_image(picture))
    return folder


def ingest(source: Path, root: str = "", **keys: Any) -> DatasetVersion:
    root = root or f"memory://content-{source.parent.name}-{os.getpid()}"
    keys = {"max_rejected": 1.0} | keys
    result = make(IngestConfig(source=str(source), root=root, **keys))
    return open_version(locate(root), f"{result.dataset}@{result.version}")


def table(version: DatasetVersion, name: str = FINDINGS) -> list[dict[str, Any]]:
    with version.location.child(name).open() as file:
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def found(version: DatasetVersion) -> set[tuple[str, str, str]]:
    return {
        (row["pair_id"], row["severity"], row["kind"])
        for row in table(version)
        if row["severity"] != "note"
    }


def wrong_targets(pairs: list[Pictures], shift: int) -> list[Pictures]:
    """The target of each is that of a neighbour; those at the end keep theirs."""
    return [
        pair._replace(target=pairs[number + shift].target)
        if 0 <= number + shift < len(pairs)
        else pair
        for number, pair in enumerate(pairs)
    ]


def test_a_clean_set_goes_in_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs: Set = {"train": [clean(n) for n in range(4)], "test": [clean(9)]}
    source = write(tmp_path / "set", pairs)
    version = ingest(source)
    assert version.rows("train") == 4 and version.rows("test") == 1
    assert found(version) == set() and version.problems() == []
    assert any(file["name"] == FINDINGS for file in version.manifest["files"])
    (note,) = table(version)
    assert (
        "looked at 5 of 5 pairs; 288 x 216 (5); 8 bit (5); parallax along rows (5)" in note["text"]
    )
    unlooked = ingest(source, root=f"memory://unlooked-{os.getpid()}", check="none")
    assert unlooked.read_pair("train", 2).left.tolist() == pairs["train"][2].left.tolist()
    capsys.readouterr()
    assert ingest(source).digest == version.digest  # published: not looked at again
    assert "looked" not in capsys.readouterr().err


def test_targets_shifted_by_one_are_all_found(tmp_path: Path) -> None:
    right = [clean(n, sign=-1) for n in range(6)]
    source = write(tmp_path / "set", {"train": wrong_targets(right, 1), "test": [clean(9)]})
    version = ingest(source)
    assert version.rows("train") == 1 and version.rows("test") == 1
    reasons = {row["pair_id"]: row["reason"] for row in table(version, REJECTED)}
    for number in range(5):
        assert f"its target is that of train{number + 1:03d}" in reasons[f"train{number:03d}"]
    assert {row["stage"] for row in table(version, REJECTED)} == {"content"}
    assert found(version) == {(f"train{n:03d}", "fault", "target") for n in range(5)}


@pytest.mark.parametrize("moved_px", [2, 4])
def test_frames_of_a_film_are_told_from_each_other(tmp_path: Path, moved_px: int) -> None:
    """Each frame is like the next: the camera moves by two pixels, or by four, which is one at the
    size at which frames are compared: as they lie, or a frame would fit its neighbour's target."""
    whole = clean(3, most=3.0)
    starts = [moved_px * n for n in range(9)]
    frames = [Pictures(*(p[:192, start : start + 256] for p in whole)) for start in starts]
    assert found(ingest(write(tmp_path / "right", {"train": frames}))) == set()
    shifted = frames[:2] + wrong_targets(frames[2:], -1)
    wrong = found(ingest(write(tmp_path / "wrong", {"train": shifted}), version="v2"))
    # Moved far, each shows by itself that its target lies beside it, and the first, whose target is
    # that of the frame before it too, does no more than that.
    far = moved_px > 2
    expected = {(f"train{n:03d}", "fault", "target") for n in range(3 + far, 9)}
    assert wrong == expected | {
        (f"train{n:03d}", "doubt", "target-beside") for n in range(3, 9) if far
    }


def test_one_scene_at_several_apertures_is_no_wrong_neighbour(tmp_path: Path) -> None:
    pairs = [clean(4, most=9.0 - n) for n in range(7)]
    assert found(ingest(write(tmp_path / "set", {"train": pairs}))) == set()


def test_what_is_refused_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    right = [clean(n) for n in range(6)]
    source = write(tmp_path / "set", {"train": wrong_targets(right, 1)})
    root = tmp_path / "root"
    with pytest.raises(UserError, match=r"5 of 6 inputs were rejected.*nothing was written"):
        ingest(source, root=str(root), max_rejected=0.5)
    assert not root.exists()


def test_a_scene_that_stands_in_two_splits_stays_out_of_training(tmp_path: Path) -> None:
    pairs = [clean(n) for n in range(4)]
    copy = Pictures(*(jpeg(picture[1:-1, 1:-1], 80) for picture in pairs[2]))
    version = ingest(write(tmp_path / "set", {"train": pairs, "test": [copy, clean(9)]}))
    assert found(version) == {("train002", "fault", "twice")}
    assert version.pair_ids("train") == ["train000", "train001", "train003"]
    (row,) = table(version, REJECTED)
    assert row["reason"] == "it shows the scene of test000 in the test split"


@pytest.mark.parametrize(
    ("across", "down", "words"),
    [(True, False, "mirrored"), (False, True, "upside down"), (True, True, "turned by half")],
)
def test_a_mirrored_copy_in_another_split_is_told(across: bool, down: bool, words: str) -> None:
    pairs = [look_at_pair(*clean(seed), close=False) for seed in range(12)]
    copy = [p[:: -1 if down else 1, :: -1 if across else 1] for p in clean(7)]
    look = look_at_pair(*(np.ascontiguousarray(p) for p in copy), close=False)
    shown = [Shown(str(n), "test", n, p.hash, p.scene) for n, p in enumerate(pairs)]
    found = list(in_two_splits([*shown, Shown("copy", "train", 0, look.hash, look.scene)]))
    assert [(one.pair_id, two.pair_id, how, sure) for one, two, how, sure in found] == [
        ("copy", "7", words, True)
    ]


def test_portrait_pictures_are_turned_and_say_so(tmp_path: Path) -> None:
    upright = [turned(clean(n)) for n in range(2)]
    flat = [clean(3), clean(4, most=0.3)]
    still = turned(clean(5, most=0.3))  # too little parallax to tell: as the others of its shape
    source = write(tmp_path / "set", {"train": [*upright, *flat, still]})
    version = ingest(source)
    degrees = {}
    for number in range(5):
        pair = version.read_pair("train", number)
        degrees[number] = pair.provenance.turned_degrees
        file = source / f"train/left/train{number:03d}.png"
        stored = decode_image(file.read_bytes(), where="")
        assert np.array_equal(pair.left, np.rot90(stored, degrees[number] // 90))
    assert degrees == {0: 90, 1: 90, 2: 0, 3: 0, 4: 90}
    turns = {row["pair_id"] for row in table(version) if row["kind"] == "axis"}
    assert turns == {"train000", "train001", "train004"}


def test_views_that_look_exchanged_are_a_doubt_about_the_set(tmp_path: Path) -> None:
    right = [clean(n, most=5.0) for n in range(8)]
    assert found(ingest(write(tmp_path / "right", {"train": right}))) == set()
    wrong = [pair._replace(left=pair.right, right=pair.left) for pair in right]
    version = ingest(write(tmp_path / "wrong", {"train": wrong}), version="v2")
    assert found(version) == {("", "doubt", "sign")}
    assert version.rows("train") == 8


@pytest.mark.slow
def test_beyond_the_sample_what_shows_from_afar_is_found_too(tmp_path: Path) -> None:
    """One wrong target and one scene in two splits, among more pairs than are looked at."""
    corner = [np.s_[y : y + 72, x : x + 96] for y in (0, 72, 144) for x in (0, 96, 192)]
    pairs = [
        Pictures(*(picture[corner[n % 9]] for picture in clean(10 + n // 9, most=2.0)))
        for n in range(81)
    ]
    sets = {"train": pairs[:75], "test": pairs[75:]}
    source = write(tmp_path / "set", sets)
    files = open_source(str(source)).walk()
    units = discover(files, layout="auto", source="")[1].pairs
    sample = looking.sample_of(units)
    assert 50 < len(sample) < 80
    assert {units[n].split for n in sample} == {"train", "test"}
    first, second = [n for n in range(75) if n not in sample][:2]
    sets["train"][first] = pairs[first]._replace(target=pairs[40].target)
    sets["train"][second] = sets["test"][0]
    version = ingest(write(source, sets))
    wrong, twice = f"train{first:03d}", f"train{second:03d}"
    assert found(version) == {(wrong, "fault", "content"), (twice, "doubt", "twice")}
    assert wrong not in version.pair_ids("train") and twice in version.pair_ids("train")
    everything = ingest(source, version="v2", check="all")
    assert found(everything) == {(wrong, "fault", "target"), (twice, "fault", "twice")}
    assert twice not in everything.pair_ids("train")


@pytest.mark.slow
def test_a_fault_in_the_sample_has_all_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [Pictures(*(p[:72, :96] for p in clean(n % 9, most=2.0))) for n in range(70)]
    pairs[0] = pairs[0]._replace(right=np.zeros_like(pairs[0].right))
    lines = look(IngestConfig(source=str(write(tmp_path / "set", {"train": pairs}))))
    assert any("looked at 70 of 70 pairs" in line for line in lines)
    assert "have a fault: looking at all 70 pairs" in capsys.readouterr().err


def test_a_dry_run_shows_what_is_found_and_writes_the_sheet_alone(tmp_path: Path) -> None:
    right = [clean(n, sign=-1) for n in range(4)]
    pairs = [*wrong_targets(right, 1), turned(clean(8))]
    source = write(tmp_path / "set", {"train": pairs, "val": [clean(9)]})
    before = sorted(tmp_path.rglob("*"))
    config = IngestConfig(source=str(source), root=str(tmp_path / "root"))
    lines = look(config)
    assert sorted(tmp_path.rglob("*")) == before
    assert re.fullmatch(r"layout left-right-sharp: 5 train, 1 val pairs, .*", lines[0])
    (line,) = (line for line in lines if line.startswith("rejected"))
    assert re.match(r"rejected +target +3 +train000: its target is that of train001", line)
    assert any("turned" in line for line in lines)
    sheet = tmp_path / "sheet.png"
    (last,) = (
        line
        for line in look(
            IngestConfig(source=str(source), root=str(tmp_path / "root"), sheet=str(sheet))
        )
        if "sheet" in line
    )
    assert last == f"sheet of 6 pairs: {sheet}"
    assert sorted(tmp_path.rglob("*")) == sorted([*before, sheet])
    assert decode_image(sheet.read_bytes(), where="").shape[0] > 6 * 200
