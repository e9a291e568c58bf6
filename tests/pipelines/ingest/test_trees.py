"""What lies below a source besides one clean set: each file is taken, rejected or asked about."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.dataset.images import encode_image
from pipelines.dataset.names import escaped
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import make
from pipelines.ingest.layouts import discover
from pipelines.ingest.layouts.files import Discovery
from pipelines.making.plan import LEFT_OUT
from pipelines.storage import locate
from tests.pipelines.dataset.makers import write_dpd_tree


def find(names: list[str] | dict[str, int]) -> Discovery:
    files = names if isinstance(names, dict) else dict.fromkeys(names, 1)
    return discover(files, layout="dpd-blur", source="here")[1]


def scene(name: str, *, split: str = "train", tree: str = "") -> list[str]:
    return [
        f"{tree}{split}_l/source/{name}_L.png",
        f"{tree}{split}_r/source/{name}_R.png",
        f"{tree}{split}_c/target/{name}.png",
    ]


def test_two_trees_are_a_question_and_never_merged() -> None:
    names = scene("a", tree="DPDD/") + scene("b", tree="copy/DPDD/")
    with pytest.raises(UserError, match=r"2 sets.*DPDD \(3 pictures\).*source=here/"):
        find(names)
    half = [scene("a", tree="one/")[0], *scene("a", tree="two/")[1:]]
    with pytest.raises(UserError, match="2 sets"):
        find(half)


@pytest.mark.parametrize("twin", ["train_l/source/a_L.tif", "train_l/source/a.png"])
def test_two_files_for_one_view_are_rejected_and_both_named(twin: str) -> None:
    found = find([*scene("a"), *scene("b"), twin])
    assert [pair.pair_id for pair in found.pairs] == ["b"]
    assert "two files are its left picture" in found.rejects[0].reason
    assert twin in found.rejects[0].reason and "a_L.png" in found.rejects[0].reason


def test_two_files_for_one_target_are_rejected() -> None:
    found = find([*scene("a"), *scene("b"), "train_c/target/a.jpg"])
    assert [pair.pair_id for pair in found.pairs] == ["b"]
    assert "two files are its target picture" in found.rejects[0].reason


def test_what_macos_adds_is_no_input() -> None:
    names = [name for letter in "abcd" for name in scene(letter)]
    ghosts = [f"{Path(name).parent}/._{Path(name).name}" for name in names]
    ghosts += [f"__MACOSX/{ghost}" for ghost in ghosts]
    found = find(names + ghosts)
    assert found.pairs == find(names).pairs
    assert sorted(r.path for r in found.rejects) == sorted(ghosts)
    assert {r.stage for r in found.rejects} == {LEFT_OUT}


def test_a_picture_in_a_format_that_is_not_read_is_rejected() -> None:
    names = [*scene("a"), *scene("b")]
    names[0] = names[0].replace(".png", ".bmp")
    found = find(names)
    assert [pair.pair_id for pair in found.pairs] == ["b"]
    assert [(r.path, r.stage) for r in found.rejects] == [(names[0], "discover")]
    assert ".bmp is not read" in found.rejects[0].reason


def test_targets_and_combined_views_without_views_are_named() -> None:
    found = find([*scene("a"), "train_c/target/z.png", "train_c/source/y.png"])
    assert {r.path: r.reason.partition(":")[0] for r in found.rejects} == {
        "train_c/target/z.png": "missing views",
        "train_c/source/y.png": "missing views",
    }


def test_numbering_that_begins_anew_in_each_split() -> None:
    """0001 of training and 0001 of the test are two scenes, unless the files are alike."""
    names = [*scene("0001"), *scene("0001", split="test")]
    other = {name: 100 + index for index, name in enumerate(names)}
    assert [p.pair_id for p in find(other).pairs] == ["train/0001", "0001"]
    alike = find(names)
    assert [(p.pair_id, p.split) for p in alike.pairs] == [("0001", "test")]
    assert "the same scene is in the test split" in alike.rejects[0].reason


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    write_dpd_tree(tmp_path / "disk", train=2, val=0, test=1)
    there = tmp_path / "set"
    there.mkdir()
    for folder in (tmp_path / "disk").iterdir():
        (there / folder.name).symlink_to(folder)
    (tmp_path / "disk/train_l/again").symlink_to(there)
    (there / "train_l/source/lost_L.png").symlink_to(tmp_path / "nowhere.png")
    files = locate(str(there)).walk(follow_links=True)
    assert len([f for f in files if f.endswith(".png")]) == 13
    found = find(files)
    assert len(found.pairs) == 3
    assert [r.pair_id for r in found.rejects] == ["lost"]


def test_folders_that_all_link_to_each_other_are_refused(tmp_path: Path) -> None:
    """They have as many paths as there are orders of them."""
    folders = [tmp_path / f"f{number}" for number in range(9)]
    for folder in folders:
        folder.mkdir()
        for other in folders:
            (folder / f"to-{other.name}").symlink_to(other)
    with pytest.raises(UserError, match="links lead from one to the next"):
        locate(str(tmp_path)).walk(follow_links=True)


def test_a_pipe_is_not_read_and_a_name_of_ours_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.tmp-1.png").write_bytes(b"x")
    assert locate(str(tmp_path)).walk(follow_links=True) == {"b.tmp-1.png": 1}


def test_names_that_are_no_utf8_go_in_byte_for_byte(tmp_path: Path) -> None:
    write_dpd_tree(tmp_path, train=2, val=0, test=1, bits=8)
    for view, old in (("l", "1P0Atrain0000_L"), ("r", "1P0Atrain0000_R"), ("c", "1P0Atrain0000")):
        folder = os.fsencode(tmp_path / f"train_{view}/source")
        new = old.encode().replace(b"1P0A", b"caf\xe9 ") + b".png"
        os.rename(folder + b"/" + old.encode() + b".png", folder + b"/" + new)  # noqa: PTH104
    os.rename(  # noqa: PTH104
        tmp_path / "train_c/target/1P0Atrain0001.png",
        os.fsencode(tmp_path) + b"/train_c/target/caf\xe9 train0001.png",
    )
    bad = os.fsencode(tmp_path) + b"/train_l/source/\xff_L.png"
    os.link(tmp_path / "train_l/source/1P0Atrain0010_L.png", bad)
    root = f"memory://bytes-{os.getpid()}"
    make(IngestConfig(source=str(tmp_path), root=root, max_rejected=0.5))
    version = open_version(locate(root), "dpd-blur")
    assert version.pair_ids("train") == ["1P0Atrain0010", r"caf\xe9 train0000"]
    pair = version.read_pair("train", 1)
    assert pair.provenance.sources[0].file == r"train_l/source/caf\xe9 train0000_L.png"
    assert all(source.sha256 for source in pair.provenance.sources)
    with version.location.child("_rejected.parquet").open() as file:
        (row,) = pq.read_table(file).to_pylist()
    assert row["path"] == r"train_l/source/\xff_L.png"


def test_synthesis_takes_names_that_are_no_utf8(tmp_path: Path) -> None:
    from pipelines.synthesis.config import SynthConfig
    from pipelines.synthesis.synthesize import make as synthesize

    rng = np.random.default_rng(0)
    for name, picture in (
        (b"r\xe9_image.png", rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)),
        (b"r\xe9_depth.png", np.full((24, 32, 3), 1500, np.uint16)),
    ):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(encode_image(picture))
    root = f"memory://synth-bytes-{os.getpid()}"
    synthesize(SynthConfig(source=str(tmp_path), root=root, pairs=1, max_coc_px=3, size="24x32"))
    version = open_version(locate(root), "synth")
    assert version.pair_ids("train") == [r"r\xe9-0000"]


def test_two_names_never_become_one() -> None:
    byte, text = "caf\udce9", r"caf\xe9"
    assert escaped(byte) == r"caf\xe9" and escaped(text) == text
    assert escaped("\\xe9\udce9") != escaped("\udce9\udce9")
    assert escaped("Ünïcode ✓") == "Ünïcode ✓"
