"""A dataset version in MLflow: its settings, its counts, its contact sheet."""

import tempfile
from pathlib import Path

from pipelines.config import StepConfig
from pipelines.dataset.publish import PREVIEW, VersionResult
from pipelines.dataset.version import MANIFEST, read_manifest
from pipelines.errors import UserError
from pipelines.failures import one_line
from pipelines.progress import say
from pipelines.storage import locate
from pipelines.tracking import ensure_experiment, ensure_store, resolve_tracking_uri

EXPERIMENT = "k3dn-datasets"


def log_version(config: StepConfig, result: VersionResult) -> None:
    """Log a published version once; where MLflow is away say so, and the next run does it."""
    from mlflow.exceptions import MlflowException

    try:
        _log(resolve_tracking_uri(config), result)
    except (MlflowException, UserError, OSError) as error:
        say(
            f"{result.dataset}@{result.version} is not in MLflow ({one_line(str(error))}); the "
            "same command logs it when the store is back"
        )


def _log(tracking_uri: str, result: VersionResult) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    ensure_store(tracking_uri)
    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    experiment = ensure_experiment(tracking_uri, EXPERIMENT)
    name = f"{result.dataset}@{result.version}"
    # Two versions may hold the same bytes: each is logged.
    same = (
        f"tags.`k3dn.digest` = '{result.digest}' and tags.`k3dn.dataset` = '{name}' "
        "and attributes.status = 'FINISHED'"
    )
    found = client.search_runs([experiment], same)
    if any(run.data.tags.get("k3dn.location") == result.location for run in found):
        return
    version = locate(result.location)
    manifest = read_manifest(version)
    assert manifest is not None  # it was published
    tags = {
        "k3dn.step": "dataset",
        "k3dn.dataset": name,
        "k3dn.digest": result.digest,
        "k3dn.location": result.location,
    }
    run = client.create_run(experiment, run_name=name, tags=tags)
    counts = {f"pairs_{split}": rows for split, rows in result.rows.items()}
    counts |= {"rejected": result.rejected, "bytes": result.bytes}
    now_ms = run.info.start_time
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(key, float(value), now_ms, 0) for key, value in counts.items()],
        params=[Param(key, str(value)[:6000]) for key, value in manifest["config"].items()],
    )
    with tempfile.TemporaryDirectory() as folder:
        for file in (PREVIEW, MANIFEST):
            path = Path(folder) / file
            path.write_bytes(version.child(file).read_bytes())
            client.log_artifact(run.info.run_id, str(path))
    client.set_terminated(run.info.run_id)
