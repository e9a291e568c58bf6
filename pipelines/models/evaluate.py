"""``k3dn evaluate``: measure a model on held-out pairs, beside the blurred input."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import UserError
from pipelines.models.config import EvaluateConfig
from pipelines.models.loading import SettledModel, settle
from pipelines.models.measure import measure
from pipelines.models.registry import client_of, experiment_of, open_store
from pipelines.models.scores import TableRow, format_table, table
from pipelines.progress import say
from pipelines.storage import Location
from pipelines.tracking import ensure_store, resolve_tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What ``k3dn evaluate`` found."""

    model: str
    reference: str
    split: str
    rows: tuple[TableRow, ...]
    skipped: int
    """Pairs without a target, which cannot be measured."""
    run_id: str | None
    """The MLflow run with these figures, None where it could not be written."""
    output: str
    """Folder with result.json and pairs.parquet."""

    def describe(self) -> str:
        """Return the table and where the scores of the single pairs lie."""
        lines = [f"{self.reference} on the {self.split} pairs", "", format_table(self.rows), ""]
        if self.skipped:
            lines.append(f"{self.skipped} pairs have no target and were left out")
        return "\n".join([*lines, f"scores of each pair: {self.output}/pairs.parquet"])

    def next_steps(self) -> list[str]:
        """Return what one may run next."""
        if self.reference.startswith("models:/"):
            name, _, version = self.reference.removeprefix("models:/").partition("/")
            return [f"k3dn promote --name {name} --candidate {version}"]
        return []


def run(config: EvaluateConfig) -> EvaluationResult:
    """Measure one model. Raises UserError for a model or dataset that is not there."""
    registered = config.model.startswith("models:/")
    tracking_uri = open_store(config) if registered else resolve_tracking_uri(config)
    model = settle(config.model, tracking_uri, config.factory)
    measured = measure(config, model, tracking_uri)
    rows = table(measured.scores, model.label)
    run_id = _log(config, model, rows, measured.folder, tracking_uri)
    return EvaluationResult(
        model=model.label,
        reference=model.reference,
        split=config.split,
        rows=rows,
        skipped=measured.skipped,
        run_id=run_id,
        output=measured.folder.url,
    )


def _log(
    config: EvaluateConfig,
    model: SettledModel,
    rows: tuple[TableRow, ...],
    folder: Location,
    tracking_uri: str,
) -> str | None:
    """Write the figures into MLflow; the scores are kept all the same where it is away."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    try:
        ensure_store(tracking_uri)
        client = client_of(tracking_uri)
        experiment = experiment_of(client, model.version.run_id if model.version else None)
        logged = _logged_run(client, experiment, model, folder)
        if logged is not None:
            return logged
        run = client.create_run(
            experiment,
            run_name=f"evaluate {model.label}",
            tags={"k3dn.step": "evaluate", "k3dn.evaluation": folder.url},
        )
        metrics = []
        for row in rows:
            side = "output" if row.method == model.label else "input"
            for name in ("psnr", "ssim", "rmse_rel", "mae", "mean_rmse"):
                key = f"{row.dataset.replace('@', '/')}/{side}_{name}"
                value = getattr(row, name)
                if math.isfinite(value):
                    metrics.append(Metric(key, value, run.info.start_time, 0))
        values = {**dataclasses.asdict(config), "model": model.reference}
        client.log_batch(
            run.info.run_id,
            metrics=metrics,
            params=[Param(key, str(value)[:500]) for key, value in values.items()],
            tags=[RunTag("k3dn.model_identity", model.identity)],
        )
        client.set_terminated(run.info.run_id)
    except (MlflowException, UserError, OSError) as error:
        say(f"the figures are not in MLflow ({str(error).splitlines()[0]}); they are in {folder}")
        return None
    return str(run.info.run_id)


def _logged_run(
    client: "MlflowClient", experiment: str, model: SettledModel, folder: Location
) -> str | None:
    """Return the run that has these figures already, None where there is none."""
    runs = client.search_runs(
        [experiment],
        f"tags.`k3dn.model_identity` = '{model.identity}' and attributes.status = 'FINISHED'",
    )
    for run in runs:
        same = run.data.params.get("model") == model.reference[:500]
        if same and run.data.tags.get("k3dn.evaluation") == folder.url:
            return str(run.info.run_id)
    return None
