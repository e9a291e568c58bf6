"""Inside a Ray job the working folder is deleted with the job: refuse to write results there."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.errors import UserError

_SET_BY_RAY = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_SCHEMELESS_STORES = ("databricks", "databricks-uc", "uc")


def is_ray_job() -> bool:
    """Tell whether this process is the driver of a Ray job."""
    return _SET_BY_RAY in os.environ


def refuse_lost_path(key: str, path: str) -> None:
    """Raise UserError where a file that a step shall write would go with the folder of a job.

    key: the step's key that holds ``path``, which is a local path or a URL.
    """
    if "://" in path or not is_ray_job() or Path(path).expanduser().is_absolute():
        return
    raise UserError(
        f"{key}={path} is relative, and a Ray job runs in a folder that is deleted; give an "
        f"absolute path or a URL: {key}=/data/{Path(path).name}"
    )


def refuse_lost_store(tracking_uri: str) -> None:
    """Raise UserError where an MLflow store would go with the folder, or the process, of a job."""
    parts = urlsplit(tracking_uri)
    if parts.scheme.startswith("sqlite"):  # sqlite:///relative, sqlite:////absolute
        is_lost = not parts.path.startswith("//")
    elif parts.scheme in ("", "file"):
        is_lost = tracking_uri not in _SCHEMELESS_STORES and not Path(parts.path).is_absolute()
    else:
        is_lost = False
    if is_lost and is_ray_job():
        raise UserError(
            f"the MLflow store {tracking_uri} lies in the folder of this Ray job, which is "
            "deleted; set MLFLOW_TRACKING_URI or tracking_uri to a server or an absolute path"
        )
