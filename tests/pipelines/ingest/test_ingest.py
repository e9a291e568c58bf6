"""Real pairs from a folder: what is good gets in bit by bit, what is bad is named."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.dataset.images import decode_image, encode_image
from pipelines.dataset.version import DatasetVersion, open_version
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import RealPairs, make
from pipelines.ingest.layouts import discover
from pipelines.ingest.source_files import open_source
from pipelines.making.publish import REJECTED
from pipelines.making.shards import BadInput
from pipelines.storage import locate
from tests.pipelines.dataset.makers import write_dpd_tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_dpd_tree(tmp_path / "dpd")
    return tmp_path / "dpd"


def ingest(source: Path, **keys: object) -> DatasetVersion:
    root = f"memory://{source.parent.name}-{os.getpid()}"
    result = make(IngestConfig(source=str(source), root=root, **keys))  # type: ignore[arg-type]
    return open_version(locate(root), f"{result.dataset}@{result.version}")


def rejects(version: DatasetVersion) -> dict[str, tuple[str, str, str]]:
    with version.location.child(REJECTED).open() as file:
        rows = pq.read_table(file).to_pylist()
    return {row["pair_id"]: (row["path"], row["reason"], row["stage"]) for row in rows}


def test_every_sample_value_gets_in(source: Path) -> None:
    version = ingest(source, pairs_per_shard=3)
    assert {s: version.rows(s) for s in ("train", "val", "test")} == {
        "train": 4,
        "val": 1,
        "test": 2,
    }
    pair = version.read_pair("train", 2)
    assert pair.pair_id == pair.scene_id == "1P0Atrain0020"
    assert pair.left.dtype == np.uint16
    for role, path in (
        ("left", "train_l/source/1P0Atrain0020_L.png"),
        ("right", "train_r/source/1P0Atrain0020_R.png"),
        ("combined", "train_c/source/1P0Atrain0020.png"),
        ("target", "train_c/target/1P0Atrain0021.png"),
    ):
        picture = decode_image((source / path).read_bytes(), where=path)
        assert np.array_equal(getattr(pair, role), picture), role
    assert pair.provenance.layout == "dpd-blur"
    assert {s.role: s.file for s in pair.provenance.sources}["target"].endswith("0021.png")


def test_bad_inputs_are_named_and_stop_nothing(source: Path) -> None:
    def path(number: int, view: str) -> Path:
        return source / f"train_{view}/source/1P0Atrain{number:04d}_{view.upper()}.png"

    path(0, "l").write_bytes(path(0, "l").read_bytes()[:-200])
    path(10, "r").write_bytes(path(10, "l").read_bytes())
    path(20, "r").write_bytes(encode_image(np.zeros((20, 25, 3), np.uint16)))
    path(30, "r").write_bytes(encode_image(np.zeros((20, 24, 3), np.uint8)))
    (source / "val_r/source/1P0Aval0000_R.png").unlink()
    version = ingest(source, max_rejected=1.0, pairs_per_shard=2)
    assert version.rows("train") == version.rows("val") == 0
    assert version.rows("test") == 2
    assert rejects(version) == {
        "1P0Atrain0000": (
            "train_l/source/1P0Atrain0000_L.png",
            "truncated PNG (its end is missing)",
            "decode",
        ),
        "1P0Atrain0010": (
            "train_r/source/1P0Atrain0010_R.png",
            "left and right are the same picture",
            "check",
        ),
        "1P0Atrain0020": (
            "train_l/source/1P0Atrain0020_L.png",
            "mismatched sizes: left is 24 x 20, right is 25 x 20",
            "check",
        ),
        "1P0Atrain0030": (
            "train_l/source/1P0Atrain0030_L.png",
            "mismatched bit depth: left has 16 bit, right has 8",
            "check",
        ),
        "1P0Aval0000": (
            "val_l/source/1P0Aval0000_L.png",
            "missing view: there is no right picture",
            "discover",
        ),
    }


def test_a_file_that_cannot_be_read_is_a_reject(source: Path) -> None:
    """A folder in its place, as permissions do not bind every user that runs tests."""
    left = source / "train_l/source/1P0Atrain0000_L.png"
    files = open_source(str(source))
    found = discover(files.walk(), layout="dpd-blur", source="")[1]
    unit = next(pair for pair in found.pairs if pair.pair_id == "1P0Atrain0000")
    left.unlink()
    left.mkdir()
    producer = RealPairs(source=files, dataset="d", layout="dpd-blur")
    with pytest.raises(BadInput, match="cannot be read: is a directory") as caught:
        producer(unit)
    assert caught.value.path == "train_l/source/1P0Atrain0000_L.png"
    assert caught.value.sources == producer.sources(unit)


def test_a_picture_replaced_by_one_of_its_size_is_seen(source: Path) -> None:
    ingest(source)
    file = source / "train_l/source/1P0Atrain0000_L.png"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="content of its input files has changed"):
        ingest(source)


@pytest.mark.parametrize(("orientation", "degrees"), [(1, 0), (3, 180), (6, 90), (8, 270)])
def test_a_turned_camera_keeps_its_parallax_along_the_rows(
    source: Path, orientation: int, degrees: int
) -> None:
    """What a viewer shows, turned back by turned_degrees, is what goes in."""
    turn_files(source, dict.fromkeys("lrc", orientation))
    files = open_source(str(source))
    found = discover(files.walk(), layout="dpd-blur", source="")[1]
    unit = next(pair for pair in found.pairs if pair.pair_id == "1P0Atrain0000")
    pair = RealPairs(source=files, dataset="d", layout="dpd-blur")(unit)
    assert pair.provenance.turned_degrees == degrees
    for role, view in (("left", pair.left), ("right", pair.right)):
        shown = decode_image(files.read(getattr(unit, role)[0]), where=role)
        assert np.array_equal(np.rot90(shown, degrees // 90), view)
    inner = slice(1, -1)  # the views are the target moved by one pixel along the rows
    assert np.array_equal(pair.left[:, 2:], pair.right[:, :-2])
    assert pair.left[inner].shape[1] == 24


@pytest.mark.parametrize(
    ("turns", "words"),
    [({"l": 6}, "turned differently"), (dict.fromkeys("lrc", 2), "mirrors it")],
)
def test_turns_that_leave_the_parallax_open_are_rejected(
    source: Path, turns: dict[str, int], words: str
) -> None:
    turn_files(source, turns)
    files = open_source(str(source))
    found = discover(files.walk(), layout="dpd-blur", source="")[1]
    unit = next(pair for pair in found.pairs if pair.pair_id == "1P0Atrain0000")
    with pytest.raises(BadInput, match=words):
        RealPairs(source=files, dataset="d", layout="dpd-blur")(unit)


def turn_files(source: Path, turns: dict[str, int]) -> None:
    """Give the first training pair's files an Orientation by view; pixels stay as they are."""
    for view, orientation in turns.items():
        exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
        chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif
        chunk += struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        for file in (source / f"train_{view}").rglob("1P0Atrain000*"):
            data = file.read_bytes()
            file.write_bytes(data[:33] + chunk + data[33:])


