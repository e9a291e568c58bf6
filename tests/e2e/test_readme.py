"""The README does what it says: its command lines are executed, as they stand there.

Lines in a block that opens with ``sh tested`` run in order in a folder of a new user; those of
``sh tested cluster`` run in the checkout, as jobs on a cluster with a job server. What makes them
quick is a file named by K3DN_CONFIG, as the README describes it.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import cv2
import pytest
import torch
from mlflow import MlflowClient

from pipelines.config import StepConfig
from pipelines.mlflow_store import EXPERIMENT, resolve_tracking_uri
from pipelines.steps import STEPS
from pipelines.storage import locate
from pipelines.training.checkpoint import complete_steps
from pipelines.training.record import read_rows, read_samples
from tests.e2e.pictures import write_dpd_blur, write_pair
from tests.k3dn.authors_names import SIZES, authors_state
from tests.pipelines.training.versions import write_small_datasets

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
_START_LIMIT_S = 180

SMALL = """
synth: {pairs: 10, size: 48x64, pairs_per_shard: 4, textures: none,
        val_fraction: 0.25, test_fraction: 0.25}
train: {steps: 2, patch: 32, batch_size: 2, checkpoint_every: 1, val_every: 2, max_val_pairs: 1,
        warmup_steps: 1, num_workers: 1, network: {attention_window: 3, psf_blocks: 1}}
tune: {trials: 1, steps: 2, validations: 1, num_kernels: 16}
evaluate: {max_pairs: 1, num_workers: 1}
# two steps make no champion; the gate's own tests are elsewhere
promote:
  num_workers: 1
  gate: {min_scenes: 2, min_gain_db: -50, min_input_gain_db: -50, champion_tolerance_db: 50,
         input_tolerance_db: 50, ssim_tolerance: 1, mae_tolerance: 50, region_tolerance_db: 50}
"""


def lines_of(info: str) -> list[str]:
    """The command lines of the README's blocks that open with exactly this info string."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [line for found, text in blocks if found == info for line in text.splitlines() if line]


LOCAL, JOBS = lines_of("sh tested"), lines_of("sh tested cluster")


@dataclass(frozen=True)
class Place:
    """Where a new user sits: a folder, an environment, a cluster of their own."""

    folder: Path
    environment: dict[str, str]
    address: str
    job_server: str

    def run(self, line: str, *, folder: Path, **extra: str) -> str:
        """Run one line as a shell does; return what it printed."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=folder,
            env=self.environment | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{line}\n{result.stdout[-6000:]}"
        assert "Traceback" not in result.stdout, f"{line}\n{result.stdout[-6000:]}"
        return result.stdout


def _free_ports(count: int) -> list[int]:
    """Ports above 20000, out of the range that Ray's workers use."""
    sockets: list[socket.socket] = []
    for port in range(26000, 32000):
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
            continue
        sockets.append(candidate)
        if len(sockets) == count:
            break
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def _environment(home: Path) -> dict[str, str]:
    """What a user's shell has after the installation."""
    config = home / "small.yaml"
    config.write_text(SMALL)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAY_", "K3DN_", "MLFLOW_"))
    }
    tools = Path(sys.executable).parent
    if not (tools / "k3dn").exists():  # tests run from a checkout that is not installed
        tools = home / "bin"
        tools.mkdir()
        command = tools / "k3dn"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipelines "$@"\n')
        command.chmod(0o755)
        environment["PYTHONPATH"] = str(REPOSITORY)
    return environment | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "K3DN_CONFIG": str(config),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # each process reads what was compiled before
        # Ray runs what it is sent, and its ports are open to the network.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        # A head that is told to end waits so long for what runs on it: half a minute by itself.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",  # as the manifests have it
    }


