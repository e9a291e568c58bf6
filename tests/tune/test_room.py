"""Placement groups whose maker died are given back; those of others are left alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.usefixtures("own_ray")
def test_as_many_trials_at_a_time_as_parts_of_gpus() -> None:
    """A Ray that counts two GPUs, which are not there: nothing runs on them."""
    script = """
import ray
from pipelines.training.config import TrainConfig
from pipelines.training.room import layout_of
from tune.search import _of_one_gpu, _trials_at_a_time

ray.init(address="local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
for part in (1.0, 0.5, 0.3):
    train = TrainConfig(gpus_per_worker=part)
    layout = layout_of(_of_one_gpu(train))
    print(layout.workers, layout.use_gpu, _trials_at_a_time(train, layout))
alone = layout_of(TrainConfig(gpus_per_worker=0.5))
print(alone.workers, alone.use_gpu)
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split("\n")[:4] == ["1 True 2", "1 True 4", "1 True 6", "1 True"]
