"""The search in MLflow: a run, and below it one for each trial, sent as they train."""

import dataclasses
import hashlib
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.config import settings_of, value_text
from pipelines.failures import Terminated
from pipelines.mlflow_store import folder_tag
from pipelines.tracking import Row, Tracker
from pipelines.training.plan import RUNS
from pipelines.training.record import read_rows
from tune.plan import PAGE, SearchPlan
from tune.records import TrialRecord
from tune.space import Combination, shown

log = logging.getLogger(__name__)

_EVERY_S = 3.0
_STATUS = {
    "finished": "FINISHED",
    "stopped": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}


class SearchRuns:
    """The runs of a search and its trials; the same search finds the same runs.

    What a trial measures lies in its own folder first, so what MLflow could not take is sent
    later, by this command or by the next one that goes on with the search.
    """

    def __init__(
        self, plan: SearchPlan, records: Mapping[int, TrialRecord], tracking_uri: str
    ) -> None:
        """records: of the trials that ended, by number; grows while the search runs."""
        self._plan, self._records, self._uri = plan, records, tracking_uri
        self._before = frozenset(records)
        self._search = Tracker(tracking_uri, key=_key(plan, plan.name), name=plan.name)
        self._trials: dict[int, Tracker] = {}
        self._ended: set[int] = set()
        self._finished = False

    def open(self) -> None:
        """Make the search's run or find it again; where MLflow is away, say so and go on."""
        plan = self._plan
        own = settings_of(plan.config)
        self._search.open_when_there(
            parameters={key: value_text(value) for key, value in own.items() if key != "train"},
            tags={"k3dn.folder": folder_tag(plan.root, plan.folder), "k3dn.digest": plan.digest},
        )

    @contextmanager
    def live(self) -> Iterator[None]:
        """While the block runs, send what the trials measure, and when they end."""
        stop = threading.Event()
        thread = threading.Thread(
            target=self._send_on, args=(stop,), name="k3dn-search-runs", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=30)

    def stop(self, error: BaseException) -> None:
        """Mark what did not end, where the search ends with an error; does not raise."""
        if self._finished:
            return
        status = "KILLED" if isinstance(error, KeyboardInterrupt | Terminated) else "FAILED"
        for index, combination in self._plan.combinations().items():
            record, tracker = self._records.get(index), self._trials.get(index)
            try:
                if record is not None and index not in self._before:
                    self._send_trial(combination, record)
                elif tracker is not None:
                    tracker.stop(status)
            except Exception as unsent:  # of MLflow or the network
                log.warning("MLflow was not told how trial %d ended: %s", index + 1, unsent)
        self._search.stop(status)

    def finish(self, ordered: Sequence[TrialRecord], best: TrialRecord) -> str:
        """Send what is left, with the page and the table of trials; return the search's run id.

        Raises UnavailableError where MLflow is away; the same command sends it later.
        """
        plan, metric = self._plan, self._plan.config.metric
        self._search.open_now()
        with self._search.told_when_away():
            for record in ordered:
                self._send_trial(record.combination, record)
            client, run_id = self._client(), self._search.run_id
            client.log_metric(run_id, f"best_{metric}", best.last.value)
        with tempfile.TemporaryDirectory(prefix="k3dn-tune-") as folder:
            path = Path(folder, "trials.json")
            path.write_text(json.dumps([dataclasses.asdict(one) for one in ordered], indent=2))
            page = Path(folder, PAGE)
            page.write_bytes(plan.folder.child(PAGE).read_bytes())
            values = best.combination.values
            self._search.finish(
                artifacts=[(path, ""), (page, "")],
                tags={"k3dn.best_run": best.run}
                | {f"k3dn.best_{key}": shown(value) for key, value in values.items()},
            )
        self._finished = True
        return run_id

    def _send_on(self, stop: threading.Event) -> None:
        told = False
        while not stop.wait(_EVERY_S):
            try:
                self._search.open_now()
                for index, combination in self._plan.combinations().items():
                    if index not in self._before:  # those are sent at the end
                        self._send_trial(combination, self._records.get(index))
            except Exception as error:  # of MLflow, the network, or the storage
                if not told:
                    log.warning("MLflow gets the trials later: %s", error)
                told = True
            else:
                told = False

    def _send_trial(self, combination: Combination, record: TrialRecord | None) -> None:
        """Send what a trial has measured by now; with a record, that it ended."""
        index, plan, metric = combination.index, self._plan, self._plan.config.metric
        if index in self._ended:
            return
        if index not in self._trials:
            training = plan.trial(combination)
            name = training.name or ""
            self._trials[index] = tracker = Tracker(
                self._uri,
                key=_key(plan, name),
                name=name,
                rows_since=lambda step: self._rows(combination, step),
            )
            tracker.open_when_there(
                parameters={key: value_text(value) for key, value in settings_of(training).items()}
                | {key: shown(value) for key, value in combination.values.items()},
                tags={"mlflow.parentRunId": self._search.run_id},
            )
        tracker = self._trials[index]
        tracker.open_now()
        if record is None:
            tracker.send()
            return
        tracker.finish(
            artifacts=(), tags={"k3dn.trial": record.status}, status=_STATUS[record.status]
        )
        if record.scores:
            client, run_id = self._client(), self._search.run_id
            sent = {one.step for one in client.get_metric_history(run_id, metric)}
            if index not in sent:
                client.log_metric(run_id, metric, record.last.value, step=index)
        self._ended.add(index)

    def _rows(self, combination: Combination, step: int) -> list[Row]:
        """A trial's rows, and the scores that it was stopped before it had written."""
        metric = self._plan.config.metric
        run = self._plan.trial(combination).name or ""
        rows: list[Row] = [*read_rows(self._plan.root.child(RUNS, run), max(step, 0))]
        record = self._records.get(combination.index)
        written = {row["step"] for row in rows if metric in row}
        now_ms = int(time.time() * 1000)
        rows += [
            {"step": score.step, "time_ms": now_ms, metric: score.value}
            for score in (record.scores if record is not None else ())
            if score.step > step and score.step not in written
        ]
        return sorted(rows, key=lambda row: int(row["step"]))

    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)


def _key(plan: SearchPlan, name: str) -> str:
    text = f"{plan.folder.url}\n{plan.digest}\n{name}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
