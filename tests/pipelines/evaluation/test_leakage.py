"""What a model has seen is found by scene and by file, through every training that led to it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import k3dn
from pipelines.dataset.record import Pair, Provenance, Source
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.leakage import Leakage, find_leakage
from pipelines.registry.loading import settle
from pipelines.registry.registry import register
from tests.pipelines.content.scenes import clean, jpeg
from tests.pipelines.training.versions import make_pair, write_version

OPTIONS = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}


@pytest.fixture
def root(tmp_path: Path) -> str:
    """``mine`` with three training pairs and two of the test, one of a training scene."""
    root = str(tmp_path / "data")
    pairs = [make_pair("mine", "train", i) for i in range(3)]
    pairs += [make_pair("mine", "test", i) for i in range(2)]
    pairs[3] = dataclasses.replace(pairs[3], scene_id="train-01")
    write_version(root, "mine", "v1", pairs)
    return root


def made_of(number: str, role: str) -> Provenance:
    return Provenance(sources=(Source(role=role, file=f"{number}.png", sha256=number * 64),))


def packaged(number: str, role: str) -> Provenance:
    """Of a picture that comes with a package: a name and no checksum."""
    return Provenance(sources=(Source(role=role, file=f"skimage:{number}", sha256=""),))


def write_run(root: str, name: str, datasets: list[str], start: str | None = None) -> str:
    """A run's weights with its plan; returns the path of the weights."""
    folder = Path(root, "_runs", name)
    folder.mkdir(parents=True)
    path = folder / "weights.safetensors"
    network = k3dn.build_model("nano", OPTIONS)
    k3dn.save_weights(path, network, name="nano", options=OPTIONS)
    sources = [dict(zip(("name", "version"), d.split("@"), strict=True)) for d in datasets]
    plan = {"config": {"root": root, "start_from": start}, "datasets": sources}
    (folder / "plan.json").write_text(json.dumps(plan))
    return str(path)


def leakage_of(root: str, model: str, *datasets: str, split: str = "test") -> Leakage:
    config = EvaluateConfig(root=root, model=[model], datasets=list(datasets), split=split)
    return find_leakage(config, settle(model, "unused"), "unused")


def test_a_training_scene_among_the_test_pairs_is_found(root: str) -> None:
    weights = write_run(root, "run", ["mine@v1"])
    found = leakage_of(root, weights, "mine")
    assert found == Leakage({"mine@v1": "the scenes of 1 of its 2 pairs"}, "")
    seen = leakage_of(root, weights, "mine", split="train").seen
    assert seen == {"mine@v1": "the scenes of 3 of its 3 pairs"}


def test_one_name_in_another_dataset_is_another_scene(root: str) -> None:
    write_version(root, "other", "v1", [make_pair("other", "test", 1)])
    pair = dataclasses.replace(make_pair("third", "test", 0), scene_id="train-01")
    write_version(root, "third", "v1", [pair])
    weights = write_run(root, "run", ["mine@v1"])
    assert leakage_of(root, weights, "other", "third") == Leakage({}, "")


@pytest.mark.parametrize(
    ("role", "seen"),
    [("image", True), ("target", True), ("kernels", False), ("texture", False)],
)
@pytest.mark.parametrize("made_of", [made_of, packaged])
def test_a_file_seen_under_another_name_is_found(
    root: str, role: str, seen: bool, made_of: Callable[[str, str], Provenance]
) -> None:
    """Of two test pairs the one that was made of the file that the training pair was made of."""
    train = dataclasses.replace(make_pair("one", "train", 0), provenance=made_of("a", role))
    write_version(root, "one", "v1", [train])
    test = [
        dataclasses.replace(make_pair("two", "test", i), provenance=made_of(name, role))
        for i, name in enumerate("ab")
    ]
    write_version(root, "two", "v1", test)
    weights = write_run(root, "run", ["one@v1"])
    expected = {"two@v1": "the scenes of 1 of its 2 pairs"} if seen else {}
    assert leakage_of(root, weights, "two").seen == expected


def test_what_the_weights_began_with_counts(root: str) -> None:
    write_version(root, "later", "v1", [make_pair("later", "train", 8)])
    first = write_run(root, "first", ["mine@v1"])
    second = write_run(root, "second", ["later@v1"], start=first)
    assert leakage_of(root, second, "mine").seen == {"mine@v1": "the scenes of 1 of its 2 pairs"}
    third = write_run(root, "third", ["later@v1"], start="box:nano")
    found = leakage_of(root, third, "mine")
    assert found.seen == {} and "box:nano was trained on are not recorded" in found.unknown


