"""What MLflow shows of decisions: tags of the version, and a run for each, with its rules."""

import dataclasses
import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING

from pipelines.mlflow_store import ensure_experiment
from pipelines.registry.decision import Decision, decision_text
from pipelines.registry.registry import set_despite_race
from pipelines.tracking import dataset_input

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

APPLIED_TAG = "k3dn.decision"
"""On the registered model: the number of the last decision that MLflow shows."""
KEY_TAG = "k3dn.decision_key"
_TRIES = 5


def record(client: "MlflowClient", name: str, decision: Decision, tracking_uri: str) -> None:
    """Write a decision about a model of that name into MLflow; safe to repeat."""
    from mlflow.exceptions import MlflowException

    words = f"{decision.kind} by decision {decision.number}: {decision.reason}"
    tags = {
        tag_key(decision.number): tag_value(decision),
        "k3dn.gate": words[:4000],
        "k3dn.gate.time": decision.time,
        "k3dn.gate.champion_before": decision.champion_before or "none",
    }
    try:
        for key, value in tags.items():
            set_despite_race(client.set_model_version_tag, name, decision.candidate, key, value)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # deleted since
            raise
    _record_run(client, name, decision, ensure_experiment(tracking_uri))


def _record_run(client: "MlflowClient", name: str, decision: Decision, experiment: str) -> None:
    """Make the run of a decision, or finish the one that somebody began, and leave one.

    MLflow has no put-if-absent: of several processes each may make one. All of them finish the
    first by its time, and delete the others.
    """
    from mlflow.exceptions import MlflowException

    key = f"{name}/{decision.number}/{decision.time}/{decision.by}"
    for tries_left in reversed(range(_TRIES)):
        runs = _runs_of(client, experiment, key)
        if not runs:
            _begin_run(client, experiment, key, name, decision)
            continue
        try:
            if runs[0].info.status != "FINISHED":
                _finish_run(client, runs[0], name, decision)
                continue
        except MlflowException:  # deleted by who had found an earlier one
            if not tries_left:
                raise
            continue
        for run in runs[1:]:
            with suppress(MlflowException):  # deleted by another
                client.delete_run(run.info.run_id)
        return


def _begin_run(
    client: "MlflowClient", experiment: str, key: str, name: str, decision: Decision
) -> None:
    client.create_run(
        experiment,
        run_name=f"{name} decision {decision.number}: {decision.kind}",
        tags={
            "k3dn.step": "decision",
            KEY_TAG: key,
            "k3dn.model": name,
            "k3dn.version": decision.candidate,
            "mlflow.note.content": decision_text(name, decision),
        },
    )


def _finish_run(client: "MlflowClient", run: "Run", name: str, decision: Decision) -> None:
    from mlflow.entities import Metric

    now = run.info.start_time
    metrics = [
        Metric(figure.replace("@", "/"), float(value), now, 0)
        for figure, value in decision.figures.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    client.log_batch(run.info.run_id, metrics=metrics)
    if decision.datasets:
        inputs = [dataset_input(on, sha256, "", "eval") for on, sha256 in decision.datasets]
        client.log_inputs(run.info.run_id, inputs)
    client.log_text(run.info.run_id, decision_text(name, decision), "decision.md")
    content = json.dumps(dataclasses.asdict(decision), indent=1)
    client.log_text(run.info.run_id, content, "decision.json")
    client.set_terminated(run.info.run_id)


def tag_key(number: int) -> str:
    """Return the tag of a version that says how a decision about it came out."""
    return f"{APPLIED_TAG}.{number:06d}"


def tag_value(decision: Decision) -> str:
    """Return what that tag says."""
    return f"{decision.kind}: {decision.reason}"[:4000]


def _runs_of(client: "MlflowClient", experiment: str, key: str) -> list["Run"]:
    """The runs of a decision in one order for all who ask."""
    found = client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'")
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
