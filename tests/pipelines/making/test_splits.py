"""Splits and plans of scenes: pure functions of names and settings."""

from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.making.splits import assign_splits
from pipelines.synthesis.config import SynthConfig
from pipelines.synthesis.preset_values import published_preset
from pipelines.synthesis.published_pairs import plan_preset
from pipelines.synthesis.scene_sources import Picture, Scenes, SceneUnit
from pipelines.synthesis.scenes import plan_scenes

names = st.lists(st.text("abc123", min_size=1, max_size=6), unique=True, max_size=40)
fractions = st.tuples(st.floats(0, 0.5).filter(lambda f: f == 0 or f > 1e-6), st.floats(0.01, 0.5))


@given(names=names, fractions=fractions)
def test_every_name_has_one_split(names: list[str], fractions: tuple[float, float]) -> None:
    val, test = fractions
    splits = assign_splits(names, val_fraction=val, test_fraction=test)
    assert set(splits) == set(names)
    assert splits == assign_splits(names[::-1], val_fraction=val, test_fraction=test)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    wanted = {split for split, share in shares.items() if share > 1e-6}
    if len(names) >= 10:
        assert wanted <= set(splits.values())


def test_shares_come_out() -> None:
    splits = assign_splits([str(n) for n in range(4000)], val_fraction=0.1, test_fraction=0.2)
    counts = {split: list(splits.values()).count(split) for split in ("train", "val", "test")}
    assert abs(counts["val"] - 400) < 80
    assert abs(counts["test"] - 800) < 110


def test_adding_names_moves_none() -> None:
    old = assign_splits([str(n) for n in range(100)], val_fraction=0.1, test_fraction=0.1)
    new = assign_splits([str(n) for n in range(150)], val_fraction=0.1, test_fraction=0.1)
    assert {name: new[name] for name in old} == old


def test_one_scene_goes_to_training_or_to_the_test() -> None:
    assert assign_splits(["only"], val_fraction=0.1, test_fraction=0.1) == {"only": "train"}
    assert assign_splits(["only"], val_fraction=0.0, test_fraction=1.0) == {"only": "test"}


class NoReader:
    """What is planned is not read."""

    def read(self, unit: SceneUnit) -> NoReturn:
        raise NotImplementedError

    def sources(self, unit: SceneUnit) -> NoReturn:
        raise NotImplementedError


def pictures(
    scene_of: dict[str, str], kind: str = "folder", textures: Sequence[str] = ()
) -> Scenes:
    """A source that holds pictures, by their name and that of their scene."""
    return Scenes(
        kind=kind,
        reader=NoReader(),
        pictures=[Picture(picture_id=name, scene_id=scene) for name, scene in scene_of.items()],
        textures=textures,
    )


def procedural(pairs: int, textures: Sequence[str]) -> Scenes:
    names = [f"scene-{n:06d}" for n in range(pairs)]
    return pictures(dict(zip(names, names, strict=True)), "procedural", textures)


@given(
    rooms=st.lists(st.integers(0, 7), min_size=1, max_size=40),
    pairs=st.integers(1, 100),
)
def test_pictures_of_one_room_keep_to_one_split(rooms: list[int], pairs: int) -> None:
    scenes = pictures({f"nyu-{n:04d}": f"room-{room}" for n, room in enumerate(rooms)})
    units = plan_scenes(SynthConfig(source="nyu.mat", pairs=pairs), scenes)
    assert len({unit.pair_id for unit in units}) == pairs
    assert len({u.picture.picture_id for u in units}) == min(pairs, len(rooms))
    split_of: dict[str, set[str]] = {}
    for unit in units:
        assert unit.scene_id == unit.picture.scene_id
        split_of.setdefault(unit.scene_id, set()).add(unit.split)
    assert all(len(splits) == 1 for splits in split_of.values())


@given(pairs=st.integers(1, 60), seed=st.integers(0, 3), textures=st.integers(0, 20))
def test_scenes_and_photographs_keep_to_one_split(pairs: int, seed: int, textures: int) -> None:
    config = SynthConfig(pairs=pairs, seed=seed)
    photographs = [f"photo{n}" for n in range(textures)]
    units = plan_scenes(config, procedural(pairs, photographs))
    assert len({unit.pair_id for unit in units}) == pairs
    split_of: dict[str, set[str]] = {}
    for unit in units:
        for name in (unit.scene_id, *unit.textures):
            split_of.setdefault(name, set()).add(unit.split)
    assert all(len(splits) == 1 for splits in split_of.values())


def test_what_was_held_out_once_is_held_out_from_other_versions() -> None:
    photographs = [f"photo{n}" for n in range(30)]
    used: dict[str, set[str]] = {}
    for seed, pairs in ((0, 40), (1, 80), (9, 200)):
        config = SynthConfig(seed=seed, pairs=pairs)
        for unit in plan_scenes(config, procedural(pairs, photographs)):
            for name in unit.textures:
                used.setdefault(name, set()).add(unit.split)
    assert len(used) > 20
    assert all(len(splits) == 1 for splits in used.values())


@pytest.mark.parametrize("pairs", [8, 20, 64, 150])
def test_pairs_of_a_folder_go_round_its_scenes(pairs: int) -> None:
    scenes = pictures({f"{n:03d}": f"{n:03d}" for n in range(64)})
    units = plan_scenes(SynthConfig(source="folder", pairs=pairs), scenes)
    assert len({unit.pair_id for unit in units}) == pairs
    counts = [
        sum(unit.scene_id == scene for unit in units) for scene in {u.scene_id for u in units}
    ]
    assert len(counts) == min(pairs, 64)
    assert max(counts) - min(counts) <= 1
    # a choice of few scenes must not be a choice of the held-out ones
    assert sum(unit.split == "train" for unit in units) >= pairs // 2
    assert {unit.split for unit in units} == {"train", "val", "test"}


@pytest.mark.parametrize("rooms", [("hall", "hall"), ("hall", "attic")])
def test_rooms_that_a_published_split_cuts_through_are_named(
    rooms: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """NYU's pictures 1000 and 1001, between which DDD-syn's training ends."""
    preset = published_preset("ddd-syn")
    assert preset is not None
    found = [
        Picture(picture_id=str(number), scene_id=room, number=number)
        for number, room in zip((1000, 1001), rooms, strict=True)
    ]
    units = plan_preset(preset, Scenes(kind="nyu", reader=NoReader(), pictures=found), 7)
    assert sorted(unit.split for unit in units) == ["test"] * 2 + ["train"] * 5
    said = capsys.readouterr().err
    assert ("cut through 1 of the source's scenes, e.g. hall" in said) == (rooms[0] == rooms[1])


def test_photographs_are_drawn_evenly_and_none_twice() -> None:
    photographs = [f"p{n:02d}" for n in range(30)]
    units = plan_scenes(SynthConfig(pairs=600), procedural(600, photographs))
    assert all(len(set(u.textures)) == len(u.textures) <= 6 for u in units)
    train = Counter(name for u in units if u.split == "train" for name in u.textures)
    mean = sum(train.values()) / len(train)
    assert all(0.6 * mean < count < 1.4 * mean for count in train.values())


def test_plan_follows_from_its_settings_alone() -> None:
    photographs = [f"p{n}" for n in range(9)]
    scenes = procedural(10, photographs)
    one = plan_scenes(SynthConfig(pairs=10), scenes)
    assert one == plan_scenes(SynthConfig(pairs=10, root="x"), scenes)
    other = plan_scenes(SynthConfig(pairs=10, seed=1), scenes)
    assert [u.textures for u in one] != [u.textures for u in other]
