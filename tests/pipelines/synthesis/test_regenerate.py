"""The next version from a stored recipe: made once a stamp, verified before it is latest."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.dataset.catalog import run as datasets
from pipelines.dataset.config import DatasetsConfig
from pipelines.dataset.version import open_version, published_versions, read_latest
from pipelines.errors import UserError
from pipelines.lease import lease
from pipelines.making.publish import VersionResult
from pipelines.storage import Location, locate
from pipelines.synthesis import regenerate, synthesize
from pipelines.synthesis.config import RegenerateConfig, SynthConfig
from pipelines.synthesis.lens_config import BankConfig
from tests.pipelines.synthesis.test_scene_sources import write_synthia

TINY = SynthConfig(pairs=3, size="32x32", max_coc_px=3.0, textures="none", pairs_per_shard=3)


@pytest.fixture
def root(tmp_path: Path) -> Location:
    return locate(f"memory://{tmp_path.name}-{os.getpid()}")


def again(root: Location, **keys: object) -> VersionResult:
    return regenerate.make(RegenerateConfig(root=root.url, **keys))  # type: ignore[arg-type]


def test_versions_follow_each_other(root: Location) -> None:
    first = again(root, synth=TINY)
    second = again(root)
    assert (first.version, second.version) == ("v1", "v2")
    assert second.latest
    assert read_latest(root, "synth") == "v2"
    assert first.digest != second.digest, "fresh pairs each time"
    seeds = {open_version(root, f"synth@{v}").manifest["config"]["seed"] for v in ("v1", "v2")}
    assert len(seeds) == 2
    recipe = json.loads(root.child("synth", "_recipe.json").read_bytes())
    assert (recipe["pairs"], recipe["size"], recipe["seed"]) == (3, "32x32", 0)


def test_the_seed_can_be_kept(root: Location) -> None:
    first = again(root, synth=TINY, new_seed=False)
    assert again(root, new_seed=False).digest == first.digest


def test_a_stamp_is_made_once(root: Location) -> None:
    first = again(root, synth=TINY, stamp="2026-11-23")
    twice = again(root, stamp="2026-11-23")
    assert first.version == "2026-11-23"
    assert not first.existed
    assert twice.existed
    assert twice.digest == first.digest
    assert published_versions(root, "synth") == ["2026-11-23"]


def test_an_old_stamp_does_not_turn_latest_back(root: Location) -> None:
    again(root, synth=TINY, stamp="2026-11-22")
    manifest = root.child("synth", "2026-11-22", "_manifest.json")
    older = json.loads(manifest.read_bytes()) | {"created_utc": "2026-11-22T00:00:00Z"}
    manifest.write_bytes(json.dumps(older).encode())
    again(root, stamp="2026-11-23")
    assert not again(root, stamp="2026-11-22").latest
    assert read_latest(root, "synth") == "2026-11-23"


def test_a_changed_recipe_leaves_made_stamps_alone(root: Location) -> None:
    again(root, synth=TINY, stamp="a")
    other = SynthConfig(pairs=4, size="32x32", textures="none")
    assert again(root, synth=other, stamp="a").rows == {"train": 1, "val": 1, "test": 1}
    assert sum(again(root, stamp="b").rows.values()) == 4


def test_settings_of_latest_stand_in_for_a_recipe(root: Location) -> None:
    synthesize.make(replace(TINY, root=root.url))
    assert again(root).version == "v2"


def test_a_recipe_that_makes_nothing_is_not_kept(root: Location) -> None:
    again(root, synth=TINY)
    with pytest.raises(UserError, match="no RGB-D scenes at /nowhere"):
        again(root, synth=SynthConfig(source="/nowhere"))
    assert again(root).version == "v2"


def test_a_recipe_holds_from_every_working_folder(
    root: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_synthia(tmp_path / "frames", {1: 2, 2: 2})
    np.save(tmp_path / "bank.npy", np.random.default_rng(0).random((1, 2, 2, 5, 5)))
    monkeypatch.chdir(tmp_path)
    keys = {"kernels": ["measured"], "bank": BankConfig(file="./bank.npy"), "source": "frames"}
    again(root, synth=replace(TINY, textures="skimage", **keys))  # type: ignore[arg-type]
    monkeypatch.chdir("/")
    assert again(root).version == "v2"
    source = str(tmp_path / "frames")
    assert open_version(root, "synth@v2").manifest["config"]["source"] == source


def test_a_published_set_is_the_same_again(root: Location, tmp_path: Path) -> None:
    write_synthia(tmp_path, {1: 2})
    preset = SynthConfig.of_preset("rdpd", source=str(tmp_path), pairs=2)
    first = again(root, dataset="rdpd", synth=preset)
    second = again(root, dataset="rdpd")
    assert (second.version, second.digest) == ("v2", first.digest)


def test_without_recipe_it_says_what_to_give(root: Location) -> None:
    with pytest.raises(UserError, match=r"no recipe; give the settings once.*synth\.pairs"):
        again(root)


def test_what_does_not_verify_is_not_latest(
    root: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard goes bad between publication and verification."""
    again(root, synth=TINY)
    make = synthesize.make

    def make_and_damage(config: SynthConfig) -> VersionResult:
        result = make(config)
        shard = open_version(root, f"synth@{result.version}").shards("train")[0].location
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
        return result

    monkeypatch.setattr(synthesize, "make", make_and_damage)
    with pytest.raises(UserError, match=r"does not verify.*'latest' was left"):
        again(root)
    assert read_latest(root, "synth") == "v1"


def test_one_at_a_time(root: Location) -> None:
    with (
        lease(root.child("_locks", "regenerate-synth"), work="synth"),
        pytest.raises(UserError, match=f"by process {os.getpid()} on {socket.gethostname()}"),
    ):
        again(root, synth=TINY)
    assert again(root, synth=TINY).version == "v1", "given back at the end of the block"


def test_list_and_show(root: Location) -> None:
    assert "no datasets" in datasets(DatasetsConfig(root=root.url)).describe()
    again(root, synth=TINY)
    again(root)
    listed = datasets(DatasetsConfig(root=root.url))
    assert [(v["version"], v["latest"]) for v in listed.versions] == [("v1", False), ("v2", True)]
    assert "synth@v2" in listed.describe()
    shown = datasets(DatasetsConfig(root=root.url, name="synth@v1", verify=True)).describe()
    assert "every checksum agrees" in shown
    assert "max_coc_px" in shown
    with pytest.raises(UserError, match="did you mean 'synth'"):
        datasets(DatasetsConfig(root=root.url, name="synt"))
    open_version(root, "synth@v1").shards("train")[0].location.write_bytes(b"")
    with pytest.raises(UserError, match="0 bytes, not"):
        datasets(DatasetsConfig(root=root.url, verify=True))
