"""An exception becomes one line and an exit code, however deep it is wrapped."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import botocore.exceptions
import pytest
import requests

from pipelines.cli import run_command_line
from pipelines.errors import BusyError, GateRefused, UnavailableError, UserError
from pipelines.failures import Terminated, explain_failure

REPOSITORY = Path(__file__).parents[2]


def _raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception as it is after having been raised from another one."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_a_users_mistake_keeps_its_words() -> None:
    failure = explain_failure(UserError("no folder /nope; check source"))
    assert (failure.message, failure.exit_code) == ("no folder /nope; check source", 2)


def test_samples_that_are_no_samples_are_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    assert run_command_line(["demo", f"root={root}", f"samples={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert "has no folder dpd-blur-mini" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not root.exists()


def test_a_refusal_of_the_gate_has_its_own_code() -> None:
    assert explain_failure(GateRefused("gains -0.1 dB")).exit_code == 3


def test_a_scheduler_can_tell_a_mistake_from_what_passes() -> None:
    """Trying again helps where somebody else was at it or a service was away."""
    assert explain_failure(UserError("no such dataset")).exit_code == 2
    assert explain_failure(BusyError("being done by process 7")).exit_code == 4
    assert explain_failure(UnavailableError("the storage does not answer")).exit_code == 5


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        TimeoutError("timed out"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://localhost:1"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://localhost:1"),
        aiohttp.ServerDisconnectedError("gone"),
        requests.exceptions.ConnectTimeout("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_service_that_is_away_is_one_line_wherever_it_was_noticed(error: Exception) -> None:
    for wrapped in (error, _raised(ValueError("could not write"), error)):
        failure = explain_failure(wrapped)
        assert failure.exit_code == 5
        assert failure.message.startswith("a service does not answer: ")
        assert "run the same command again" in failure.message


def test_a_client_that_refuses_is_no_service_that_is_away() -> None:
    refused = botocore.exceptions.NoCredentialsError()
    assert explain_failure(refused).exit_code == 1


def test_an_interruption_says_how_to_go_on() -> None:
    for error, code in ((KeyboardInterrupt(), 130), (Terminated(), 143)):
        failure = explain_failure(error)
        assert failure.exit_code == code
        assert "run the same command again" in failure.message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x.parquet"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_one_line_wherever_it_was_noticed(error: Exception) -> None:
    for wrapped in (error, _raised(ValueError("could not write"), error)):
        failure = explain_failure(wrapped)
        assert failure.exit_code == 5
        assert failure.message.startswith("no space left on the disk")
        assert "\n" not in failure.message


def test_a_file_that_may_not_be_written_is_named() -> None:
    failure = explain_failure(PermissionError(errno.EACCES, "Permission denied", "/data/x"))
    assert failure.exit_code == 2
    assert failure.message == "cannot use /data/x: permission denied; check the path"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FileExistsError) as caught:
        (tmp_path / "file").mkdir(parents=True, exist_ok=True)
    failure = explain_failure(caught.value)
    assert failure.exit_code == 2
    assert failure.message == f"cannot use {tmp_path / 'file'}: file exists; check the path"


def test_an_unforeseen_exception_is_one_line_and_exit_code_1() -> None:
    failure = explain_failure(ZeroDivisionError("division by zero\nmore"))
    assert (failure.message, failure.exit_code) == ("ZeroDivisionError: division by zero", 1)


def test_a_mistake_inside_a_ray_task_keeps_its_words(ray_cluster: None) -> None:
    import ray

    @ray.remote(num_cpus=0.1, max_retries=0)
    def task(kind: str) -> None:
        if kind == "mistake":
            raise UserError("pair 7 of /data is truncated; remove it")
        if kind == "refusal":
            raise GateRefused("not better")
        if kind == "disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
        raise KeyError("unforeseen")

    def failure_of(kind: str) -> tuple[str, int]:
        with pytest.raises(Exception) as caught:
            ray.get(task.remote(kind))
        failure = explain_failure(_raised(RuntimeError("while reading"), caught.value))
        return failure.message, failure.exit_code

    assert failure_of("mistake") == ("pair 7 of /data is truncated; remove it", 2)
    assert failure_of("refusal") == ("not better", 3)
    message, code = failure_of("disk")
    assert (message.split(";")[0], code) == ("no space left on the disk at /data/x", 5)
    assert failure_of("other")[1] == 1


def test_a_mistake_inside_a_training_worker_keeps_its_words() -> None:
    from ray.train import ControllerError, WorkerGroupError

    mistake = UserError("loss became NaN at step 7; lower train.lr")
    assert explain_failure(WorkerGroupError("trace\nback", {1: mistake})).message == str(mistake)
    assert explain_failure(ControllerError(mistake)).exit_code == 2


STEP_THAT_WAITS = """
import signal, sys, threading
from pipelines import cli
from pipelines.steps import Step

# A shell that runs the tests in the background has them ignore SIGINT, and what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

def run(config):
    try:
        print("working", flush=True, file=sys.stderr)
        threading.Event().wait()
    finally:
        print("closed", flush=True, file=sys.stderr)

sys.modules["waiting"] = sys.modules["__main__"]
step = Step("wait", "x", "pipelines.doctor:DoctorConfig", "waiting:run", "Wait.")
sys.exit(cli.run_step(step, None, [], as_json=False, dry_run=False, verbose=False))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_a_step_and_ends_it_with_its_code(
    number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STEP_THAT_WAITS], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "working\n"
        process.send_signal(number)
        lines = process.stderr.read().splitlines()
        assert process.wait() == code
    assert lines[0] == "closed"
    assert lines[1:] == ["k3dn wait: stopped; run the same command again to go on where it was"]


STEP_THAT_STARTS_RAY = STEP_THAT_WAITS.replace(
    "threading.Event().wait()",
    """
        import os, signal
        from ray._private.node import Node
        from pipelines.cluster import ray_cluster
        Node.start_head_processes = lambda _: os.kill(os.getpid(), signal.SIGTERM)
        with ray_cluster():
            print("started", flush=True, file=sys.stderr)
""",
)


@pytest.mark.usefixtures("own_ray")
def test_a_signal_while_ray_starts_is_no_other_end() -> None:
    """Ray ends the process with 15 and no word, and sets its handler before it starts its own."""
    result = subprocess.run(
        [sys.executable, "-c", STEP_THAT_STARTS_RAY],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 143, result.stderr
    lines = result.stderr.splitlines()
    assert "started" not in lines
    assert lines[-1] == "k3dn wait: stopped; run the same command again to go on where it was"


STEP_THAT_FAILS = STEP_THAT_WAITS.replace("threading.Event().wait()", "{}['unforeseen']")


def test_an_unforeseen_failure_leaves_its_traceback_in_a_file(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", STEP_THAT_FAILS],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("k3dn wait:")]
    assert "Traceback" not in result.stderr
    (file,) = tmp_path.glob("k3dn-traceback-*.txt")
    assert str(file) in line and "KeyError: 'unforeseen'" in line
    assert "in run" in file.read_text()
