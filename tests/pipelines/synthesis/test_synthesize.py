"""The synth step: pairs follow from (seed, pair_id) alone, splits share no scene or photograph."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.dataset.images import encode_image
from pipelines.dataset.record import SPLITS, Pair
from pipelines.dataset.version import DatasetVersion, open_version
from pipelines.errors import UserError
from pipelines.making.publish import REJECTED
from pipelines.making.shards import BadInput
from pipelines.storage import locate
from pipelines.synthesis.config import SynthConfig
from pipelines.synthesis.scene_sources import Picture, SceneUnit
from pipelines.synthesis.scene_sources.made import MadeReader
from pipelines.synthesis.synthesize import make
from pipelines.synthesis.synthetic_pairs import SyntheticPairs
from pipelines.synthesis.textures import TextureShelf

SMALL: dict[str, Any] = {
    "size": "48x64",
    "pairs": 6,
    "max_coc_px": 4.0,
    "pairs_per_shard": 2,
    "val_fraction": 0.2,
    "test_fraction": 0.2,
}


def synth(root: str, **keys: Any) -> DatasetVersion:
    result = make(SynthConfig(root=root, **(SMALL | keys)))
    return open_version(locate(root), f"{result.dataset}@{result.version}")


def pairs_of(version: DatasetVersion) -> list[Pair]:
    return [version.read_pair(s, n) for s in SPLITS for n in range(version.rows(s))]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}-{os.getpid()}"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (96, 72))
        (folder / f"{number}.png").write_bytes(encode_image(picture))
    return folder


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / "rgbd"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        picture = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        depth = np.full((60, 80), 4000, np.uint16)
        depth[20:40, 20:50] = 1000 + 100 * number
        cv2.imwrite(str(folder / f"{number:03d}_image.png"), picture)
        cv2.imwrite(str(folder / f"{number:03d}_depth.png"), depth)
    return folder


def test_procedural_pairs(root: str) -> None:
    version = synth(root, textures="none", bit_depth=16)
    pairs = pairs_of(version)
    assert len({pair.pair_id for pair in pairs}) == 6
    for pair in pairs:
        assert pair.left.shape == (48, 64, 3)
        assert pair.left.dtype == np.uint16
        assert pair.target is not None
        assert pair.coc is not None
        assert 0 < np.abs(pair.coc).max() <= 4.0
        assert not np.array_equal(pair.left, pair.right)
        assert pair.provenance.kernel_family in ("butterworth", "integral")
        assert pair.provenance.parameters["bit_depth"] == 16
        assert pair.provenance.seed == 0
    assert {pair.provenance.kernel_family for pair in pairs} == {"butterworth", "integral"}


@pytest.mark.usefixtures("ray_cluster")
def test_same_pairs_on_ray_and_off_it_and_cut_otherwise(root: str, tmp_path: Path) -> None:
    alone = synth(root, textures="none")
    on_ray = synth(str(tmp_path), textures="none")
    assert alone.digest == on_ray.digest
    cut = synth(root, textures="none", dataset="cut", pairs_per_shard=5)
    for one, other in zip(pairs_of(alone), pairs_of(cut), strict=True):
        assert one.pair_id == other.pair_id
        assert np.array_equal(one.left, other.left)


def test_places_follow_from_seed_and_id(root: str, photographs: Path) -> None:
    keys = {"source": "places", "textures": str(photographs), "pairs_per_shard": 1}
    few = {p.pair_id: p for p in pairs_of(synth(root, pairs=3, **keys))}
    more = {p.pair_id: p for p in pairs_of(synth(root, pairs=4, dataset="more", **keys))}
    for pair_id, pair in few.items():
        assert pair.coc is not None
        assert pair.target is not None
        assert pair.target.shape == (48, 64, 3)
        assert pair.provenance.sources
        assert all(source.role == "texture" for source in pair.provenance.sources)
        if pair.split == more[pair_id].split:  # and so the same photographs
            assert np.array_equal(pair.left, more[pair_id].left)


def test_scenes_are_mirrored_before_the_lens_and_recoloured(root: str, scenes: Path) -> None:
    """The left view of a mirrored scene is the right view of the scene, mirrored."""
    keys = {"source": str(scenes), "size": None, "pairs": 5, "shot_noise": 0.0, "read_noise": 0.0}
    made = {
        name: pairs_of(synth(root, dataset=name, **(keys | more)))
        for name, more in {
            "plain": {"mirror": 0.0, "recolour": 0.0},
            "mirrored": {"mirror": 1.0, "recolour": 0.0},
            "recoloured": {"mirror": 0.0, "recolour": 1.0},
            "half": {"mirror": 0.5, "recolour": 0.0, "pairs": 40},
        }.items()
    }
    for plain, turned, other in zip(
        made["plain"], made["mirrored"], made["recoloured"], strict=True
    ):
        assert plain.target is not None
        assert turned.target is not None
        assert other.target is not None
        assert plain.coc is not None
        picture = cv2.imread(str(scenes / f"{plain.scene_id}_image.png"))[..., ::-1]
        np.testing.assert_array_equal(plain.target, picture)
        np.testing.assert_array_equal(turned.target, picture[:, ::-1])
        np.testing.assert_array_equal(turned.coc, plain.coc[:, ::-1])
        difference = turned.left.astype(int) - plain.right[:, ::-1]
        assert np.abs(difference).mean() < 0.5
        assert np.abs(turned.left.astype(int) - plain.left[:, ::-1]).mean() > 2
        np.testing.assert_array_equal(other.coc, plain.coc)
        assert np.abs(other.target.astype(int) - plain.target).mean() > 1
    share = np.mean(
        [
            np.array_equal(
                pair.target, cv2.imread(str(scenes / f"{pair.scene_id}_image.png"))[:, ::-1, ::-1]
            )
            for pair in made["half"]
        ]
    )
    assert 0.25 < share < 0.75


def test_a_pair_follows_from_seed_and_id(root: str) -> None:
    few = {p.pair_id: p for p in pairs_of(synth(root, textures="none", pairs=3))}
    more = {p.pair_id: p for p in pairs_of(synth(root, textures="none", dataset="more"))}
    other = {p.pair_id: p for p in pairs_of(synth(root, textures="none", dataset="seed", seed=1))}
    for pair_id, pair in few.items():
        assert np.array_equal(pair.left, more[pair_id].left)
        assert not np.array_equal(pair.left, other[pair_id].left)


def test_photographs_keep_to_their_split(root: str, photographs: Path) -> None:
    used: dict[str, set[str]] = {}
    for pair in pairs_of(synth(root, textures=str(photographs), pairs=10)):
        for source in pair.provenance.sources:
            assert source.role == "texture"
            assert source.sha256 == locate(str(photographs)).child(source.file).sha256()
            used.setdefault(source.file, set()).add(pair.split)
    assert set(used) == {f"{n}.png" for n in range(6)}
    assert all(len(splits) == 1 for splits in used.values())
    assert {split for splits in used.values() for split in splits} == set(SPLITS)


def test_the_photographs_of_scikit_image(root: str) -> None:
    for pair in pairs_of(synth(root, pairs=3)):
        assert all(s.file.startswith("skimage:") for s in pair.provenance.sources)
        assert pair.provenance.sources


def test_a_damaged_photograph_is_named(root: str, photographs: Path) -> None:
    for number in range(6):
        file = photographs / f"{number}.png"
        file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"6 of 6 .*truncated PNG.*\.png"):
        synth(root, textures=str(photographs))


def test_a_photograph_of_one_column_is_named(root: str, photographs: Path) -> None:
    thin = encode_image(np.zeros((9, 1, 3), np.uint8))
    for number in range(6):
        (photographs / f"{number}.png").write_bytes(thin)
    with pytest.raises(UserError, match=r"6 of 6 .*at least 2 x 2 pixels.*\.png"):
        synth(root, textures=str(photographs))


def test_an_error_while_a_scene_is_made_is_a_reject(photographs: Path) -> None:
    config = SynthConfig(**SMALL, textures=str(photographs), max_rejected=1.0)
    producer = SyntheticPairs(
        config=config,
        reader=MadeReader(
            kind="procedural",
            seed=0,
            size=(48, 64),
            shelf=TextureShelf(folder=locate(str(photographs))),
        ),
    )
    (photographs / "5.png").unlink()
    (photographs / "5.png").mkdir()
    unit = SceneUnit(
        pair_id="p",
        scene_id="p",
        split="train",
        picture=Picture(picture_id="p", scene_id="p"),
        textures=("4.png", "5.png"),
    )
    with pytest.raises(BadInput, match="cannot be read") as caught:
        producer(unit)
    assert caught.value.path == "5.png"
    assert caught.value.sources == producer.sources(unit)


def test_the_motorcycle_is_found_again(root: str) -> None:
    synth(root, source="motorcycle", pairs=2)
    assert make(SynthConfig(root=root, **(SMALL | {"source": "motorcycle", "pairs": 2}))).existed


def test_folder_of_scenes(root: str, scenes: Path) -> None:
    version = synth(root, source=str(scenes), pairs=10)
    pairs = pairs_of(version)
    split_of: dict[str, set[str]] = {}
    for pair in pairs:
        split_of.setdefault(pair.scene_id, set()).add(pair.split)
        assert [s.role for s in pair.provenance.sources] == ["image", "depth"]
        assert pair.left.shape == (48, 64, 3)
    assert len(split_of) == 5
    assert all(len(splits) == 1 for splits in split_of.values())
    cameras = {str(pair.provenance.parameters["camera"]) for pair in pairs}
    assert len(cameras) == 10, "pairs of one scene have cameras of their own"


def test_frames_of_one_folder_are_one_scene(root: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rooms = ("attic", "hall", "porch", "yard")
    for room in rooms:
        for number in range(3):  # two cameras in each room
            folder = tmp_path / room / f"cam{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            name = str(folder / f"{number}")
            cv2.imwrite(f"{name}_image.png", rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
            cv2.imwrite(f"{name}_depth.png", np.full((60, 80), 2000, np.uint16))
    places = {(p.scene_id, p.split) for p in pairs_of(synth(root, source=str(tmp_path), pairs=12))}
    assert len(places) == 4, "a room lies in two splits"
    assert {scene for scene, _ in places} == {f"{room}/" for room in rooms}
    keys = {"source": str(tmp_path), "pairs": 12, "dataset": "single"}
    single = pairs_of(synth(root, scene_of="picture", **keys))
    assert {pair.scene_id for pair in single} == {
        f"{room}/cam{n % 2}/{n}" for room in rooms for n in range(3)
    }
    one_folder = {"source": str(tmp_path / "attic" / "cam0"), "pairs": 2, "dataset": "attic"}
    assert len({pair.scene_id for pair in pairs_of(synth(root, **one_folder))}) == 2
    with pytest.raises(UserError, match="scene_of=picture would change nothing"):
        synth(root, scene_of="picture", version="v2", **one_folder)


def test_folder_at_its_own_size(root: str, scenes: Path) -> None:
    version = synth(root, source=str(scenes), pairs=2, size=None)
    assert version.read_pair("train", 0).left.shape == (60, 80, 3)


def test_depth_has_the_unit_that_was_declared(root: str, scenes: Path) -> None:
    """The same steps taken as 0.2 mm each: the scene, and so the focus, five times as near."""
    focus_m = []
    for unit in ("mm", "0.001", "0.0002"):
        version = synth(root, source=str(scenes), pairs=1, depth_unit=unit, dataset=f"in-{unit}")
        camera = version.read_pair("train", 0).provenance.parameters["camera"]
        focus_m.append(camera["focus_distance_m"])
    assert focus_m[1] == focus_m[0]
    assert focus_m[2] == pytest.approx(0.2 * focus_m[0], rel=1e-5)


def test_bad_scenes_are_named(root: str, scenes: Path) -> None:
    (scenes / "001_image.png").write_bytes((scenes / "001_image.png").read_bytes()[:300])
    cv2.imwrite(str(scenes / "002_depth.png"), np.zeros((60, 80), np.uint16))
    cv2.imwrite(str(scenes / "003_depth.png"), np.full((60, 70), 1000, np.uint16))
    (scenes / "004_depth.png").unlink()
    nan = np.full((60, 80), np.nan, np.float32)
    (scenes / "005_image.png").write_bytes((scenes / "000_image.png").read_bytes())
    np.save(scenes / "005_depth.npy", nan)
    version = synth(root, source=str(scenes), pairs=5, max_rejected=1.0)
    with version.location.child(REJECTED).open() as file:
        found = {row["path"]: row for row in pq.read_table(file).to_pylist()}
    depths = {"002_depth.png", "003_depth.png", "005_depth.npy"}
    assert set(found) == {"001_image.png", "004_image.png"} | depths
    assert found["004_image.png"]["stage"] == "discover"
    assert all(row["reason"] for row in found.values())
    assert [pair.scene_id for pair in pairs_of(version)] == ["000"]


def test_scene_smaller_than_the_size(root: str, scenes: Path) -> None:
    with pytest.raises(UserError, match="the scene is 60x80, smaller than size=64x64"):
        synth(root, source=str(scenes), size="64x64")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"source": "/nowhere/at/all"}, "there are no RGB-D scenes at /nowhere/at/all"),
        ({"textures": "/nowhere/at/all"}, "there is nothing at /nowhere/at/all"),
    ],
)
def test_wrong_paths(root: str, keys: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        synth(root, **keys)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"size": "48"}, "size must be height x width"),
        ({"size": "4x64"}, "size must be from 16"),
        ({"size": None}, "size: procedural"),
        ({"size": None, "source": "places"}, "size: places"),
        ({"mirror": 1.5}, "mirror must be from 0 to 1"),
        ({"recolour": -0.1}, "recolour must be from 0 to 1"),
        ({"mirror": 1.0}, "mirror would change nothing"),
        ({"bit_depth": 12}, "bit_depth must be 8 or 16, got 12"),
        ({"kernels": ["gauss"]}, "got 'gauss'"),
        ({"kernels": []}, "kernels"),
        ({"val_fraction": 0.7, "test_fraction": 0.7}, "val_fraction and test_fraction"),
        ({"max_coc_px": -1.0}, "max_coc_px"),
        ({"depth_unit": "feet"}, "depth_unit"),
        ({"max_rejected": 2.0}, "max_rejected"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 1 << 63}, r"seed must be at least 0 and below 2\*\*63"),
    ],
)
def test_impossible_settings(keys: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        SynthConfig(**keys)
