"""The tune step: a search over keys of train with Ray Tune on the training step."""

import dataclasses
import json
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.cluster import ray_cluster
from pipelines.config import without_password
from pipelines.environment import prepare_environment
from pipelines.errors import UnavailableError, UserError
from pipelines.lease import lease
from pipelines.mlflow_store import resolve_tracking_uri
from pipelines.next_steps import command
from pipelines.progress import say
from pipelines.training import train
from pipelines.training.config import TrainConfig
from tune.config import TuneConfig
from tune.figures import figures_of
from tune.page import SearchContent, search_page
from tune.plan import PAGE, SearchPlan, claim, plan_search
from tune.records import TrialRecord, best_trial
from tune.report import full_training, train_command
from tune.runs import SearchRuns
from tune.space import grid, names_of, shown

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
    page: str
    """The page with its tables and charts."""
    model: str | None = None
    """Name of the registered model, where the best was trained in full (train_best)."""
    model_version: str | None = None
    """Its new version, now the challenger."""

    def describe(self) -> str:
        """Return the trials as a table, the best marked, and where the result is."""
        keys = list(self.best.combination.values)
        names = [f"{name:>9}" for name in names_of(keys)]
        lines = [f"{'':2}{' '.join(names)} {'steps':>6} {self.metric:>10}"]
        for one in self.trials:
            mark = "*" if one == self.best else ""
            values = [
                f"{shown(one.combination.values[key]):>{len(name)}}"
                for key, name in zip(keys, names, strict=True)
            ]
            score = f"{one.last.step:6} {one.last.value:10.3f}" if one.scores else f"{'':17}"
            lines.append(f"{mark:2}{' '.join(values)} {score}  {one.reason or one.status}")
        lines.append(f"MLflow run {self.run_id} at {self.tracking_uri}")
        lines.append(f"result at {self.result}")
        lines.append(f"page at {self.page}")
        if self.model_version:
            lines.append(f"registered as models:/{self.model}/{self.model_version} (challenger)")
        return "\n".join(lines)

    def next_steps(self) -> list[str]:
        """Return the command that trains the best in full, or judges it where that is done."""
        if not self.model_version:
            return [self.command]
        uri = f"models:/{self.model}/{self.model_version}"
        return [command("evaluate", model=uri), command("promote", name=self.model)]


def run(config: TuneConfig) -> TuneResult:
    """Search, and write down the result. The same command goes on where it stopped.

    Raises UserError for what the user can mend, among it a search in which every trial failed.
    """
    prepare_environment()
    plan = plan_search(config)
    tracking_uri = resolve_tracking_uri(config)
    claim(plan)
    with lease(plan.folder.child("owner"), work=f"search {plan.name}", wait=True):
        return _run_owned(plan, tracking_uri)


def _run_owned(plan: SearchPlan, tracking_uri: str) -> TuneResult:
    records = plan.records()
    runs = SearchRuns(plan, records, tracking_uri)
    runs.open()
    try:
        return _run_tracked(plan, records, runs, tracking_uri)
    except BaseException as error:
        runs.stop(error)
        raise


def _run_tracked(
    plan: SearchPlan, records: dict[int, TrialRecord], runs: SearchRuns, tracking_uri: str
) -> TuneResult:
    config = plan.config
    wanted = config.trials
    if config.sampler == "grid":
        wanted = min(wanted, len(grid(plan.space)))
    say(f"tune: search {plan.name}, {wanted} trials, at {plan.folder}")
    out_of_time = False
    if len(records) < wanted:
        with ray_cluster(config.ray_address), runs.live():
            out_of_time = _search(plan, records, wanted)
    ordered = [records[index] for index in sorted(records)]
    if len(ordered) < wanted and not (out_of_time and ordered):
        raise UserError(
            f"search {plan.name} was stopped after {len(ordered)} of {wanted} "
            "trials; the same command goes on with the others"
        )
    if out_of_time:
        say(f"tune: the time is up after {len(ordered)} of {wanted} trials")
    try:
        best = best_trial(ordered)
    except ValueError:
        raise UserError(
            f"search {plan.name}: every trial failed, the first with: {ordered[0].reason}"
        ) from None
    train_it = train_command(config.train, plan.trial(best.combination))
    page = plan.folder.child(PAGE)
    page.write_bytes(search_page(_content(plan, ordered, best, wanted, train_it)).encode())
    run_id = runs.finish(ordered, best)
    result = TuneResult(
        search=plan.name,
        result=plan.result.url,
        metric=config.metric,
        best=best,
        trials=ordered,
        command=train_it,
        tracking_uri=without_password(tracking_uri),
        run_id=run_id,
        page=page.url,
    )
    plan.result.write_bytes(json.dumps(asdict(result), indent=2).encode())
    if config.train_best:
        say("tune: now the best combination in full")
        trained = train.run(full_training(config.train, plan.trial(best.combination)))
        result = dataclasses.replace(
            result, model=trained.model, model_version=trained.model_version
        )
        plan.result.write_bytes(json.dumps(asdict(result), indent=2).encode())
    return result


