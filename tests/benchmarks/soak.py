"""Training whose processes and services are killed at random moments, again and again.

    python -m tests.benchmarks.soak [KIND...] [times=10] [seed=0] [results=build/soak.jsonl]

For each kind one run of ``k3dn train`` over a real MLflow server and a real S3 server, or a small
file system where that fills up; the moments are random in a window behind a new checkpoint. A
command that ended is given again. In the end the run is held against the same one in this process,
never disturbed: samples, weights, MLflow's record, one registered version; and each group of
workers began at the newest checkpoint there was at the blow, or later. Prints a line a kind, writes
it to the results, and leaves out what is there already; fails where anything differs.
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from pipelines.training.checkpoint import complete_steps
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.groups import newest_group, read_beginnings
from pipelines.training.keeper import WEIGHTS
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit, read_outcome
from pipelines.training.plan import RunPlan, plan_run
from pipelines.training.record import read_rows, read_samples
from tests.benchmarks.soak_places import (
    Command,
    JobCommand,
    Nodes,
    ProcessCommand,
    Strike,
    away,
    cluster,
    disk_full,
    job_stopped,
    servers,
    signalled,
    small_disk,
    worker_killed,
)
from tests.pipelines.training.networks import HOLD
from tests.pipelines.training.versions import write_small_datasets
from tests.storage.server import Server

ENDS = {
    "worker": {"0"},
    "node": {"0"},
    "driver": {"0", "-9"},
    "s3": {"0"},
    "mlflow": {"0"},
    "term": {"0", "143"},
    "job": {"SUCCEEDED", "STOPPED"},
    "disk": {"0"},
}
"""How the commands of each kind may end."""
CHECKPOINT_EVERY = 5
STEPS_PER_KILL = 40
"""Of 0.15 s each. The run stands still where it has made so many since the last blow, so that on a
machine however busy each blow meets it, and the last one before its end."""
AFTER_S = (0.0, 4.0)
"""How long behind a new checkpoint something is killed, at random."""


def training(kind: str, times: int, root: str, gate: Path) -> TrainConfig:
    """A run long enough for so many kills, whose steps take no time any more behind the last.

    gate: a file that says so.
    """
    config = TrainConfig(
        root=root,
        tracking_uri=os.environ["MLFLOW_TRACKING_URI"],
        datasets=["soft", "real@v1*3"],
        model="tests.pipelines.training.networks:hurried",
        network={"gate": str(gate)},
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
    if kind == "node":  # so that a node of one CPU has room for one worker
        return replace(config, min_workers=1, cpus_per_worker=0.8)
    return config


@dataclass(frozen=True, slots=True)
class Blow:
    """What stood when something was killed."""

    group: int
    """The number of the group of workers that was at work."""
    safe_step: int
    """The newest complete checkpoint."""


class Disturber:
    """Kills, each time behind a new checkpoint, as often as it is told."""

    def __init__(
        self, plan: RunPlan, strike: Strike, times: int, chance: random.Random, gate: Path
    ) -> None:
        """gate: a file that is made when there are no kills left."""
        self._plan, self._strike, self._chance, self._gate = plan, strike, chance, gate
        self._hold = Path(f"{gate}{HOLD}")
        self._may_reach, self._seen = STEPS_PER_KILL, 0
        self._left = times
        self.blows: list[Blow] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """Kill until there are no kills left, or the training ended."""
        threading.Thread(target=self._hold_back, daemon=True).start()
        try:
            self._run()
        finally:
            self._gate.touch()

    def _run(self) -> None:
        reached = 0
        while self._left and not self.ended.wait(0.2):
            step = self._step()
            if step < reached + CHECKPOINT_EVERY:
                continue
            if self.ended.wait(self._chance.uniform(*AFTER_S)):
                return
            run = self._plan.folder
            blow = Blow(newest_group(run), max(complete_steps(run), default=0))
            self._may_reach = (len(self.blows) + 2) * STEPS_PER_KILL
            self._hold.unlink(missing_ok=True)  # a signal is heard behind a step
            if self._strike(self._chance):
                reached = step
                self.blows.append(blow)
                self._left -= 1

    def _hold_back(self) -> None:
        """Let the run stand still where it is far ahead of the blows."""
        while not self._gate.exists():
            with suppress(Exception):  # the storage is away, by a blow
                if self._step() >= self._may_reach:
                    self._hold.touch()
            time.sleep(0.5)  # poll of other processes

    def _step(self) -> int:
        rows = read_rows(self._plan.folder, self._seen)
        self._seen = max((row["step"] for row in rows), default=0)
        return self._seen


def soak(kind: str, times: int, seed: int, s3: Server, mlflow: Server) -> dict[str, Any]:
    """Train under one kind of kill; return what came of it. Raises AssertionError."""
    log = Path(tempfile.gettempdir(), f"k3dn-soak-{kind}.log")
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk()) if kind == "disk" else None
        root = "s3://k3dn/data" if disk is None else str(disk / "data")
        write_small_datasets(root)
        gate = Path(stack.enter_context(tempfile.TemporaryDirectory()), "gate")
        config = training(kind, times, root, gate)
        plan = plan_run(config)
        words = command_of(config)
        command: Command
        strike: Strike
        if kind == "job":
            _, dashboard = stack.enter_context(cluster(cpus=2))
            command = job = JobCommand(words, log, dashboard)
            strike = job_stopped(job)
        else:
            if kind == "node":
                nodes, _ = stack.enter_context(cluster(cpus=1))
                words.append(f"ray_address={nodes.address}")
                strike = Nodes(nodes, plan)
            command = one = ProcessCommand(words, log)
            if kind in ("driver", "term"):
                number = signal.SIGKILL if kind == "driver" else signal.SIGTERM
                strike = signalled(one, number)
            elif kind == "worker":
                strike = worker_killed(one)
            elif kind in ("s3", "mlflow"):
                server = s3 if kind == "s3" else mlflow
                strike = away(server.kill, server.start)
            elif disk is not None:
                strike = disk_full(disk)
        chance = random.Random(f"{kind}/{seed}")
        disturber = Disturber(plan, strike, times, chance, gate)
        ends, blows, took_s = disturbed(command, disturber, times)
        assert set(ends) <= ENDS[kind], f"{kind}: the commands ended with {ends}"
        check(plan, config)
        begun = read_beginnings(plan.folder).steps
        for blow in blows:
            after = [step for group, step in begun.items() if group > blow.group]
            assert min(after, default=config.steps) >= blow.safe_step, (kind, blow, begun)
        return {
            "kind": kind,
            "times": times,
            "seed": seed,
            "commands": len(ends),
            "groups": len(begun),
            "steps": config.steps,
            "took_s": round(took_s),
        }


def disturbed(
    command: Command, disturber: Disturber, times: int
) -> tuple[list[str], list[Blow], float]:
    """Give the command until the run is done; return how each ended, the blows, the seconds.

    The commands wait in a thread, as Ray adds nodes in the main thread only. What fails in either
    is raised.
    """
    begun_s = time.monotonic()

    def given() -> list[str]:
        ends: list[str] = []
        try:
            while not ends or ends[-1] not in ("0", "SUCCEEDED"):
                assert len(ends) <= 2 * times + 2, f"it does not end: {ends}"
                command.start()
                ends.append(command.wait())
        finally:
            disturber.ended.set()
        return ends

    with ThreadPoolExecutor(max_workers=1) as pool:
        ends = pool.submit(given)
        disturber.run()
        found = ends.result()
    assert len(disturber.blows) == times, f"{len(disturber.blows)} of {times} blows"
    return found, disturber.blows, time.monotonic() - begun_s


def check(plan: RunPlan, config: TrainConfig) -> None:
    """Hold the run against the same one without Ray, never disturbed."""
    from mlflow import MlflowClient

    alone = plan_run(replace(config, name=f"alone-{config.steps}"))
    if read_outcome(alone.folder) is None:  # else of a kind before
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


def command_of(config: TrainConfig) -> list[str]:
    """The command of a configuration: the keys that differ from their defaults."""
    words = [sys.executable, "-m", "pipelines", "train"]
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if isinstance(value, dict):
            words += [f"{name}.{key}={inner}" for key, inner in value.items()]
        elif value != getattr(TrainConfig(), name):
            words.append(f"{name}={','.join(value) if isinstance(value, list) else value}")
    return words


def main() -> int:
    """Run the kinds that are named; all where none is."""
    options = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    kinds = [word for word in sys.argv[1:] if "=" not in word] or list(ENDS)
    times, seed = int(options.get("times", 10)), int(options.get("seed", 0))
    results = Path(options.get("results", "build/soak.jsonl"))
    results.parent.mkdir(parents=True, exist_ok=True)
    there = results.read_text().splitlines() if results.exists() else []
    done = {(row["kind"], row["times"], row["seed"]) for row in map(json.loads, there)}
    os.environ |= {"PYTHONPATH": str(Path.cwd()), "RAY_AUTH_MODE": "disabled"}
    # As the manifests set it; Ray's own three seconds are less than a checkpoint may take.
    os.environ["RAY_JOB_STOP_WAIT_TIME_S"] = "60"
    with servers() as (s3, mlflow):
        for kind in [kind for kind in kinds if (kind, times, seed) not in done]:
            line = json.dumps(soak(kind, times, seed, s3, mlflow))
            with results.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