def test_more_rejects_than_allowed_fail_the_run(source: Path) -> None:
    (source / "train_l/source/1P0Atrain0000_L.png").write_bytes(b"no image at all")
    with pytest.raises(UserError, match="1 of 7 inputs were rejected"):
        ingest(source, max_rejected=0.1)


def test_moving_the_folder_changes_nothing(source: Path, tmp_path: Path) -> None:
    before = ingest(source)
    moved = source.rename(tmp_path / "moved")
    again = make(IngestConfig(source=str(moved), root=before.location.url.rpartition("/dpd")[0]))
    assert again.existed


def test_other_input_needs_another_version(source: Path) -> None:
    ingest(source)
    write_dpd_tree(source, train=5, seed=1)
    with pytest.raises(UserError, match=r"the input files differ.*version=v2"):
        ingest(source)
    assert ingest(source, version="v2").rows("train") == 5


@pytest.mark.parametrize(("make", "words"), [(False, "there is nothing at"), (True, "no files")])
def test_wrong_path(tmp_path: Path, make: bool, words: str) -> None:
    if make:
        (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=words):
        ingest(tmp_path / "none")


@pytest.mark.slow
def test_the_samples(samples: Path) -> None:
    """Eight scenes of a Canon, in the set's own layout."""
    root = f"memory://samples-{os.getpid()}"
    make(IngestConfig(source=str(samples / "dpd-blur-mini"), root=root))
    version = open_version(locate(root), "dpd-blur")
    assert version.pair_ids("test") == ["canon_06", "canon_07"]
    pair = version.read_pair("test", 0)
    assert pair.left.shape == (512, 840, 3)
    assert pair.target is not None
    # the views of one exposure resemble each other more than either resembles its sharp target
    mean = (pair.left.astype(float) + pair.right) / 2
    assert np.abs(mean - pair.left).mean() < np.abs(mean - pair.target).mean()
