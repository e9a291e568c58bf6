"""Training on a real cluster: any number of workers, and workers and drivers that are killed.

The oracle of each run is the same run without Ray, never interrupted, in this process.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

import k3dn
from pipelines.cli import run_command_line
from pipelines.config import StepConfig
from pipelines.errors import BusyError, UserError
from pipelines.mlflow_store import EXPERIMENT, ensure_store, resolve_tracking_uri
from pipelines.training.batch import Batch, BatchSource
from pipelines.training.checkpoint import complete_steps, load_checkpoint
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.groups import newest_group
from pipelines.training.keeper import WEIGHTS
from pipelines.training.loader import local_batches, ray_batches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan, plan_run
from pipelines.training.record import Row, read_rows, read_samples
from pipelines.training.train import TrainResult, run
from tests.pipelines.training.versions import write_small_datasets

NETWORKS = "tests.pipelines.training.networks"
STEPS, EVERY = 14, 5


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """A short run with checkpoints after steps 5, 10 and 14."""
    root = str(tmp_path / "data")
    # Here, where the tables are made once; a command would make them anew.
    ensure_store(resolve_tracking_uri(StepConfig(root=root)))
    return TrainConfig(
        root=root,
        datasets=write_small_datasets(root),
        model=f"{NETWORKS}:tiny",
        steps=STEPS,
        patch=32,
        batch_size=4,
        lr=3e-3,
        warmup_steps=3,
        log_every=2,
        checkpoint_every=EVERY,
        val_every=8,
        cpus_per_worker=0.4,
        cpus_per_reader=0.2,
        register=None,
    )


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file at which workers wait; it is there in the end, so that none waits for ever."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def uninterrupted(config: TrainConfig, **changes: Any) -> RunPlan:
    """Run the same training in this process, under another name."""
    plan = plan_run(replace(config, name="uninterrupted", **changes))
    fit(plan, ProcessContext(), local_batches)
    return plan


def assert_same_training(one: RunPlan, other: RunPlan) -> None:
    samples = read_samples(one.folder)
    assert [index for index, _ in samples] == list(range(STEPS * one.config.batch_size))
    assert samples == read_samples(other.folder)
    weights = [
        k3dn.load_weights(str(plan.folder.child(WEIGHTS)), plan.config.model).state_dict()
        for plan in (one, other)
    ]
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=1e-4, atol=1e-6)


def up_to(last: int) -> BatchSource:
    """Batches of the first steps; to ask for more raises StopIteration."""

    def batches(
        plan: RunPlan, rank: int, world_size: int, start: int, stop: int
    ) -> Generator[Batch, None, None]:
        yield from local_batches(plan, rank, world_size, start, last)

    return batches


def as_words(config: TrainConfig) -> list[str]:
    """The words of the command of a configuration."""
    return ["train", "--json"] + [f"{k}={v}" for k, v in command_line_keys(config).items()]


def as_command(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command of such words, and its environment."""
    command = [sys.executable, "-m", "pipelines", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    return command, environment


def until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline_s, f"waited five minutes for {what}"
        time.sleep(0.05)  # poll of other processes: there is nothing to wait on


def waiting_at(gate: Path) -> list[int]:
    """The processes that wait at a gate."""
    return sorted(int(path.suffix[1:]) for path in gate.parent.glob(f"{gate.name}.*"))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@contextmanager
def in_background(action: Callable[[], None]) -> Iterator[None]:
    """Do something beside the block; what it raises is raised at the end of the block."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(action)
        yield
        done.result()


def command_line_keys(config: TrainConfig) -> dict[str, str]:
    """A configuration as one types it."""
    network = {f"network.{key}": str(value) for key, value in config.network.items()}
    own = ("root", "model", "steps", "patch", "batch_size", "lr", "warmup_steps", "log_every")
    own += ("checkpoint_every", "val_every", "cpus_per_worker", "cpus_per_reader", "stop_grace_s")
    own += ("num_workers", "max_failures")
    keys = {key: str(getattr(config, key)) for key in own}
    keys["register"] = config.register or "none"
    return {**keys, **network, "datasets": ",".join(config.datasets)}


@pytest.mark.usefixtures("own_ray")
def test_stopped_and_killed_drivers_leave_nothing_running_and_three_workers_go_on(
    ray_cluster: None,
    config: TrainConfig,
    gate: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The first two with a cluster of their own, the last in this process's."""
    # The worker stands still, so that no checkpoint comes within the grace. There is one of them:
    # each start of a command takes its time, and most of it goes into the processes of workers.
    config = replace(
        config,
        num_workers=1,
        model=f"{NETWORKS}:gated",
        network={"gate": str(gate), "at": 8},
        stop_grace_s=0.5,
    )
    plan = plan_run(config)
    command, environment = as_command(as_words(config))
    log = tmp_path / "driver.log"
    for end, exit_code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        with log.open("w") as file:
            driver = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
            until(lambda: waiting_at(gate) or driver.poll() is not None, "the gate")  # noqa: B023
            assert driver.poll() is None, log.read_text()
            workers = waiting_at(gate)
            with pytest.raises(BusyError, match=f"by process {driver.pid} on"):
                run(config)
            driver.send_signal(end)
            assert driver.wait() == exit_code, log.read_text()
        until(lambda: not any(map(is_alive, workers)), "the worker of a dead driver to end")  # noqa: B023
        for pid in workers:
            gate.with_name(f"{gate.name}.{pid}").unlink()
        assert "Traceback" not in log.read_text()
    gate.touch()
    capfd.readouterr()
    config = replace(config, num_workers=3, register="tiny")
    assert run_command_line(as_words(config)) == 0
    again = capfd.readouterr()
    assert "going on from step 10 of 14" in again.err
    rows = read_rows(plan.folder)
    starts = [(r["step"], r["workers"]) for r in rows if r.get("event") == "start"]
    assert starts == [(0, 1), (EVERY, 1), (2 * EVERY, 3)]
    assert_same_training(plan, uninterrupted(config))
    # Once more: it is there already, nothing is trained or registered again.
    result = run(config)
    printed = json.loads(again.out)
    assert {key: printed[key] for key in asdict(result)} == asdict(result)
    assert read_rows(plan.folder) == rows
    check_records(plan, result)


def check_records(plan: RunPlan, result: TrainResult) -> None:
    """What a registered run leaves on the disk and in MLflow."""
    assert (result.run, result.steps, result.model_version) == (plan.name, STEPS, "1")
    assert result.validation["val_psnr"] > result.validation["val_psnr_input"]
    assert Path(result.weights).is_file()
    client = MlflowClient(result.tracking_uri, registry_uri=result.tracking_uri)
    recorded = client.get_run(result.run_id)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params["lr"] == "0.003"
    losses = {row["step"]: row["loss"] for row in read_rows(plan.folder) if "loss" in row}
    history = client.get_metric_history(result.run_id, "loss")
    assert {metric.step: metric.value for metric in history} == losses
    assert recorded.data.metrics["val_psnr"] == result.validation["val_psnr"]
    names = {i.dataset.name for i in recorded.inputs.dataset_inputs}
    assert names == {"soft@v1", "real@v1"}
    assert client.list_artifacts(result.run_id, "pictures")
    assert client.get_model_version_by_alias("tiny", "challenger").run_id == result.run_id
    assert result.describe().endswith(result.weights)
    assert result.next_steps()[0].startswith("k3dn evaluate")


def test_a_killed_worker_costs_the_steps_since_the_checkpoint_and_a_signal_leads_to_one(
    ray_cluster: None, config: TrainConfig, gate: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed just behind the first checkpoint of the attempt, of which Ray Train itself would not
    know yet; stopped long before the next one is due."""
    model, network = f"{NETWORKS}:hurried", {"gate": str(gate), "pause_s": 0.3}
    config = replace(
        config, model=model, network=network, steps=4000, checkpoint_every=9, val_every=4000,
        max_failures=1, stop_grace_s=60.0, num_workers=2,
    )  # fmt: skip
    plan = plan_run(config)

    def disturb() -> None:
        until(lambda: 9 in complete_steps(plan.folder), "the checkpoint")
        first = waiting_at(gate)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        until(lambda: not any(map(is_alive, first)), "the other worker to be ended")
        until(lambda: len(waiting_at(gate)) == 4, "two more workers in training")
        os.kill(os.getpid(), signal.SIGTERM)

    with in_background(disturb):
        assert run_command_line(as_words(config)) == 143
    told = capfd.readouterr().err
    assert "going on from step 9 of 4000, after the workers had to be started again" in told
    assert "stopping behind a checkpoint" in told
    assert "Traceback" not in told and "stack" not in told
    starts = [r["step"] for r in read_rows(plan.folder) if r.get("event") == "start"]
    assert starts == [0, 9]
    step = max(complete_steps(plan.folder))
    assert 9 < step < 18
    assert [index for index, _ in read_samples(plan.folder)] == list(range(4 * step))
    client = MlflowClient(resolve_tracking_uri(config))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert recorded.info.status == "KILLED"
    for row in read_rows(plan.folder):
        if "loss" in row:
            check_figures(row)
    # What it would go on with is what the same run without Ray has after as many steps.
    gate.touch()
    oracle = plan_run(replace(config, name="oracle", checkpoint_every=step))
    with pytest.raises(StopIteration):
        fit(oracle, ProcessContext(), up_to(step))
    assert read_samples(plan.folder) == read_samples(oracle.folder)
    expected = load_checkpoint(oracle.folder, step)["model"]
    for key, value in load_checkpoint(plan.folder, step)["model"].items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-6)


def check_figures(row: Row) -> None:
    """Each of two workers on one machine, and the machine once."""
    found = {key.removeprefix("node_0/"): value for key, value in row.items() if "/" in key}
    each = ("samples_per_s", "waiting_for_data", "cpu_utilization_percentage")
    assert found.keys() == {
        *(f"worker_{number}_{name}" for number in (0, 1) for name in each),
        "cpu_utilization_percentage",
        "system_memory_usage_percentage",
    }
    per_s: Any = [found[f"worker_{number}_samples_per_s"] for number in (0, 1)]
    assert all(0 < one <= row["samples_per_s"] for one in per_s)
    assert 0 < found["system_memory_usage_percentage"] < 100


def test_divergence_is_told_and_not_tried_again(ray_cluster: None, config: TrainConfig) -> None:
    config = replace(config, model=f"{NETWORKS}:unstable", network={"at": 8}, num_workers=1)
    with pytest.raises(UserError, match=r"not finite after step 7; .*smaller lr \(it was 0.003\)"):
        run(config)
    rows = read_rows(plan_run(config).folder)
    assert [row["event"] for row in rows if "event" in row] == ["start", "diverged"]


def test_a_damaged_shard_is_named(ray_cluster: None, config: TrainConfig) -> None:
    config = replace(config, num_workers=1)
    plan = plan_run(config)
    shard = plan.root.child("soft", "v1", "split=train", "00000.parquet")
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"training failed: .*soft.*from the start") as caught:
        run(config)
    assert "\n" not in str(caught.value)
    assert newest_group(plan.folder) == 1  # it was not tried again


def test_what_a_reader_is_made_with_fails_in_own_words(
    ray_cluster: None, config: TrainConfig
) -> None:
    """Its constructor's words would be lost in an actor's death."""
    plan = plan_run(config)
    plan.root.child("soft", "v1", "_manifest.json").delete()
    with pytest.raises(UserError, match="there is no dataset 'soft'") as caught:
        next(ray_batches(plan, 0, 1, 0, 4))
    assert "in _samples" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_gpu": True}, "use_gpu=true .* the cluster has 0"),
        (
            {"cpus_per_worker": 0.9, "num_workers": 2},
            "takes 1.8 CPUs and reading the data 0.4 more, .* has 2",
        ),
        ({"model": "nanno"}, "did you mean 'nano'"),
        ({"model": "nano", "network": {"num_kernel": 3}}, "unknown network option 'num_kernel'"),
    ],
)
def test_what_the_cluster_cannot_do_is_told(
    ray_cluster: None, config: TrainConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(replace(config, **changes))
    assert "\n" not in str(caught.value)
