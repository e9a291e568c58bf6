"""A lease: one holder at a time, numbered, and replaced when it is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import lease as module
from pipelines.errors import BusyError
from pipelines.lease import holder_of, holds, lease
from pipelines.storage import Location, locate

ELSEWHERE = {"token": "t", "host": "elsewhere", "pid": 1}


@pytest.fixture
def lock(tmp_path: Path) -> Location:
    return locate(str(tmp_path)).child("lock")


def held_elsewhere(lock: Location, number: int, lasts_s: float) -> None:
    holder = {**ELSEWHERE, "expires_s": time.time() + lasts_s}
    lock.child(f"{number:08d}.json").write_bytes(json.dumps(holder).encode())


def test_the_second_is_refused_and_told_who_has_it(lock: Location) -> None:
    with (
        lease(lock, work="x"),
        pytest.raises(BusyError, match=f"by process {os.getpid()} on {socket.gethostname()}"),
        lease(lock, work="x"),
    ):
        pass


def test_numbers_rise_and_tell_who_was_replaced(lock: Location) -> None:
    numbers = []
    for _ in range(3):
        with lease(lock, work="x") as number:
            numbers.append(number)
            assert holds(lock, number)
    assert numbers == [1, 2, 3]
    held_elsewhere(lock, 3, -1)  # slept for too long
    with lease(lock, work="x") as number:
        assert number == 4 and not holds(lock, 3)


def test_a_dead_process_is_replaced(lock: Location) -> None:
    script = (
        "import os, signal, sys\n"
        "from pipelines.lease import lease\n"
        "from pipelines.storage import Location\n"
        "with lease(Location(sys.argv[1]), work='x'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    dead = subprocess.run([sys.executable, "-c", script, lock.url], check=False)
    assert dead.returncode == -signal.SIGKILL
    found = holder_of(lock)
    assert found is not None and not found.expires_s < time.time()
    with lease(lock, work="x") as number:
        assert number == 2
        assert lock.list() == ["00000002.json"]


def test_one_of_another_machine_runs_out(lock: Location) -> None:
    held_elsewhere(lock, 7, 60)
    with pytest.raises(BusyError, match="process 1 on elsewhere"), lease(lock, work="x"):
        pass
    held_elsewhere(lock, 7, -1)
    with lease(lock, work="x") as number:
        assert number == 8


def test_who_waits_takes_over_from_one_that_is_not_heard_of(lock: Location) -> None:
    held_elsewhere(lock, 1, 1.5)
    with lease(lock, work="x", wait=True) as number:
        assert number == 2


def test_who_waits_is_refused_when_the_other_is_heard_of(
    lock: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    held_elsewhere(lock, 1, 60)
    renewal = threading.Timer(0.1, held_elsewhere, (lock, 1, 90))
    renewal.start()
    with pytest.raises(BusyError, match="elsewhere"), lease(lock, work="x", wait=True):
        pass
    renewal.join()


def test_of_many_that_try_one_at_a_time_has_it(lock: Location) -> None:
    inside, seen, numbers = threading.Semaphore(1), [], []

    def work() -> None:
        while True:
            try:
                with lease(lock, work="x") as number:
                    seen.append(inside.acquire(blocking=False))
                    numbers.append(number)
                    inside.release()
                    return
            except BusyError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4
    assert numbers == sorted(set(numbers))