def _content(
    plan: SearchPlan, records: list[TrialRecord], best: TrialRecord, wanted: int, train_it: str
) -> SearchContent:
    return SearchContent(
        name=plan.name,
        metric=plan.config.metric,
        space=plan.space,
        sampler=plan.config.sampler,
        steps=plan.config.steps,
        wanted=wanted,
        data=tuple(plan.base.datasets),
        trials=tuple(figures_of(plan, records)),
        best=best.combination.index,
        command=train_it,
    )


def _search(plan: SearchPlan, records: dict[int, TrialRecord], wanted: int) -> bool:
    """Try what is due, and add a record of each trial that ended or failed.

    Returns whether the time budget was spent.
    """
    # Without Ray Tune's own log files, tables and handling of Ctrl-C, which would go on after it.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray
    from ray import tune as ray_tune

    from pipelines.training.room import layout_of
    from tune.chooser import Chooser
    from tune.halving import Rungs
    from tune.room import held_groups, wait_for_room
    from tune.scheduler import RungScheduler
    from tune.trial import run_trial
    from tune.watch import TrialWatch, scores_of

    config = plan.config
    layout = layout_of(_of_one_gpu(config.train))

    def trial(parameters: dict[str, Any]) -> None:
        one = plan.combinations()[parameters["index"]]
        training = dataclasses.replace(
            plan.trial(one),
            num_workers=layout.workers,
            min_workers=None,
            use_gpu=layout.use_gpu,
        )
        run_trial(training, config.metric)

    rungs = Rungs(config.val_every, config.steps, config.reduction_factor)
    rungs.remember({index: scores_of(plan, one) for index, one in plan.combinations().items()})
    chooser = Chooser(plan, records)
    before = held_groups()
    watch = TrialWatch(plan, records)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trial, {"CPU": TRIAL_CPUS}),
        tune_config=ray_tune.TuneConfig(
            metric=config.metric,
            mode="max",
            num_samples=wanted - len(records),
            max_concurrent_trials=config.max_concurrent
            or trials_at_a_time(config.train, layout, ray.cluster_resources()),
            search_alg=chooser,
            scheduler=RungScheduler(rungs, chooser, config.metric),
        ),
        run_config=ray_tune.RunConfig(
            name=f"ray-{secrets.token_hex(4)}",  # what an earlier start left is not this one's
            storage_path=plan.folder.url,
            callbacks=[watch],
            failure_config=ray_tune.FailureConfig(max_failures=config.retries),
            verbose=0,
        ),
    )
    tuner.fit()
    wait_for_room(before)
    if watch.away and all(one.status == "failed" for one in records.values()):
        raise UnavailableError(
            f"search {plan.name}: every trial failed, the first with: {_first(records).reason}; "
            "the same command tries them again"
        )
    return chooser.is_over


def _first(records: Mapping[int, TrialRecord]) -> TrialRecord:
    return records[min(records)]


def _of_one_gpu(train: TrainConfig) -> TrainConfig:
    """Where it is left open, a trial takes one GPU where there are some: trials are many."""
    import ray

    gpus = 0 if train.use_gpu is False else ray.cluster_resources().get("GPU", 0)
    alone = train.num_workers == "auto" and gpus >= 1
    return dataclasses.replace(train, num_workers=1) if alone else train


def trials_at_a_time(train: TrainConfig, layout: "Layout", has: Mapping[str, float]) -> int:
    """How many trials a cluster holds that has so much, workers and readers counted. At least
    one."""
    of_worker = train.cpus_per_worker + train.readers_per_worker * train.cpus_per_reader
    of_trial = TRIAL_CPUS + layout.workers * of_worker
    room = math.floor(has.get("CPU", 0.0) / of_trial)
    if layout.use_gpu:
        of_gpus = layout.workers * train.gpus_per_worker
        room = min(room, math.floor(has.get("GPU", 0.0) / of_gpus + 1e-9))
    return max(1, room)
