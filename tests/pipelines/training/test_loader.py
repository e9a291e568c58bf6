"""Batches through Ray Data: those that a loop in this process reads, job after job."""

import os
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pipelines.training import loader
from pipelines.training.config import TrainConfig
from pipelines.training.loader import local_batches, ray_batches
from pipelines.training.plan import RunPlan, plan_run


class Watched(RunPlan):
    """A plan that leaves a file behind for each process in which it arrives."""

    __slots__ = ()

    def check_arrived(self) -> None:
        """Called by readers before all else."""
        self.root.child("readers", str(os.getpid())).write_bytes(b"")
        RunPlan.check_arrived(self)


@pytest.mark.usefixtures("ray_cluster")
def test_the_next_readers_start_while_there_are_batches_and_nothing_else_changes(
    small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of 8 steps, of which the last has 3."""
    monkeypatch.setattr(loader, "STEPS_PER_JOB", 8)
    monkeypatch.setattr(loader, "STEPS_AHEAD", 4)
    plan = plan_run(small(cpus_per_reader=0.2))
    watched = Watched(**{field.name: getattr(plan, field.name) for field in fields(plan)})
    readers = Path(small().root, "readers")
    batches = ray_batches(watched, 1, 3, 5, 24)
    for number, expected in enumerate(local_batches(plan, 1, 3, 5, 24)):
        batch = next(batches)
        assert batch.index == expected.index and batch.pair_id == expected.pair_id
        for one in ("left", "right", "target"):
            assert np.array_equal(getattr(batch, one), getattr(expected, one))
        if number == 4:  # the first job has three batches more
            deadline_s = time.monotonic() + 300
            while len(list(readers.iterdir())) < 2:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)  # poll of another process
    assert next(batches, None) is None
    assert len(list(readers.iterdir())) == 3


@pytest.mark.usefixtures("ray_cluster")
def test_batches_that_nobody_wants_any_more_are_left(
    small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next job begun."""
    monkeypatch.setattr(loader, "STEPS_PER_JOB", 4)
    monkeypatch.setattr(loader, "STEPS_AHEAD", 3)
    batches = ray_batches(plan_run(small(cpus_per_reader=0.2)), 0, 1, 0, None)
    for _ in range(2):
        next(batches)
    batches.close()
    assert next(batches, None) is None
