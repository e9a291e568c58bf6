"""Two versions compared pair by pair, of pairs whose differences are known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.dataset.catalog import run
from pipelines.dataset.config import DatasetsConfig
from pipelines.dataset.difference import Difference, difference
from pipelines.dataset.version import MANIFEST, open_version
from pipelines.making.plan import make_plan
from pipelines.making.publish import publish
from pipelines.storage import Location, locate
from tests.pipelines.dataset.makers import NoisePairs, NoiseUnit
from tests.pipelines.dataset.test_shard import write_schema_1
from tests.pipelines.making.test_publish import memory
from tests.pipelines.training.versions import make_pair, write_version


def make_version(
    root: Location, version: str, units: list[NoiseUnit], config: dict[str, Any], shard: int = 3
) -> None:
    plan = make_plan(
        dataset="noise",
        version=version,
        units=units,
        rejects=(),
        content_config=config,
        pairs_per_shard=shard,
    )
    publish(
        plan,
        root,
        NoisePairs(),
        config=config,
        code="code",
        max_rejected=0.5,
        move_latest=True,
        ray_address=None,
        read_inputs=True,
    )


def units(count: int) -> list[NoiseUnit]:
    return [NoiseUnit(pair_id=f"pair-{n:02d}", split="train", number=n) for n in range(count)]


def compare(root: Location) -> Difference:
    return difference(open_version(root, "noise@v1"), open_version(root, "noise@v2"))


def test_feature_every_kind_of_difference_is_found(tmp_path: Path) -> None:
    root, first = memory(tmp_path), units(9)
    second = [replace(unit) for unit in first[1:]]  # pair-00 is gone
    second[3] = replace(second[3], number=99)  # pair-04 has other pictures
    second[7] = replace(second[7], split="test")  # pair-08
    second.append(NoiseUnit(pair_id="pair-20", split="val", number=20))
    make_version(root, "v1", first, {"seed": 0, "size": "8x8"})
    make_version(root, "v2", second, {"seed": 1, "size": "8x8", "new": True}, shard=2)
    found = compare(root)
    assert found.settings == {"new": (None, True), "seed": (0, 1)}
    assert (found.only_first, found.only_second) == (["pair-00"], ["pair-20"])
    assert found.moved == {"pair-08": ("train", "test")}
    assert found.changed == {"pair-04": ["left", "right", "target", "provenance"]}
    assert found.same == 7
    text = found.describe()
    assert "seed: 0 in noise@v1, 1 in noise@v2" in text
    assert "1 pair only in noise@v1: pair-00" in text
    assert "1 pair in another split: pair-08 (train to test)" in text
    assert "1 pair of other content: pair-04 (left, right, target, provenance)" in text
    assert "7 pairs of equal content" in text


def test_shards_that_both_have_are_not_read(tmp_path: Path) -> None:
    """The first shard is shared and destroyed; only its checksum in the manifests is looked at."""
    root = memory(tmp_path)
    make_version(root, "v1", units(6), {})
    make_version(root, "v2", [*units(5), replace(units(6)[5], number=77)], {})
    name = next(n for n in root.walk() if n.startswith("noise/v1/") and n.endswith("00000.parquet"))
    root.child(name).write_bytes(b"gone")
    found = compare(root)
    assert found.changed == {"pair-05": ["left", "right", "target", "provenance"]}
    assert found.same == 5


def test_equal_versions_of_other_shards(tmp_path: Path) -> None:
    root = memory(tmp_path)
    make_version(root, "v1", units(5), {"a": 1})
    make_version(root, "v2", units(5), {"a": 1}, shard=1)
    found = compare(root)
    assert found == replace(found, settings={}, only_first=[], only_second=[], moved={}, changed={})
    assert found.same == 5
    assert found.describe() == "5 pairs of equal content in noise@v1 and noise@v2"


def test_the_step_says_it(tmp_path: Path) -> None:
    root = memory(tmp_path)
    make_version(root, "v1", units(5), {})
    make_version(root, "v2", units(7), {})
    result = run(DatasetsConfig(root=root.url, name="noise@v1", against="noise"))
    assert "2 pairs only in noise@v2: pair-05, pair-06" in result.describe()
    assert [entry["version"] for entry in result.versions] == ["v1", "v2"]
    with pytest.raises(ValueError, match=r"give name=\.\.\. with it"):
        DatasetsConfig(against="noise")


def test_the_same_pictures_in_another_encoding_are_of_equal_content(tmp_path: Path) -> None:
    root = locate(str(tmp_path))
    pairs = [make_pair("noise", "train", n, with_coc=True) for n in range(3)]
    write_version(str(tmp_path), "noise", "v1", pairs)
    other = make_pair("noise", "train", 9)
    pairs[2] = replace(pairs[2], target=other.target)
    write_version(str(tmp_path), "noise", "v2", pairs)
    version = root.child("noise", "v1")
    manifest = json.loads(version.child(MANIFEST).read_bytes())
    shard = version.child(manifest["shards"][0]["name"])
    before = [make_pair("noise", "train", n, with_coc=True) for n in range(3)]
    write_schema_1(shard, *before)
    manifest |= {"schema": "k3dn.dataset/1", "config": {}}
    version.child(MANIFEST).write_bytes(json.dumps(manifest).encode())
    second = root.child("noise", "v2", MANIFEST)
    second.write_bytes(json.dumps(json.loads(second.read_bytes()) | {"config": {}}).encode())
    found = compare(root)
    assert (found.same, found.changed) == (2, {"train-02": ["target"]})
