"""A group of workers that was replaced: whatever it still writes, the run is that of the others."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pipelines.errors import BusyError
from pipelines.lease import lease
from pipelines.storage import Location, locate
from pipelines.training.batch import BatchSource
from pipelines.training.checkpoint import complete_steps, newest_checkpoint, save_checkpoint
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.groups import OWNER, begin_group, owned, read_beginnings
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit, read_outcome
from pipelines.training.plan import plan_run
from pipelines.training.record import RecordWriter, read_rows
from tests.pipelines.training.same import assert_same_weights


@pytest.fixture
def run(tmp_path) -> Location:  # type: ignore[no-untyped-def]
    return locate(str(tmp_path / "run"))


def others(run: Location) -> dict[str, bytes]:
    """All files but the first group's own part of the record."""
    paths = [path for path in run.walk() if not (path.startswith("metrics/") and "-1." in path)]
    return {path: run.child(path).read_bytes() for path in paths}


def value_of(run: Location) -> tuple[int, float]:
    step, state = newest_checkpoint(run) or (0, {"w": torch.zeros(1)})
    return step, float(state["w"])


def save(run: Location, step: int, value: float, group: int) -> None:
    save_checkpoint(run, step, {"w": torch.tensor([value])}, keep=2, group=group)


def test_a_checkpoint_that_arrives_late_does_not_count(run: Location) -> None:
    first = begin_group(run, 0)
    save(run, 5, 1.0, first.number)
    second = begin_group(run, 5)
    save(run, 10, 1.5, first.number)  # its marker was on its way for minutes
    assert value_of(run) == (5, 1.0)
    save(run, 10, 2.0, second.number)
    save(run, 10, 1.5, first.number)
    assert value_of(run) == (10, 2.0)
    save(run, 15, 1.5, first.number)
    assert value_of(run) == (10, 2.0)
    assert begin_group(run, 10).number == 3
    assert complete_steps(run) == [10, 5]


def test_a_replaced_group_is_told(run: Location) -> None:
    with lease(run.child(OWNER), work="x") as owner:
        first = begin_group(run, 0, owner)
        first.check()
        second = begin_group(run, 0, owner)
        second.check()
        with pytest.raises(BusyError, match="another group"):
            first.check()
    with lease(run.child(OWNER), work="x") as next_owner:
        assert next_owner == owner + 1
        with pytest.raises(BusyError, match="taken over by process"):
            second.check()
        with pytest.raises(BusyError, match="taken over by process"):
            begin_group(run, 0, owner)


def test_rows_of_a_replaced_group_behind_its_last_checkpoint_do_not_count(run: Location) -> None:
    first = RecordWriter(run, 0, begin_group(run, 0).number)
    first.add(5, loss=1.0)
    first.begin_part(5)
    first.add(7, loss=1.0)
    first.flush()
    second = RecordWriter(run, 5, begin_group(run, 5).number)
    first.begin_part(10)
    first.add(12, loss=1.0)
    second.add(7, loss=2.0)
    second.close()
    first.close()
    assert [(row["step"], row["loss"]) for row in read_rows(run)] == [(5, 1.0), (7, 2.0)]


def test_a_second_command_is_refused(small: Callable[..., TrainConfig]) -> None:
    plan = plan_run(small())
    with owned(plan.folder), pytest.raises(BusyError, match="is being done by"), owned(plan.folder):
        pass


def test_a_group_that_slept_while_another_command_trained_changes_nothing(
    small: Callable[..., TrainConfig],
) -> None:
    """It wakes up behind the first checkpoint of the other one and goes on to the end."""
    plan = plan_run(small())
    asleep, awake = threading.Event(), threading.Event()

    def sleepy(*job) -> BatchSource:  # type: ignore[no-untyped-def]
        for number, batch in enumerate(local_batches(*job)):
            if number == 3:
                asleep.set()
                awake.wait()
            yield batch

    caught: list[BaseException] = []

    def old() -> None:
        try:
            fit(plan, ProcessContext(), sleepy, 1)
        except BusyError as error:
            caught.append(error)

    with owned(plan.folder) as owner:
        assert owner == 1
        thread = threading.Thread(target=old)
        thread.start()
        asleep.wait()
    with owned(plan.folder) as owner:
        outcome = fit(plan, ProcessContext(), local_batches, owner)
    files = others(plan.folder)
    awake.set()
    thread.join()
    assert "taken over by process" in str(caught[0])
    assert others(plan.folder) == files
    assert read_outcome(plan.folder) == outcome
    steps = [row["step"] for row in read_rows(plan.folder) if "loss" in row]
    assert steps == [2, 4, 6, 8, 10, 12, 14]
    assert read_beginnings(plan.folder).steps == {1: 0, 2: 0}
    alone = plan_run(replace(plan.config, name="alone"))
    fit(alone, ProcessContext(), local_batches)
    assert_same_weights(plan.folder, alone.folder)
