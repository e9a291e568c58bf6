"""Many gates that decide about one registered model at once, some of them killed, and what is left.

The scores are known beforehand: a higher version is a better one. Each gate is a process of its
own; one that is killed is started again, as whoever waits for its answer would.
"""

import math
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import k3dn
from pipelines.errors import GateRefused
from pipelines.evaluation import measure, promote
from pipelines.evaluation.config import PromoteConfig
from pipelines.registry.decision import Decision
from pipelines.registry.decisions import DecisionLog
from pipelines.registry.loading import settle
from pipelines.registry.registry import CHAMPION, alias_target, client_of, register
from pipelines.scores import PairScore, Quality
from pipelines.storage import locate


@dataclass
class Outcome:
    """What came of it."""

    kills: int = 0
    killed_with_decision: int = 0
    """Kills after which the log had a decision of the killed process."""
    looks: int = 0
    """How often somebody asked who is champion."""
    champions: list[str] = field(default_factory=list)
    """Who was champion, each time it was another one than at the look before."""
    exits: list[int] = field(default_factory=list)
    """Exit codes of the gates that were not killed: 0, or 3 where the candidate was refused."""


def add_versions(config: PromoteConfig, errors: Sequence[float]) -> list[str]:
    """Register a version for each error that it leaves, and keep its scores."""
    made, uri = [], str(config.tracking_uri)
    model = "tests.pipelines.training.networks:slow"
    for error in errors:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "weights.safetensors")
            k3dn.save_weights(path, k3dn.build_model(model), name=model)
            version = register(
                path, name=config.name, run_id=None, tracking_uri=uri, model=model,
                tags={"error": str(error)},
            )  # fmt: skip
        settled = settle(f"models:/{config.name}/{version}", uri)
        (held,) = measure.plan(config, settled)
        before, after = (Quality(-20 * math.log10(e), 0.5, e, e) for e in (0.2, error))
        scores = [PairScore("bright@v1", f"pair-{i}", before, after) for i in range(2)]
        measure.keep(config, settled, held, scores, 1)
        made.append(version)
    return made


def hold(
    config: PromoteConfig, versions: Sequence[str], kills: int, seed: int, apart_s: float
) -> Outcome:
    """Let a gate decide about each version, all at once, and kill so many of them.

    apart_s: most time between two kills; how long it is, is random.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.pyfunc", "k3dn", "pipelines.evaluation.promote"])
    moments, outcome, ended = random.Random(seed), Outcome(), threading.Event()

    def start(version: str) -> BaseProcess:
        gate = context.Process(target=_decide, args=(replace(config, candidate=version),))
        gate.start()
        return gate

    observer = threading.Thread(target=_observe, args=(config, outcome, ended))
    observer.start()
    try:
        gates = {version: start(version) for version in versions}
        while outcome.kills < kills:
            time.sleep(moments.uniform(0, apart_s))
            running = [version for version, gate in gates.items() if gate.is_alive()]
            if not running:
                break
            version = moments.choice(running)
            gate = gates[version]
            gate.kill()
            gate.join()
            if gate.exitcode != -9:  # it had ended by itself
                outcome.exits.append(gate.exitcode or 0)
                continue
            outcome.kills += 1
            decided = any(d.by.endswith(f":{gate.pid}") for d in log_of(config).read())
            outcome.killed_with_decision += decided
            gates[version] = start(version)
        for gate in gates.values():
            gate.join()
            outcome.exits.append(gate.exitcode or 0)
    finally:
        ended.set()
        observer.join()
    return outcome


def log_of(config: PromoteConfig) -> DecisionLog:
    """The decisions about the model."""
    return DecisionLog(locate(config.root), config.name, str(config.tracking_uri))


def check(config: PromoteConfig, best: str, outcome: Outcome) -> list[Decision]:
    """Hold what is left against what must be; returns the decisions. Raises AssertionError."""
    assert set(outcome.exits) <= {0, 3}, outcome.exits
    result = promote.run(replace(config, candidate=best))  # the next look mends what was left
    assert (result.champion, result.changed) == (best, False), result
    uri = str(config.tracking_uri)
    assert alias_target(config.name, CHAMPION, uri) == best
    decisions = log_of(config).read()
    assert [d.number for d in decisions] == list(range(1, len(decisions) + 1))
    before = [None, *(d.champion_after for d in decisions[:-1])]
    assert [d.champion_before for d in decisions] == before
    promoted = [int(d.candidate) for d in decisions if d.kind == "promoted"]
    assert promoted == sorted(set(promoted)) and {d.kind for d in decisions} <= {
        "promoted",
        "refused",
    }
    assert None not in outcome.champions and set(outcome.champions) <= set(map(str, promoted))
    client = client_of(uri)
    for decision in decisions:
        tags = client.get_model_version(config.name, decision.candidate).tags
        assert tags[f"k3dn.decision.{decision.number:06d}"].startswith(decision.kind)
    experiment = client.get_experiment_by_name("k3dn")
    assert experiment is not None
    asked = f"tags.`k3dn.model` = '{config.name}' and tags.`k3dn.step` = 'decision'"
    runs = client.search_runs([experiment.experiment_id], asked, max_results=1000)
    numbers = sorted(int(run.data.tags["k3dn.decision_key"].split("/")[1]) for run in runs)
    assert numbers == [d.number for d in decisions], f"a run each: {numbers}"
    assert {run.info.status for run in runs} == {"FINISHED"}
    return decisions


def _decide(config: PromoteConfig) -> None:
    try:
        promote.run(config)
    except GateRefused:
        sys.exit(3)


def _observe(config: PromoteConfig, outcome: Outcome, ended: threading.Event) -> None:
    """Ask who is champion, as often as the server answers."""
    while not ended.is_set():
        champion = alias_target(config.name, CHAMPION, str(config.tracking_uri))
        outcome.looks += 1
        if champion is None and not outcome.champions:
            continue
        if outcome.champions[-1:] != [champion]:
            outcome.champions.append(champion)  # type: ignore[arg-type]  # check() looks for None
