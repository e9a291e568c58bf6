"""The result of a search: the command that trains the best, and the record in MLflow."""

import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.config import SHARED_KEYS, as_dict, value_text, without_password
from pipelines.errors import UserError
from pipelines.mlflow_store import folder_tag
from pipelines.next_steps import command
from pipelines.tracking import Tracker
from pipelines.training.config import TrainConfig
from pipelines.training.plan import RUNS
from pipelines.training.record import read_rows
from tune.plan import PAGE, SearchPlan
from tune.records import TrialRecord
from tune.space import shown

_STATUS = {
    "finished": "FINISHED",
    "stopped": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}
_METRICS_PER_CALL = 1000
_SET_BY_SEARCH = ("name", "steps", "val_every", "register")


def full_training(train: TrainConfig, trial: TrainConfig) -> TrainConfig:
    """Return the training of what ``trial`` tried, as long as ``train`` says, and registered."""
    kept = {key: getattr(train, key) for key in _SET_BY_SEARCH}
    return dataclasses.replace(trial, **kept)


def train_command(train: TrainConfig, trial: TrainConfig) -> str:
    """Return the command of ``full_training``."""
    full = full_training(train, trial)
    keys = {"root": full.root, **dict(_changed(as_dict(full), as_dict(TrainConfig())))}
    return command("train", **keys)


def _changed(
    values: Mapping[str, Any], defaults: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the keys that have another value than their default, dotted, as they are typed."""
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, Mapping):
            yield from _changed(value, default or {}, f"{above}{key}.")
        elif key not in defaults or value != default:
            yield above + key, value_text(value)


def log_search(
    plan: SearchPlan, records: Sequence[TrialRecord], best: TrialRecord, tracking_uri: str
) -> str:
    """Log the search as a run and each trial as its child; return the search's run id.

    A second call with the same search finds the same runs. Raises UserError where the store is
    away; the records stay in the search's folder, so the same command sends them later.
    """
    try:
        return _log(plan, records, best, tracking_uri)
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the MLflow store {without_password(tracking_uri)} does not take the search: "
            f"{reason}; nothing is lost: the same command sends it when the store is back"
        ) from error


def _log(
    plan: SearchPlan, records: Sequence[TrialRecord], best: TrialRecord, tracking_uri: str
) -> str:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    metric = plan.config.metric
    search = Tracker(tracking_uri, key=_key(plan, plan.name), name=plan.name)
    own = {key: value for key, value in as_dict(plan.config).items() if key not in SHARED_KEYS}
    search.open(
        parameters={key: value_text(value) for key, value in own.items() if key != "train"},
        tags={"k3dn.folder": folder_tag(plan.root, plan.folder), "k3dn.digest": plan.digest},
    )
    for record in records:
        trial = plan.trial(record.combination)
        child = Tracker(tracking_uri, key=_key(plan, record.run), name=record.run)
        child.open(
            parameters={k: value_text(v) for k, v in as_dict(trial).items()}
            | {key: shown(value) for key, value in record.combination.values.items()},
            tags={"mlflow.parentRunId": search.run_id, "k3dn.trial": record.status},
        )
        rows = read_rows(plan.root.child(RUNS, record.run))
        metrics = [Metric(*one) for row in rows for one in _numbers(row)]
        # A trial that was stopped may not have written its last rows yet, or ever.
        written, now_ms = {row["step"] for row in rows if metric in row}, int(time.time() * 1000)
        metrics += [
            Metric(metric, score.value, now_ms, score.step)
            for score in record.scores
            if score.step not in written
        ]
        for first in range(0, len(metrics), _METRICS_PER_CALL):
            client.log_batch(child.run_id, metrics=metrics[first : first + _METRICS_PER_CALL])
        client.set_terminated(child.run_id, _STATUS[record.status])
        if record.scores:
            client.log_metric(
                search.run_id, metric, record.last.value, step=record.combination.index
            )
    client.log_metric(search.run_id, f"best_{metric}", best.last.value)
    with tempfile.TemporaryDirectory(prefix="k3dn-tune-") as folder:
        path = Path(folder, "trials.json")
        path.write_text(json.dumps([dataclasses.asdict(record) for record in records], indent=2))
        page = Path(folder, PAGE)
        page.write_bytes(plan.folder.child(PAGE).read_bytes())
        search.finish(
            artifacts=[(path, ""), (page, "")],
            tags={"k3dn.best_run": best.run}
            | {f"k3dn.best_{key}": shown(value) for key, value in best.combination.values.items()},
        )
    return search.run_id


def _numbers(row: Mapping[str, Any]) -> list[tuple[str, float, int, int]]:
    return [
        (key, float(value), row["time_ms"], row["step"])
        for key, value in row.items()
        if key not in ("step", "time_ms") and isinstance(value, int | float)
    ]


def _key(plan: SearchPlan, name: str) -> str:
    text = f"{plan.folder.url}\n{plan.digest}\n{name}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
