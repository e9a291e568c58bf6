"""Where MLflow's records lie: which store a step has, whether it answers, what it calls folders."""

import logging
import os
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.config import StepConfig, without_password
from pipelines.environment import prepare_environment
from pipelines.errors import UnavailableError, UserError
from pipelines.moved_store import artifacts_beside, follow_move
from pipelines.ray_job import is_ray_job, refuse_lost_store
from pipelines.storage import Location, locate

EXPERIMENT = "k3dn"
STORE_FOLDER, STORE_FILE = "_mlflow", "mlflow.db"
_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql")
_TRANSACTION = ("BEGIN TRANSACTION;", "COMMIT;")


def store_below(root: Location) -> str | None:
    """Return the SQLite store that a local root has where nothing else is named; else None."""
    path = root.local_path()
    return f"{_SQLITE}{path / STORE_FOLDER / STORE_FILE}" if path else None


def folder_tag(root: Location, folder: Location) -> str:
    """Return how a run in MLflow names a folder: below a local root by the rest of its path.

    So a root that is moved keeps its runs, and a path of one machine stays on it.
    """
    if root.local_path() is None:
        return folder.url
    return folder.url.removeprefix(root.url.rstrip("/") + "/")


def shared_url(location: Location) -> str:
    """Return a URL that means the same everywhere; '' for a folder, which is one machine's."""
    return "" if location.local_path() is not None else location.url


def tagged_folder(root: Location, tag: str) -> Location:
    """Return the folder that a run names (``folder_tag``), or named by its whole path once."""
    whole = "://" in tag or tag.startswith("/")
    return Location(tag) if whole else root.child(tag)


def resolve_tracking_uri(config: StepConfig) -> str:
    """Return the MLflow store of a step.

    The configuration's, else MLFLOW_TRACKING_URI, else a SQLite file under a local root, else one
    in the working folder. Raises UserError where that would be the folder of a Ray job, which is
    deleted with it.
    """
    named = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if named:
        refuse_lost_store(named)
        return named
    root = locate(config.root)
    below = store_below(root)
    if below is None and is_ray_job():
        raise UserError(
            f"with root {config.root} the MLflow store would lie in the folder of this Ray job, "
            "which is deleted; set MLFLOW_TRACKING_URI (or tracking_uri) to your MLflow server"
        )
    path = (below or str(Path(STORE_FILE).absolute())).removeprefix(_SQLITE)
    if taken := sorted(set("%?#") & set(path)):
        raise UserError(
            f"the MLflow store would lie at {path}, and a SQLite URL cannot hold "
            f"{' '.join(taken)}; take a folder of another name, or set tracking_uri"
        )
    return f"{_SQLITE}{path}"


def is_missing(tracking_uri: str) -> bool:
    """Tell whether a store is a SQLite file that is not there: to look into it would make it."""
    path = database_of(tracking_uri)
    return path is not None and not path.exists()


def database_of(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite store; None where the store is none."""
    path = tracking_uri.removeprefix(_SQLITE)
    return None if path in ("", tracking_uri) else Path(path)


def ensure_store(tracking_uri: str) -> None:
    """Touch a store once, so that its tables are there before several processes use it.

    Raises UserError where it does not answer.
    """
    prepare_environment()
    check_answers(tracking_uri)
    if path := database_of(tracking_uri):
        follow_move(path)
    with quiet():
        try:
            if path:
                _ensure_tables(path)
            ensure_experiment(tracking_uri)
        except Exception as error:
            raise UnavailableError(does_not_answer(tracking_uri, error)) from error


def _ensure_tables(database: Path) -> None:
    """Give an empty SQLite file MLflow's tables, in one transaction.

    MLflow alone makes them in some fifty: killed in between, it leaves a file that it refuses.
    """
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        if not _is_empty(connection):
            return
        statements = _statements_of_tables()
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection):  # no other process was faster
            for statement in statements:
                connection.execute(statement)
        connection.execute("COMMIT")


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@cache
def _statements_of_tables() -> tuple[str, ...]:
    """The SQL that makes a store as MLflow makes it, made once a process."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="k3dn-tables-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, STORE_FILE)
        MlflowClient(tracking_uri=f"{_SQLITE}{path}")
        with closing(sqlite3.connect(path)) as made:
            return tuple(line for line in made.iterdump() if line not in _TRANSACTION)


def ensure_experiment(tracking_uri: str, name: str = EXPERIMENT) -> str:
    """Return the id of an experiment, making it where it is not there.

    With a SQLite file its artifacts lie beside it; MLflow alone would put them into whatever
    folder the command was called from.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        artifacts = None
        if tracking_uri.startswith(_SQLITE):
            artifacts = artifacts_beside(Path(tracking_uri.removeprefix(_SQLITE)))
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def check_answers(tracking_uri: str) -> None:
    """Open the file or ask the server for its health: MLflow's own client would try for minutes."""
    try:
        if tracking_uri.startswith(_SQLITE):
            path = Path(tracking_uri.removeprefix(_SQLITE))
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=60)) as database:
                database.execute("PRAGMA schema_version")
        elif tracking_uri.startswith(("http://", "https://")):
            parts = urlsplit(tracking_uri)  # urllib takes no user and password in an address
            host = parts.netloc.rpartition("@")[2]
            health = parts._replace(netloc=host, path=f"{parts.path.rstrip('/')}/health")
            urllib.request.urlopen(health.geturl(), timeout=10).close()
        elif tracking_uri.startswith(_DATABASES):
            import sqlalchemy

            wait = {"connect_timeout": 10}
            engine = sqlalchemy.create_engine(tracking_uri, connect_args=wait)
            try:
                engine.connect().close()
            except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
                raise UnavailableError(does_not_answer(tracking_uri, error)) from error
            finally:
                engine.dispose()
    except urllib.error.HTTPError:
        return  # something answers; what it refuses, the client words better
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(does_not_answer(tracking_uri, error)) from error


def does_not_answer(tracking_uri: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"the MLflow store {without_password(tracking_uri)} does not answer: {reason}; check "
        "tracking_uri and MLFLOW_TRACKING_URI"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow and alembic tell of every table that they make: keep them quiet for the block."""
    names = ("alembic", "mlflow.store.db.utils", "mlflow.system_metrics")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
