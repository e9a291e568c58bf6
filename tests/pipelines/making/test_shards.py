"""The plan is pure; a shard is written whole, skipped where it matches, made anew where not."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dataset.record import PAIR_SCHEMA, decode_pair
from pipelines.making.plan import Plan, Reject, digest_of, make_plan
from pipelines.making.provenance import processor_kind
from pipelines.making.shards import PLAN, write_shard
from pipelines.storage import Location, locate
from tests.pipelines.dataset.makers import NoisePairs, NoiseUnit, noise_plan


@pytest.fixture
def version(tmp_path: Path) -> Location:
    location = locate(str(tmp_path)).child("noise", "v1")
    write_claim(location, noise_plan(7))
    return location


def claim_of(plan: Plan, code: str = "code") -> dict[str, str]:
    return {"plan": plan.digest, "code": code}


def write_claim(location: Location, plan: Plan, code: str = "code") -> None:
    location.child(PLAN).write_bytes(json.dumps(claim_of(plan, code)).encode())


@given(pairs=st.integers(1, 40), size=st.integers(1, 9))
def test_every_pair_stands_in_one_shard(pairs: int, size: int) -> None:
    plan = noise_plan(pairs, pairs_per_shard=size)
    assert plan.num_units == pairs
    assert sorted(u.number for item in plan.items for u in item.units) == list(range(pairs))
    assert all(1 <= len(item.units) <= size for item in plan.items)
    assert all(unit.split == item.split for item in plan.items for unit in item.units)
    assert len({item.name for item in plan.items}) == len({item.digest for item in plan.items})
    assert plan == noise_plan(pairs, pairs_per_shard=size)


def test_names_of_the_design() -> None:
    names = [item.name for item in noise_plan(10, pairs_per_shard=3).items]
    assert names == [
        "split=train/00000.parquet",
        "split=train/00001.parquet",
        "split=train/00002.parquet",
        "split=test/00000.parquet",
    ]


def test_digests_follow_the_settings() -> None:
    one, other = noise_plan(4), noise_plan(4, setting=1)
    assert one.digest != other.digest
    assert one.items[0].digest != other.items[0].digest
    assert one.digest == noise_plan(4, version="v2").digest, "a version's name is no content"


@pytest.mark.parametrize("pairs", [0, 1, 5])
def test_digests_are_those_of_the_whole_text(pairs: int) -> None:
    """They stand in published versions: taken piece by piece they must stay the same."""
    chosen = [unit for item in noise_plan(pairs).items for unit in item.units]
    reject = Reject(pair_id="a", split="train", path="p", reason="r", stage="discover")
    plan = make_plan(
        dataset="d",
        version="v1",
        units=chosen,
        rejects=[reject],
        content_config={"size": [1, 2]},
        pairs_per_shard=3,
    )
    common = {
        "schema": str(PAIR_SCHEMA),
        "dataset": "d",
        "config": {"size": [1, 2]},
        "pairs_per_shard": 3,
    }
    every = [asdict(unit) for unit in chosen]
    assert plan.digest == digest_of({**common, "units": every, "rejects": [asdict(reject)]})
    for item in plan.items:
        mine = [asdict(unit) for unit in item.units]
        assert item.digest == digest_of({**common, "units": mine})


def test_a_pair_id_stands_once() -> None:
    unit = NoiseUnit(pair_id="n", split="train", number=0)
    with pytest.raises(ValueError, match="n appears 2 times"):
        make_plan(
            dataset="d",
            version="v1",
            units=[unit, unit],
            rejects=(),
            content_config={},
            pairs_per_shard=1,
        )


def test_one_shard(version: Location) -> None:
    plan = noise_plan(7)
    result = write_shard(version, plan.items[0], NoisePairs(), claim=claim_of(plan))
    file = version.child(result.name)
    assert (result.rows, result.bytes, result.sha256) == (2, file.size(), file.sha256())
    parquet = pq.ParquetFile(io.BytesIO(file.read_bytes()))
    assert parquet.schema_arrow.equals(PAIR_SCHEMA)
    assert parquet.num_row_groups == 2, "one row a group"
    made = NoisePairs()(plan.items[0].units[1])
    read = decode_pair(parquet.read_row_group(1).to_pylist()[0])
    assert read.pair_id == made.pair_id
    assert (read.left == made.left).all()
    assert (read.right == made.right).all()


def test_same_bytes_wherever_it_is_written(version: Location, tmp_path: Path) -> None:
    plan = noise_plan(7)
    other = locate(str(tmp_path)).child("elsewhere", "v9")
    write_claim(other, plan)
    for item in plan.items:
        one = write_shard(version, item, NoisePairs(bad=(2,)), claim=claim_of(plan))
        two = write_shard(other, item, NoisePairs(bad=(2,)), claim=claim_of(plan))
        assert version.child(one.name).read_bytes() == other.child(two.name).read_bytes()


def test_a_shard_that_matches_is_skipped(version: Location) -> None:
    plan = noise_plan(7)
    producer = NoisePairs(bad=(0,))
    first = write_shard(version, plan.items[0], producer, claim=claim_of(plan))
    path = version.child(first.name).local_path()
    assert path is not None
    before = path.stat()
    again = write_shard(version, plan.items[0], producer, claim=claim_of(plan))
    assert again == replace(first, skipped=True)
    assert [r.pair_id for r in again.rejects] == ["n000"], "its rejects are known without remaking"
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize("damage", ["truncated", "a byte changed", "not parquet", "empty"])
def test_a_damaged_shard_is_made_anew(version: Location, damage: str) -> None:
    plan = noise_plan(7)
    first = write_shard(version, plan.items[0], NoisePairs(), claim=claim_of(plan))
    file = version.child(first.name)
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        data = data[:-100]
    elif damage == "a byte changed":
        data[len(data) // 3] ^= 1
    else:
        data = bytearray(b"" if damage == "empty" else b"nonsense")
    file.write_bytes(bytes(data))
    again = write_shard(version, plan.items[0], NoisePairs(), claim=claim_of(plan))
    assert not again.skipped
    assert (again.sha256, file.sha256()) == (first.sha256, first.sha256)


def test_a_shard_of_other_code_or_of_another_processor_is_made_anew(
    version: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = noise_plan(7)
    write_shard(version, plan.items[0], NoisePairs(), claim=claim_of(plan))
    write_claim(version, plan, "new code")
    newer = claim_of(plan, "new code")
    assert not write_shard(version, plan.items[0], NoisePairs(), claim=newer).skipped
    again = write_shard(version, plan.items[0], NoisePairs(), claim=newer)
    assert (again.skipped, again.processor) == (True, processor_kind())
    # There is one kind of processor here: the other goes by name alone.
    monkeypatch.setattr("tests.pipelines.dataset.makers.processor_kind", lambda: "another")
    moved = write_shard(version, plan.items[0], NoisePairs(), claim=newer)
    assert (moved.skipped, moved.processor) == (False, "another")


def test_a_changed_input_makes_the_shard_anew(version: Location, tmp_path: Path) -> None:
    """Even of the same size and name: what counts is the content."""
    plan = noise_plan(7)
    producer = NoisePairs(folder=locate(str(tmp_path / "in")))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.txt").write_text("one")
    first = write_shard(version, plan.items[0], producer, claim=claim_of(plan))
    (tmp_path / "in" / "1.txt").write_text("two")
    again = write_shard(version, plan.items[0], producer, claim=claim_of(plan))
    assert not again.skipped
    assert again.sha256 != first.sha256


def test_a_reject_that_was_mended_gets_in(version: Location, tmp_path: Path) -> None:
    plan = noise_plan(7)
    folder = locate(str(tmp_path / "in"))
    first = write_shard(
        version, plan.items[0], NoisePairs(bad=(1,), folder=folder), claim=claim_of(plan)
    )
    assert (first.rows, len(first.rejects)) == (1, 1)
    folder.child("1.txt").write_bytes(b"mended")
    again = write_shard(version, plan.items[0], NoisePairs(folder=folder), claim=claim_of(plan))
    assert (again.rows, len(again.rejects)) == (2, 0)


def test_another_plan_does_not_touch_it(version: Location) -> None:
    """A run that lost the version to one with other settings writes nothing more."""
    plan = noise_plan(7, setting=1)
    result = write_shard(version, plan.items[0], NoisePairs(), claim=claim_of(plan))
    assert result.superseded
    assert not version.child(plan.items[0].name).exists()


def test_a_refused_write_comes_back_as_a_result(version: Location) -> None:
    plan = noise_plan(7)
    version.child("split=train").write_bytes(b"a file where a folder should be")
    result = write_shard(version, plan.items[0], NoisePairs(), claim=claim_of(plan))
    assert result.error is not None
