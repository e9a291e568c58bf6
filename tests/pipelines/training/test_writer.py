"""Writing beside the steps: in order, again where it fails, and not for ever."""

import logging
import threading
from collections.abc import Callable

import pytest

from pipelines import retry
from pipelines.errors import BusyError, UnavailableError
from pipelines.storage import Location
from pipelines.training.checkpoint import complete_steps
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows, read_samples
from pipelines.training.writer import BackgroundWriter
from tests.pipelines.training.same import assert_same_weights


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_S", 1e-3)
    monkeypatch.setattr(retry, "_MOST_S", 1e-3)


class Refusing:
    """A storage that refuses the first so many times."""

    def __init__(self, times: int) -> None:
        self.left, self.done = times, 0

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise ConnectionError("away")
        self.done += 1


def test_what_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    writer, job = BackgroundWriter(60.0), Refusing(3)
    with caplog.at_level(logging.WARNING):
        writer.submit("it", job)
        writer.join()
    assert (job.left, job.done) == (0, 1)
    assert caplog.text.count("it is not written yet") == 3
    writer.close()


def test_what_fails_for_too_long_ends_the_run_in_one_line() -> None:
    writer = BackgroundWriter(1e-4)
    writer.submit("the checkpoint", Refusing(10**9))
    with pytest.raises(UnavailableError, match="the checkpoint cannot be written for") as caught:
        writer.join()
    assert "\n" not in str(caught.value)
    with pytest.raises(UnavailableError):
        writer.check()
    with pytest.raises(UnavailableError):
        writer.submit("the checkpoint", Refusing(0))
    writer.close()


@pytest.mark.parametrize("error", [BusyError("taken over"), ZeroDivisionError()])
def test_what_no_second_try_mends_is_raised_at_once(error: Exception) -> None:
    def job() -> None:
        raise error

    writer = BackgroundWriter(60.0)
    writer.submit("it", job)
    with pytest.raises(type(error)):
        writer.join()
    writer.close()


def test_one_of_a_kind_is_written_at_a_time_and_in_order() -> None:
    gate, written = threading.Event(), []
    writer = BackgroundWriter(60.0)
    writer.submit("a", lambda: None)  # one that went well changes nothing for the others
    writer.join()
    writer.submit("a", lambda: (gate.wait(), written.append(1)))  # type: ignore[arg-type]
    opener = threading.Timer(0.05, gate.set)
    opener.start()
    writer.submit("b", lambda: written.append(2))
    assert written == []
    writer.submit("a", lambda: written.append(3))  # waits for the first
    assert 1 in written
    writer.join()
    assert written == [1, 2, 3]
    assert writer.waited_s > 0
    writer.close()


def test_a_newer_one_takes_the_place_of_one_that_fails() -> None:
    writer, old, new = BackgroundWriter(60.0), Refusing(10**9), Refusing(0)
    failed = threading.Event()

    def failing() -> None:
        try:
            old()
        finally:
            failed.set()

    writer.submit("it", failing)
    failed.wait()
    writer.submit("it", new)
    writer.join()
    assert (old.done, new.done) == (0, 1)
    writer.close()


def test_a_run_goes_on_while_its_storage_is_away_and_loses_nothing(
    small: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each write of a checkpoint's state fails until step 12 of 14 is begun."""
    config = small(checkpoint_every=2, val_every=50)
    plan, alone = plan_run(config), plan_run(small(name="alone", val_every=50))
    fit(alone, ProcessContext(), local_batches)
    back = threading.Event()
    write = Location.write_bytes

    def write_when_back(self: Location, data: bytes) -> None:
        if "/checkpoints/" in self.url and not back.is_set():
            raise OSError("the disk is full")
        write(self, data)

    def batches(*job):  # type: ignore[no-untyped-def]
        for number, batch in enumerate(local_batches(*job)):
            if number == 12:
                assert complete_steps(plan.folder) == []
                back.set()
            yield batch

    monkeypatch.setattr(Location, "write_bytes", write_when_back)
    with caplog.at_level(logging.WARNING):
        fit(plan, ProcessContext(), batches)
    assert "is not written yet" in caplog.text
    assert complete_steps(plan.folder)[0] == 14
    assert read_samples(plan.folder) == read_samples(alone.folder)
    assert_same_weights(plan.folder, alone.folder)


@pytest.mark.parametrize(("keys", "kept"), [({}, [14, 10]), ({"keep": 3}, [14, 10, 5])])
def test_no_step_waits_for_the_storage(
    small: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, int],
    kept: list[int],
) -> None:
    """Nothing of checkpoint, best weights, pictures and record is written before step 9 begins."""
    plan = plan_run(small(checkpoint_every=5, val_every=5, **keys))
    begun = threading.Event()
    write = Location.write_bytes

    def write_late(self: Location, data: bytes) -> None:
        if "/_runs/" in self.url:
            assert begun.wait(60), f"a step waits for {self.url}"
        write(self, data)

    def batches(*job):  # type: ignore[no-untyped-def]
        for number, batch in enumerate(local_batches(*job)):
            if number == 9:
                begun.set()
            yield batch

    monkeypatch.setattr(Location, "write_bytes", write_late)
    fit(plan, ProcessContext(), batches)
    assert complete_steps(plan.folder) == kept
    rows = [row for row in read_rows(plan.folder) if "loss" in row]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12, 14]


def test_waiting_for_the_storage_is_told(
    small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two checkpoints cannot be on their way at once: the second waits, and the record says so."""
    plan = plan_run(small(steps=4, checkpoint_every=1, log_every=4, max_val_pairs=0))
    write, submit = Location.write_bytes, BackgroundWriter.submit
    submitted: list[str] = []
    second = threading.Event()

    def submit_and_tell(self: BackgroundWriter, kind: str, job: Callable[[], None]) -> None:
        submitted.append(kind)
        if len(submitted) == 2:
            second.set()
        submit(self, kind, job)

    def write_first_with_the_second(self: Location, data: bytes) -> None:
        if "/checkpoints/" in self.url:
            assert second.wait(60)
        write(self, data)

    monkeypatch.setattr(BackgroundWriter, "submit", submit_and_tell)
    monkeypatch.setattr(Location, "write_bytes", write_first_with_the_second)
    fit(plan, ProcessContext(), local_batches)
    (row,) = [row for row in read_rows(plan.folder) if "loss" in row]
    assert 0 < row["waiting_for_storage"] < 1 - row["waiting_for_data"]


def test_a_run_whose_storage_stays_away_ends(
    small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_run(small(checkpoint_every=2, patience_s=1e-4))
    write = Location.write_bytes

    def refuse(self: Location, data: bytes) -> None:
        if "/checkpoints/" in self.url:
            raise OSError("the disk is full")
        write(self, data)

    monkeypatch.setattr(Location, "write_bytes", refuse)
    with pytest.raises(UnavailableError, match="cannot be written for"):
        fit(plan, ProcessContext(), local_batches)