def test_weights_that_were_written_anew_are_not_those_it_began_with(root: str) -> None:
    first = write_run(root, "first", [])
    second = write_run(root, "second", [], start=first)
    began = Path(second).with_name("start.safetensors")
    began.write_bytes(Path(first).read_bytes())
    assert leakage_of(root, second, "mine").unknown == ""
    began.write_bytes(b"others")
    unknown = leakage_of(root, second, "mine").unknown
    assert "weights.safetensors, with which its training began" in unknown
    assert root not in unknown  # it goes into MLflow


def test_an_alias_moved_since_hides_nothing(root: str, tracking_uri: str) -> None:
    """It means the version whose weights the training took, not the one that it points to now."""
    torch.manual_seed(0)
    first, second = (write_run(root, name, []) for name in ("first", "second"))
    for number, weights in enumerate((first, second), 1):
        register(
            weights, name="moved", run_id=None, tracking_uri=tracking_uri, model="nano",
            options=OPTIONS, tags={"k3dn.datasets": "mine@v1"} if number == 1 else {},
        )  # fmt: skip
    third = write_run(root, "third", [], start="models:/moved@challenger")
    Path(third).with_name("start.safetensors").write_bytes(Path(first).read_bytes())
    config = EvaluateConfig(root=root, model=[third], datasets=["mine"])
    found = find_leakage(config, settle(third, tracking_uri), tracking_uri)
    assert found.seen == {"mine@v1": "the scenes of 1 of its 2 pairs"}


def test_of_a_long_chain_of_trainings_the_rest_is_not_known(root: str) -> None:
    start = None
    for number in range(10):
        start = write_run(root, f"run-{number}", [], start=start)
    assert start is not None
    assert "has seen is not known" in leakage_of(root, start, "mine").unknown


def test_what_nobody_recorded_is_said(root: str, tmp_path: Path) -> None:
    weights = write_run(root, "run", ["gone@v1"])
    assert (
        "gone@v1, on which it was trained, is not there"
        in leakage_of(root, weights, "mine").unknown
    )
    assert settle(weights, "unused").label == "run"  # all weights of runs have one file name
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(Path(weights).read_bytes())
    assert (
        "alone.safetensors was trained on is not recorded"
        in leakage_of(root, str(alone), "mine").unknown
    )


def a_pair(dataset: str, split: str, number: int, target: np.ndarray) -> Pair:
    name = f"{split}-{number}"
    return Pair(
        pair_id=name, scene_id=f"{dataset}-{name}", dataset=dataset, split=split,
        left=target, right=target, target=target,
    )  # fmt: skip


def test_copies_of_training_pictures_are_found(root: str) -> None:
    """Saved anew, cut and resized, under another name in another set; others are not."""
    originals = [clean(seed).target for seed in range(6)]
    train = [a_pair("photos", "train", i, picture) for i, picture in enumerate(originals)]
    write_version(root, "photos", "v1", train)
    cut = cv2.resize(jpeg(originals[2], 60)[8:-5, 3:-9], None, fx=0.8, fy=0.8, interpolation=3)
    wider = cv2.copyMakeBorder(originals[4], 6, 6, 8, 8, cv2.BORDER_REFLECT_101)
    others = [clean(seed).target for seed in range(20, 24)]
    test = [a_pair("held", "test", i, p) for i, p in enumerate([cut, *others, wider])]
    write_version(root, "held", "v1", test)
    write_version(
        root, "clear", "v1", [a_pair("clear", "test", i, p) for i, p in enumerate(others)]
    )
    weights = write_run(root, "run", ["photos@v1"])
    dry = EvaluateConfig(root=root, model=[weights], datasets=["held", "clear"])
    expected = Leakage({"held@v1": "copies of 2 of its 6 pairs"}, "")
    assert find_leakage(dry, settle(weights, "unused"), "unused", keep=False) == expected
    assert not Path(root, "_evaluations").exists()
    for _ in range(2):  # looked at, and then as it was kept
        assert leakage_of(root, weights, "held", "clear") == expected
    assert len(list(Path(root, "_evaluations", "traces").iterdir())) == 3
    test[0] = dataclasses.replace(test[0], scene_id=train[0].scene_id, dataset="photos")
    write_version(
        root, "photos", "v2", [*train, test[0], dataclasses.replace(test[5], pair_id="x")]
    )
    found = leakage_of(root, weights, "photos")
    assert found.seen == {"photos@v2": "the scenes of 1 and copies of 1 of its 2 pairs"}
