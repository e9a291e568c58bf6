"""Records in MLflow that never stop a training run.

What a run measures lies in its own storage first (``pipelines.training.record``). A tracker sends
it to MLflow from a thread of its own: what cannot be sent stays where it is and is sent later, by
this process or by the next one that runs the same command.
"""

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import UnavailableError, UserError
from pipelines.failures import one_line
from pipelines.mlflow_store import (
    EXPERIMENT,
    check_answers,
    does_not_answer,
    ensure_experiment,
    ensure_store,
    quiet,
)
from pipelines.progress import say
from pipelines.storage import Location

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

_ROWS_PER_CALL = 100
_EVERY_S = 3.0

Row = Mapping[str, Any]


class Tracker:
    """One run in MLflow, found by its key: the same key is the same run in every process.

    After ``open`` or ``open_when_there`` nothing here raises but ``open_now``, ``send`` and
    ``finish``.
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
    def told_when_away(self) -> Iterator[None]:
        """Raise UnavailableError in place of what MLflow, or its network, raises in the block."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            self._away = True
            raise UnavailableError(
                f"{does_not_answer(self._uri, error)}; nothing is lost: the same command sends "
                "the records when the store is back"
            ) from error
        else:
            self._away = False

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
        if self._away or self._client is None:
            return  # known to be away, or not opened: waiting again helps nobody
        try:
            self._client.set_terminated(self.run_id, status)
        except Exception as error:
            log.warning("MLflow was not told that the run ended: %s", error)

    def send(self) -> None:
        """Send what the record has by now, in the calling thread. Raises where that fails."""
        self._send()

    def finish(
        self,
        *,
        artifacts: Sequence[tuple[Path, str]],
        tags: Mapping[str, str],
        status: str = "FINISHED",
    ) -> None:
        """Send what is left and close the run. Raises UserError where the store is away."""
        self._end_threads()
        with self.told_when_away():
            self._send()
            assert self._client is not None
            for path, folder in artifacts:
                self._client.log_artifact(self.run_id, str(path), folder or None)
            for name, value in tags.items():
                self._client.set_tag(self.run_id, name, value)
            self._client.set_terminated(self.run_id, status)
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
        check_answers(self._uri)
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
        with quiet():
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
            with quiet():
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
