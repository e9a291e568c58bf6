"""Records in MLflow that never stop a training run.

What a run measures lies in its own storage first (``pipelines.training.record``). A tracker sends
it to MLflow from a thread of its own: what cannot be sent stays where it is and is sent later, by
this process or by the next one that runs the same command.
"""

import logging
import os
import sqlite3
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import StepConfig
from pipelines.environment import prepare_environment
from pipelines.errors import UnavailableError, UserError
from pipelines.failures import one_line
from pipelines.moved_store import artifacts_beside, follow_move
from pipelines.progress import say
from pipelines.ray_job import is_ray_job, refuse_lost_store
from pipelines.storage import Location, locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "k3dn"
_SQLITE = "sqlite:///"
_ROWS_PER_CALL = 100
_EVERY_S = 3.0

Row = Mapping[str, Any]


STORE_FOLDER, STORE_FILE = "_mlflow", "mlflow.db"


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
    _check_answers(tracking_uri)
    if path := database_of(tracking_uri):
        follow_move(path)
    with _quiet():
        try:
            ensure_experiment(tracking_uri)
        except Exception as error:
            raise UnavailableError(_does_not_answer(tracking_uri, error)) from error


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


class Tracker:
    """One run in MLflow, found by its key: the same key is the same run in every process.

    After ``open`` or ``open_when_there`` nothing here raises but ``open_now`` and ``finish``.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        key: str,
        name: str,
        rows_since: Callable[[int], Sequence[Row]] = lambda step: (),
        pictures: Location | None = None,
        experiment: str = EXPERIMENT,
    ) -> None:
        """rows_since: gives the rows of the run's record from a step on, each with ``step``,
        ``time_ms`` and numbers by name. ``follow`` and ``finish`` send them, so a process that
        finds the run trained already sends what the one before it could not.
        pictures: a folder whose files are sent, too, as they come.
        """
        self._uri, self._key, self._name = tracking_uri, key, name
        self._experiment = experiment
        self._rows_since = rows_since
        self._pictures = pictures
        self._sent_pictures: set[str] = set()
        self._opening: Callable[[], None] = lambda: None
        self._lock = threading.Lock()  # of opening, which two threads may try
        self._client: MlflowClient | None = None
        self._sent_step = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._monitor: Any = None
        self._monitored = False
        self._away = False
        self.run_id = ""
        """The run in MLflow; empty as long as MLflow has not answered."""

    def open_when_there(
        self,
        *,
        parameters: Mapping[str, object],
        tags: Mapping[str, str],
        datasets: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        """As ``open``, but where the store is away the thread of ``follow`` tries again."""
        self._opening = lambda: self._open(parameters, tags, datasets)
        try:
            self.open_now()
        except UserError as error:
            say(f"{error}; until it is back, what run {self._name} measures waits in its folder")

    def open_now(self) -> None:
        """Open the run where it is not open yet. Raises UnavailableError where that fails."""
        with self._lock:
            if self.run_id:
                return
            ensure_store(self._uri)
            with self.told_when_away():
                self._opening()

    @contextmanager
    def told_when_away(self) -> "Iterator[None]":
        """Raise UnavailableError in place of what MLflow, or its network, raises in the block."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            self._away = True
            raise UnavailableError(
                f"{_does_not_answer(self._uri, error)}; nothing is lost: the same command sends "
                "the records when the store is back"
            ) from error

    def open(
        self,
        *,
        parameters: Mapping[str, object],
        tags: Mapping[str, str],
        datasets: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        """Make the run or find it again. Call ``ensure_store`` before.

        datasets: (name, digest, URL) of each dataset version that the run reads. Raises UserError
        where the store does not take the run.
        """
        try:
            self._open(parameters, tags, datasets)
        except Exception as error:  # MLflow's own, and those of the database or the network
            reason = one_line(str(error)) or type(error).__name__
            raise UnavailableError(
                f"the MLflow store {self._uri} does not take run {self._name}: {reason}; check "
                "the store, tracking_uri and MLFLOW_TRACKING_URI, then run the same command again"
            ) from error

    def _open(
        self,
        parameters: Mapping[str, object],
        tags: Mapping[str, str],
        datasets: Sequence[tuple[str, str, str]],
    ) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        experiment = ensure_experiment(self._uri, self._experiment)
        found = client.search_runs([experiment], f"tags.`k3dn.run` = '{self._key}'")
        if found:
            run = found[0]
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = client.create_run(
                experiment, run_name=self._name, tags={**tags, "k3dn.run": self._key}
            )
        run_id = run.info.run_id
        self._sent_step = max(
            (m.step for m in run.data._metric_objs if not m.key.startswith("system/")), default=-1
        )
        # A process that died in between may have left the run without them.
        missing = {k: v for k, v in parameters.items() if k not in run.data.params}
        client.log_batch(run_id, params=[Param(k, str(v)[:6000]) for k, v in missing.items()])
        if datasets and not (run.inputs and run.inputs.dataset_inputs):
            client.log_inputs(run_id, [dataset_input(*dataset) for dataset in datasets])
        if self._pictures is not None:
            there = client.list_artifacts(run_id, self._pictures.name)
            self._sent_pictures = {Path(file.path).name for file in there}
        self._client, self.run_id = client, run_id

    def follow(self) -> None:
        """Send metrics as they come, and those of this machine, until ``finish`` or ``stop``."""
        self._thread = threading.Thread(target=self._send_on, name="k3dn-tracker", daemon=True)
        self._thread.start()

    def stop(self, status: str = "FAILED") -> None:
        """End the thread and mark the run, without raising and without waiting long."""
        self._end_threads()
        if (
            self._away or self._client is None
        ):  # not opened, or known to be away: waiting again helps nobody
            return
        try:
            self._client.set_terminated(self.run_id, status)
        except Exception as error:
            log.warning("MLflow was not told that the run ended: %s", error)

    def finish(self, *, artifacts: Sequence[tuple[Path, str]], tags: Mapping[str, str]) -> None:
        """Send what is left and close the run. Raises UserError where the store is away."""
        self._end_threads()
        with self.told_when_away():
            self._send()
            assert self._client is not None
            for path, folder in artifacts:
                self._client.log_artifact(self.run_id, str(path), folder or None)
            for name, value in tags.items():
                self._client.set_tag(self.run_id, name, value)
            self._client.set_terminated(self.run_id, "FINISHED")
        self._away = False

    def _send_on(self) -> None:
        told = False
        while not self._stop.wait(_EVERY_S):
            try:
                self.open_now()
                if not self._monitored:
                    self._start_system_metrics()
                self._send()
            except Exception as error:
                if not told:
                    log.warning("MLflow is away, its records wait in the run: %s", error)
                told = True
            else:
                told = False

    def _send(self) -> None:
        from mlflow.entities import Metric

        assert self._client is not None
        _check_answers(self._uri)
        rows = [row for row in self._rows_since(self._sent_step) if row["step"] > self._sent_step]
        # The last step may still get rows; it goes when a later one is there, or at the end.
        if rows and not self._stop.is_set():
            rows = [row for row in rows if row["step"] < rows[-1]["step"]]
        for start in range(0, len(rows), _ROWS_PER_CALL):
            part = rows[start : start + _ROWS_PER_CALL]
            metrics = [
                Metric(key, float(value), row["time_ms"], row["step"])
                for row in part
                for key, value in row.items()
                if key not in ("step", "time_ms") and isinstance(value, int | float)
            ]
            for first in range(0, len(metrics), 1000):  # the most that one call may carry
                self._client.log_batch(self.run_id, metrics=metrics[first : first + 1000])
        if rows:
            self._sent_step = rows[-1]["step"]
        if self._pictures is not None:
            self._send_pictures(self._client, self._pictures)

    def _send_pictures(self, client: "MlflowClient", pictures: Location) -> None:
        for name in pictures.list():
            if name not in self._sent_pictures:
                with tempfile.TemporaryDirectory(prefix="k3dn-pictures-") as folder:
                    path = Path(folder, name)
                    path.write_bytes(pictures.child(name).read_bytes())
                    client.log_artifact(self.run_id, str(path), pictures.name)
                self._sent_pictures.add(name)

    def _start_system_metrics(self) -> None:
        self._monitored = True
        with _quiet():
            try:
                from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

                self._monitor = SystemMetricsMonitor(
                    self.run_id, resume_logging=True, tracking_uri=self._uri
                )
                self._monitor.start()
            except Exception as error:  # e.g. psutil cannot read this machine
                log.warning("no system metrics: %s", error)

    def _end_threads(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        if self._monitor is not None:
            with _quiet():
                try:
                    self._monitor.finish()
                except Exception as error:
                    log.warning("system metrics: %s", error)
            self._monitor = None


def dataset_input(name: str, digest: str, url: str, context: str = "training") -> Any:
    """Return a dataset version as MLflow takes the input of a run."""
    from mlflow.data.http_dataset_source import HTTPDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    dataset = MetaDataset(HTTPDatasetSource(url), name=name, digest=short_digest(digest))  # type: ignore[abstract]
    return DatasetInput(
        dataset._to_mlflow_entity(), tags=[InputTag("mlflow.data.context", context)]
    )


def short_digest(digest: str) -> str:
    """Return as much of a digest as MLflow keeps of a dataset's."""
    return digest[:36]


def _check_answers(tracking_uri: str) -> None:
    """Open the file or ask the server for its health: MLflow's own client would try for minutes."""
    try:
        if tracking_uri.startswith(_SQLITE):
            path = Path(tracking_uri.removeprefix(_SQLITE))
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=60)) as database:
                database.execute("PRAGMA schema_version")
        elif tracking_uri.startswith(("http://", "https://")):
            urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=10).close()
    except urllib.error.HTTPError:
        return  # something answers; what it refuses, the client words better
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(_does_not_answer(tracking_uri, error)) from error


def _does_not_answer(tracking_uri: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"the MLflow store {tracking_uri} does not answer: {reason}; check tracking_uri and "
        "MLFLOW_TRACKING_URI"
    )


@contextmanager
def _quiet() -> "Iterator[None]":
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
