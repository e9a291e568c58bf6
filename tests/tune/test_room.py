"""Placement groups whose maker died are given back; those of others are left alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import ray
from ray.util import placement_group, placement_group_table, remove_placement_group

from pipelines.training.config import TrainConfig
from pipelines.training.room import Layout, layout_of
from tune.room import held_groups, remove_orphans, wait_for_room
from tune.search import trials_at_a_time


@ray.remote(num_cpus=0)
class Maker:
    """Makes a placement group, as the controller of a training does."""

    def make(self) -> str:
        group = placement_group([{"CPU": 0.5}])
        ray.get(group.ready())
        made: str = group.id.hex()
        return made


@pytest.fixture
def ours(ray_cluster: None) -> Iterator[str]:
    """A placement group that the driver made."""
    group = placement_group([{"CPU": 0.25}])
    ray.get(group.ready())
    yield group.id.hex()
    remove_placement_group(group)


def test_a_group_is_removed_when_its_maker_is_dead_and_not_before(ours: str) -> None:
    before = held_groups()
    living, dying = Maker.remote(), Maker.remote()
    kept, lost = ray.get([living.make.remote(), dying.make.remote()])
    remove_orphans()
    assert held_groups() - before == {kept, lost}

    ray.kill(dying)
    wait_for_room(before | {kept})
    assert held_groups() == before | {kept}
    assert placement_group_table()[lost]["state"] == "REMOVED"
    assert ours in held_groups()

    ray.kill(living)
    wait_for_room(before)
    assert held_groups() == before


@pytest.mark.parametrize(
    ("part", "gpus", "expected"), [(1.0, 2, 2), (0.5, 2, 4), (0.3, 2, 6), (0.1, 2, 9), (0.5, 0, 9)]
)
def test_as_many_trials_at_a_time_as_parts_of_gpus_and_cpus(
    part: float, gpus: int, expected: int
) -> None:
    """Of 8 CPUs a trial with its reader takes 0.85."""
    has = {"CPU": 8.0, "GPU": float(gpus)}
    train = TrainConfig(gpus_per_worker=part, num_workers=1)
    layout = layout_of(train, has.__getitem__)
    assert layout == Layout(1, gpus > 0)
    assert trials_at_a_time(train, layout, has) == expected
    # Who shares a GPU has one worker, however many GPUs there are.
    alone = layout_of(replace(train, num_workers="auto"), has.__getitem__)
    assert alone.workers == (1 if gpus and part < 1 else 2)
