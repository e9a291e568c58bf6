"""Readers open a version through its manifest, and are told what there is instead."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.dataset.shard import read_row
from pipelines.dataset.version import (
    MANIFEST,
    natural_order,
    open_version,
    published_versions,
    set_latest,
)
from pipelines.errors import UserError
from pipelines.storage import Location
from tests.pipelines.dataset.makers import NoisePairs, noise_plan
from tests.pipelines.making.test_publish import make, memory


@pytest.fixture
def root(tmp_path: Path) -> Location:
    location = memory(tmp_path)
    make(location)
    return location


def test_rows_in_order_across_shards(root: Location) -> None:
    version = open_version(root, "noise@v1")
    units = [u for item in noise_plan(12).items for u in item.units if u.split == "train"]
    assert version.rows("train") == len(units) == 10
    for index, unit in enumerate(units):
        pair = version.read_pair("train", index)
        assert pair.pair_id == unit.pair_id
        assert np.array_equal(pair.left, NoisePairs()(unit).left)
    for index in (-1, 10):
        with pytest.raises(IndexError):
            version.read_pair("train", index)
    assert version.rows("val") == 0
    assert version.shards("val") == ()


def test_a_row_of_chosen_columns(root: Location) -> None:
    shard = open_version(root, "noise").shards("train")[1]
    assert set(read_row(shard, 0, ["left", "target"])) == {"left", "target"}


def test_strangers_in_the_folder_are_not_read(root: Location) -> None:
    root.child("noise/v1/split=train/99999.parquet").write_bytes(b"nonsense")
    assert open_version(root, "noise").rows("train") == 10


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("noize", "did you mean 'noise'"),
        ("else", "there is noise"),
        ("noise@v9", "no version 'v9'; there is v1"),
        ("noise@", "noise@ names no version"),
        ("Noise", "not a valid name for a dataset"),
    ],
)
def test_what_is_not_there(root: Location, reference: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_version(root, reference)


def test_an_empty_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no dataset at .* 'k3dn synth' or 'k3dn ingest'"):
        open_version(memory(tmp_path, "empty"), "noise")


def test_a_version_without_manifest_does_not_exist(root: Location) -> None:
    root.child("noise/v2/split=train/00000.parquet").write_bytes(b"unfinished")
    assert published_versions(root, "noise") == ["v1"]
    with pytest.raises(UserError, match="no version 'v2'"):
        open_version(root, "noise@v2")
    with pytest.raises(ValueError, match="not published"):
        set_latest(root, "noise", "v2")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", json.dumps({"schema": "k3dn.dataset/99"}).encode()]
)
def test_a_damaged_manifest_is_said_in_one_line(root: Location, content: bytes) -> None:
    root.child("noise", "v1", MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=MANIFEST) as caught:
        open_version(root, "noise@v1")
    assert "\n" not in str(caught.value)


def test_a_damaged_pointer_is_said_in_one_line(root: Location) -> None:
    root.child("noise", "_latest.json").write_bytes(b"v1")
    with pytest.raises(UserError, match="not a pointer"):
        open_version(root, "noise")


def test_problems_are_found(root: Location) -> None:
    version = open_version(root, "noise")
    assert version.problems() == []
    first, second = (shard.location for shard in version.shards("train")[:2])
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(bytes(data))
    second.delete()
    problems = version.problems()
    assert len(problems) == 2
    assert "its content has changed" in problems[0]
    assert "missing" in problems[1]


def test_versions_by_number() -> None:
    names = ["v10", "v2", "v1", "2026-11-23", "2026-02-01"]
    assert sorted(names, key=natural_order) == ["2026-02-01", "2026-11-23", "v1", "v2", "v10"]
