"""The tune step: a search over lambda_1 and N with Ray Tune on the training step."""

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.cluster import ray_cluster
from pipelines.environment import prepare_environment
from pipelines.errors import UserError
from pipelines.mlflow_store import ensure_store, resolve_tracking_uri
from pipelines.progress import say
from pipelines.training.config import TrainConfig
from tune.config import TuneConfig
from tune.plan import SearchPlan, claim, plan_search
from tune.records import TrialRecord, best_trial
from tune.report import log_search, train_command

if TYPE_CHECKING:
    from pipelines.training.room import Layout

TRIAL_CPUS = 0.1
"""What Ray counts for the process that watches over a trial; it works hardly at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneResult:
    """What a search found."""

    search: str
    """Name of the search."""
    result: str
    """Where the whole result lies, as JSON."""
    metric: str
    best: TrialRecord
    """The trial with the highest metric among those that trained longest."""
    trials: list[TrialRecord]
    """All trials, in the order of the plan."""
    command: str
    """Trains the best combination in full."""
    tracking_uri: str
    run_id: str
    """The search in MLflow; its trials are child runs."""

    def describe(self) -> str:
        """Return the trials as a table, the best marked, and where the result is."""
        lines = [f"{'':2}{'lambda_1':>9} {'N':>4} {'steps':>6} {self.metric:>10}"]
        for one in self.trials:
            mark = "*" if one == self.best else ""
            score = f"{one.last.step:6} {one.last.value:10.3f}" if one.scores else f"{'':17}"
            tail = one.reason or one.status
            lines.append(
                f"{mark:2}{one.combination.lambda_1:9g} {one.combination.num_kernels:4} "
                f"{score}  {tail}"
            )
        lines.append(f"MLflow run {self.run_id} at {self.tracking_uri}")
        lines.append(f"result at {self.result}")
        return "\n".join(lines)

    def next_steps(self) -> list[str]:
        """Return the command that trains the best combination in full."""
        return [self.command]


def run(config: TuneConfig) -> TuneResult:
    """Search, and write down the result. The same command goes on where it stopped.

    Raises UserError for what the user can mend, among it a search in which every trial failed.
    """
    prepare_environment()
    plan = plan_search(config)
    tracking_uri = resolve_tracking_uri(config)
    ensure_store(tracking_uri)
    claim(plan)
    say(f"tune: search {plan.name}, {len(plan.combinations)} trials, at {plan.folder}")
    records = plan.records()
    due = [one.index for one in plan.combinations if one.index not in records]
    if due:
        with ray_cluster(config.ray_address):
            records |= _search(plan, due)
    ordered = [records[one.index] for one in plan.combinations if one.index in records]
    if len(ordered) < len(plan.combinations):
        raise UserError(
            f"search {plan.name} was stopped after {len(ordered)} of {len(plan.combinations)} "
            "trials; the same command goes on with the others"
        )
    if not any(record.scores for record in ordered):
        reason = ordered[0].reason
        raise UserError(f"search {plan.name}: every trial failed, the first with: {reason}")
    best = best_trial(ordered)
    command = train_command(config.train, plan.trials[best.combination.index])
    run_id = log_search(plan, ordered, best, tracking_uri)
    result = TuneResult(
        search=plan.name,
        result=plan.result.url,
        metric=config.metric,
        best=best,
        trials=ordered,
        command=command,
        tracking_uri=tracking_uri,
        run_id=run_id,
    )
    plan.result.write_bytes(json.dumps(asdict(result), indent=2).encode())
    return result


def _search(plan: SearchPlan, due: list[int]) -> dict[int, TrialRecord]:
    """Try the combinations that are due; return a record of each that ended or failed."""
    # Without Ray Tune's own log files, tables and handling of Ctrl-C, which would go on after it.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler

    from pipelines.training.room import layout_of
    from tune.room import held_groups, wait_for_room
    from tune.trial import RUNG, run_trial
    from tune.watch import TrialWatch

    config, trials = plan.config, plan.trials

    def trial(parameters: dict[str, Any]) -> None:
        run_trial(trials[parameters["index"]], config.metric)

    watch = TrialWatch(plan)
    before = held_groups()
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trial, {"CPU": TRIAL_CPUS}),
        param_space={"index": ray_tune.grid_search(due)},
        tune_config=ray_tune.TuneConfig(
            metric=config.metric,
            mode="max",
            max_concurrent_trials=config.max_concurrent
            or _trials_at_a_time(config.train, layout_of(config.train)),
            scheduler=ASHAScheduler(
                time_attr=RUNG,
                grace_period=config.val_every,
                max_t=config.steps,
                reduction_factor=config.reduction_factor,
            ),
        ),
        run_config=ray_tune.RunConfig(
            name="ray", storage_path=plan.folder.url, callbacks=[watch], verbose=0
        ),
    )
    tuner.fit()
    wait_for_room(before)
    return watch.records


def _trials_at_a_time(train: TrainConfig, layout: "Layout") -> int:
    """How many trials the cluster holds, workers and readers counted. At least one."""
    import ray

    of_worker = train.cpus_per_worker + train.readers_per_worker * train.cpus_per_reader
    of_trial = TRIAL_CPUS + layout.workers * of_worker
    resources = ray.cluster_resources()
    room = math.floor(resources.get("CPU", 0.0) / of_trial)
    if layout.use_gpu:
        room = min(room, math.floor(resources.get("GPU", 0.0) / layout.workers))
    return max(1, room)
