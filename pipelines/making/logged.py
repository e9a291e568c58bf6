"""A dataset version in MLflow: its settings, its counts, its contact sheet."""

import tempfile
import time
from pathlib import Path

from pipelines.config import StepConfig
from pipelines.dataset.version import MANIFEST, PREVIEW, read_manifest
from pipelines.errors import UserError
from pipelines.making.plan import digest_of
from pipelines.making.publish import VersionResult
from pipelines.mlflow_store import ensure_store, resolve_tracking_uri
from pipelines.progress import say
from pipelines.storage import locate
from pipelines.tracking import Tracker

EXPERIMENT = "k3dn-datasets"


def log_version(config: StepConfig, result: VersionResult) -> None:
    """Log a published version as one run; where MLflow is away say so, and the next run does it."""
    try:
        _log(resolve_tracking_uri(config), result)
    except (UserError, OSError) as error:
        name = f"{result.dataset}@{result.version}"
        say(f"{name} is made, but is not in MLflow: {error}; the same command logs it later")


def _log(tracking_uri: str, result: VersionResult) -> None:
    name = f"{result.dataset}@{result.version}"
    version = locate(result.location)
    manifest = read_manifest(version)
    assert manifest is not None  # it was published
    counts = {f"pairs_{split}": rows for split, rows in result.rows.items()}
    counts |= {"rejected": result.rejected, "bytes": result.bytes}
    row = {"step": 0, "time_ms": int(time.time() * 1000), **counts}
    tracker = Tracker(
        tracking_uri,
        # Two versions may hold the same bytes: each is logged.
        key=digest_of([name, result.digest, result.location]),
        name=name,
        rows_since=lambda step: [row],
        experiment=EXPERIMENT,
    )
    ensure_store(tracking_uri)
    tracker.open(
        parameters=manifest["config"],
        tags={
            "k3dn.step": "dataset",
            "k3dn.dataset": name,
            "k3dn.digest": result.digest,
            "k3dn.location": result.location,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder) / file, "") for file in (PREVIEW, MANIFEST)]
        for path, _ in files:
            path.write_bytes(version.child(path.name).read_bytes())
        tracker.finish(artifacts=files, tags={})
