"""Which failures of a training are one line, and which need their traceback."""

import errno
import os

import pytest
from ray.exceptions import NodeDiedError, RayActorError, RayTaskError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from pipelines.errors import AwayError, BusyError, UnavailableError, UserError
from pipelines.training.failure import is_final, kind_of, mendable_reason

MISTAKE = UserError("pair 7 is damaged; remove it")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
AWAY = AwayError("a service does not answer")
LOST = WorkerHealthCheckFailedError("a worker does not answer", failure=RayActorError())


def in_reader(cause: Exception) -> Exception:
    """As an exception of a reader arrives in a worker."""
    return RayTaskError("read", "Traceback\nlast line", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (WorkerGroupError("trace", {1: MISTAKE}), "pair 7"),
        (WorkerGroupError("trace", {0: in_reader(MISTAKE)}), "pair 7"),
        (WorkerGroupError("trace", {0: RuntimeError("peer closed"), 1: AWAY}), "does not answer"),
        (WorkerGroupError("trace", {0: FULL}), "no space left on the disk at /data/x"),
        (WorkerGroupError("trace", {0: RuntimeError("peer closed"), 1: LOST}), "RayActorError: "),
        (ControllerError(NodeDiedError("node 3 is gone")), "NodeDiedError: node 3 is gone"),
    ],
)
def test_what_the_user_can_mend_is_one_line(error: Exception, words: str) -> None:
    reason = mendable_reason(error)
    assert reason is not None and words in reason and "\n" not in reason
    assert kind_of(error) is (UserError if words == "pair 7" else UnavailableError)


@pytest.mark.parametrize(
    "error",
    [
        WorkerGroupError("trace", {0: ZeroDivisionError("division by zero")}),
        WorkerGroupError("trace", {0: in_reader(KeyError("left"))}),
        ControllerError(RuntimeError("unforeseen")),
    ],
)
def test_a_bug_is_not(error: Exception) -> None:
    assert mendable_reason(error) is None


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (WorkerGroupError("trace", {1: MISTAKE}), True),
        (WorkerGroupError("trace", {0: in_reader(MISTAKE)}), True),
        (WorkerGroupError("trace", {0: AWAY}), False),
        (WorkerGroupError("trace", {0: BusyError("taken over")}), True),
        (WorkerGroupError("trace", {0: UnavailableError("not written for 10 minutes")}), True),
        (WorkerGroupError("trace", {0: RuntimeError("peer closed"), 1: LOST}), False),
        (WorkerGroupError("trace", {0: ConnectionError("away")}), False),
        (ControllerError(NodeDiedError("node 3 is gone")), False),
    ],
)
def test_what_no_other_attempt_mends_is_final(error: Exception, final: bool) -> None:
    assert is_final(error) is final


def test_a_run_that_was_taken_over_is_busy() -> None:
    assert kind_of(WorkerGroupError("trace", {0: BusyError("taken over")})) is BusyError
