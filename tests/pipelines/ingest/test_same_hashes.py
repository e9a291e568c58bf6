"""Scenes that stand in two splits: threads and a cluster find what a plain loop over all finds."""

import itertools
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import pytest

from pipelines import ray_tasks
from pipelines.content.likeness import likeness
from pipelines.content.target import Scene
from pipelines.ingest import same_hashes
from pipelines.ingest.compare_pairs import Shown, in_two_splits

WAYS = {
    "": (False, False),
    "mirrored": (True, False),
    "upside down": (False, True),
    "turned by half": (True, True),
}


def mirrored_bits(value: int, across: bool, down: bool) -> int:
    """The signs of an 8 x 8 cosine transform, the first in the highest bit, of a mirrored picture:
    frequencies that are odd along the axis change theirs."""
    for row, column in itertools.product(range(8), range(8)):
        if (across and column % 2) != (down and row % 2):
            value ^= 1 << (63 - 8 * row - column)
    return value


def made_up_pairs(count: int = 240) -> list[Shown]:
    """Pairs of a few scenes, mirrored or not, whose hashes differ by up to 14 bits, with
    signatures, with those of another scene, or with none."""
    rng = np.random.default_rng(4)
    scenes = [
        (int(rng.integers(1 << 63)), rng.standard_normal((24, 24)).astype(np.float32))
        for _ in range(40)
    ]
    pairs = []
    for number in range(count):
        value, signature = scenes[number % len(scenes)]
        across, down = WAYS[rng.choice(list(WAYS))]
        value = mirrored_bits(value, across, down)
        for bit in rng.choice(64, rng.integers(8), replace=False):
            value ^= 1 << int(bit)
        turned = signature[:: -1 if down else 1, :: -1 if across else 1]
        noise = rng.standard_normal(turned.shape) * rng.choice([0.0, 0.6, 3.0])
        target = (turned + noise).astype(np.float32)
        scene = Scene(views=target, target=target) if rng.random() < 0.7 else None
        split = str(rng.choice(["train", "train", "val", "test"]))
        pairs.append(Shown(f"p{number}", split, number, value, scene))
    return pairs


def by_a_plain_loop(pairs: Sequence[Shown]) -> list[tuple[str, str, str, bool]]:
    found, told = [], set()
    for earlier, later in (("train", "test"), ("train", "val"), ("val", "test")):
        for (how, (across, down)), one, other in itertools.product(WAYS.items(), pairs, pairs):
            if (one.split, other.split) != (earlier, later) or one.pair_id in told:
                continue
            apart = (mirrored_bits(one.hash, across, down) ^ other.hash).bit_count()
            like = None
            if one.scene is not None and other.scene is not None:
                assert one.scene.target is not None and other.scene.target is not None
                turned = one.scene.target[:: -1 if down else 1, :: -1 if across else 1]
                like = likeness(np.ascontiguousarray(turned), other.scene.target)
            if apart <= 6 if like is None else apart <= 12 and like > 0.75:
                told.add(one.pair_id)
                found.append((one.pair_id, other.pair_id, how, like is not None and like > 0.9))
    return found


def findings(pairs: Sequence[Shown], **keys: Any) -> list[tuple[str, str, str, bool]]:
    return [(one.pair_id, two.pair_id, *rest) for one, two, *rest in in_two_splits(pairs, **keys)]


@pytest.fixture(scope="module")
def expected() -> list[tuple[str, str, str, bool]]:
    found = by_a_plain_loop(made_up_pairs())
    assert {how for _, _, how, _ in found} == set(WAYS) and {sure for *_, sure in found} == {0, 1}
    return found


@pytest.mark.parametrize("at_once", [True, False])
def test_a_plain_loop_finds_the_same(
    expected: list[tuple[str, str, str, bool]], at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.setattr(same_hashes, "_SOON", 0)
        monkeypatch.setattr(same_hashes, "_COMPARED_BY_A_TASK", 4 * 60 * 7)
    assert findings(made_up_pairs()) == expected


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_finds_the_same(
    expected: list[tuple[str, str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[Any] = []

    def counted(items: Sequence[Any], work: Callable[[Any], Any]) -> Generator[Any, None, None]:
        tasks.extend(items)
        return ray_tasks.each_on_ray(items, work)

    monkeypatch.setattr(same_hashes, "each_on_ray", counted)
    monkeypatch.setattr(same_hashes, "_SOON", 0)
    monkeypatch.setattr(same_hashes, "_COMPARED_BY_A_TASK", 4 * 60 * 40)
    assert findings(made_up_pairs(), ray_address="auto") == expected
    assert len(tasks) > 3
