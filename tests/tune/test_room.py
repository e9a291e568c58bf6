"""Placement groups whose maker died are given back; those of others are left alone."""

from collections.abc import Iterator

import pytest
import ray
from ray.util import placement_group, placement_group_table, remove_placement_group

from tune.room import held_groups, remove_orphans, wait_for_room


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