def _wait_for_job_server(url: str, token: str, head: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the job server answers; fail when the head died or takes too long."""
    pause = Event()
    request = urllib.request.Request(
        f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
    )
    for _ in range(_START_LIMIT_S):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                json.load(answer)
                return
        except (OSError, ValueError):
            assert head.poll() is None, log.read_text()
        pause.wait(1)
    pytest.fail(f"no job server after {_START_LIMIT_S} s\n{log.read_text()}")


@pytest.fixture(scope="module")
def place(own_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A new user's folder with pictures in it, and a Ray cluster with a job server."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "pictures"
    folder.mkdir()
    write_dpd_blur(folder / "dd_dp_dataset")
    write_pair(folder)
    torch.save(authors_state(*SIZES["tiny"]), folder / "best.pt")
    environment = _environment(home)
    port, dashboard, agent, client = _free_ports(4)
    # A short path: Ray's sockets lie in it and their names may have 107 characters.
    temporary = tempfile.mkdtemp(prefix="k3dn-ray-")
    log = home / "ray.log"
    with log.open("wb") as output:
        head = subprocess.Popen(
            [
                *("ray", "start", "--head", "--block", "--num-cpus=2"),
                *(f"--port={port}", f"--dashboard-port={dashboard}"),
                "--dashboard-host=127.0.0.1",
                f"--dashboard-agent-listen-port={agent}",
                f"--ray-client-server-port={client}",
                f"--temp-dir={temporary}",
            ],
            env=environment,
            cwd=home,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        job_server = f"http://127.0.0.1:{dashboard}"
        _wait_for_job_server(job_server, environment["RAY_AUTH_TOKEN"], head, log)
        yield Place(folder, environment, f"127.0.0.1:{port}", job_server)
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def test_the_readme_has_lines_to_run_and_names_every_step() -> None:
    """A renamed marker would leave nothing to run, and all tests below would pass."""
    assert len(LOCAL) >= 12
    assert [line.split()[:3] for line in JOBS] == [["ray", "job", "submit"]] * 2
    assert not re.search(r"^ray job submit", README.replace("\n".join(JOBS), ""), re.MULTILINE)
    for step in STEPS:
        assert re.search(rf"\b(k3dn|make) {step}\b", README), f"the README is silent on {step}"


@pytest.mark.parametrize("line", LOCAL)
def test_a_line_of_the_readme_runs(place: Place, line: str) -> None:
    printed = place.run(line, folder=place.folder, RAY_ADDRESS=place.address)
    if line == "k3dn models":
        assert "champion" in printed
    if line.startswith("k3dn deblur"):
        name = "champion.png" if "champion" in line else "sharp.png"
        sharp = cv2.imread(str(place.folder / name))
        assert sharp is not None
        assert sharp.shape == cv2.imread(str(place.folder / "left.png")).shape


@pytest.mark.parametrize("line", JOBS)
def test_a_job_of_the_readme_runs_on_a_cluster(place: Place, line: str) -> None:
    printed = place.run(line, folder=REPOSITORY, RAY_API_SERVER_ADDRESS=place.job_server)
    assert "succeeded" in printed
    root = Path(place.environment["HOME"]) / "k3dn-data"
    made = "synth/v1/_manifest.json" if "k3dn synth" in line else "_runs/on-ray/result.json"
    assert (root / made).exists(), [str(path) for path in root.rglob("*.json")]


def test_a_job_that_is_stopped_leaves_a_checkpoint(place: Place, tmp_path: Path) -> None:
    """And no checkpoint is due by itself."""
    root, run = tmp_path / "data", locate(str(tmp_path / "data")).child("_runs", "stopped")
    datasets = ",".join(write_small_datasets(str(root)))
    keys = f"root={root} datasets={datasets} name=stopped model=nano patch=32 num_workers=1"
    keys += " steps=9000 checkpoint_every=9000 max_val_pairs=0 log_every=1"
    server = {"RAY_API_SERVER_ADDRESS": place.job_server}
    submit = f"ray job submit --no-wait --submission-id=to-stop -- k3dn train {keys}"
    place.run(submit, folder=tmp_path, **server)
    pause, deadline_s = Event(), time.monotonic() + 300
    while len([row for row in read_rows(run) if "loss" in row]) < 3:
        log = place.run("ray job logs to-stop", folder=tmp_path, **server)
        assert time.monotonic() < deadline_s and "error" not in log.lower(), log
        pause.wait(1)  # poll of another process
    place.run("ray job stop to-stop", folder=tmp_path, **server)
    assert "STOPPED" in place.run("ray job list", folder=tmp_path, **server)
    log = place.run("ray job logs to-stop", folder=tmp_path, **server)
    (step,) = complete_steps(run)
    assert 3 <= step < 9000, log
    assert [index for index, _ in read_samples(run)] == list(range(2 * step))
    client = MlflowClient(resolve_tracking_uri(StepConfig(root=str(root))))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert recorded.info.status == "KILLED"
    assert recorded.data.metrics["node_0/worker_0_samples_per_s"] > 0


@pytest.mark.parametrize("target", ["demo", "test", "install", "lint"])
def test_the_makefile_has_what_the_readme_names(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, check=True, capture_output=True)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:k3dn|synth|pipelines|tune|tests|infra|docs)/[\w./-]*)`", text)
    named += [
        str(Path(page).parent / target) for target in re.findall(r"\]\((?!http)([^)#]+)\)", text)
    ]
    assert named
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
