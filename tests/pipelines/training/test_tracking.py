"""Records in MLflow, on a real SQLite store: complete, not doubled, and never in the way."""

import logging
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines import mlflow_store, tracking
from pipelines.config import StepConfig
from pipelines.errors import UnavailableError, UserError
from pipelines.mlflow_store import ensure_store, resolve_tracking_uri
from pipelines.storage import locate
from pipelines.tracking import Tracker
from pipelines.training import train
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows

Rows = list[dict]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/_mlflow/mlflow.db"
    ensure_store(uri)
    return uri


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
    monkeypatch.setattr(tracking, "_EVERY_S", 0.05)


def opened(uri: str, key: str, record: Callable[[int], Rows] = lambda step: []) -> Tracker:
    tracker = Tracker(uri, key=key, name=f"run {key}", rows_since=record)
    tracker.open(
        parameters={"lr": 1e-3, "network.width": 4},
        tags={"k3dn.folder": "somewhere"},
        datasets=[("soft@v1", "f" * 64, "data/soft/v1")],
    )
    return tracker


def rows(*steps: int) -> Rows:
    return [{"step": s, "time_ms": 1000 + s, "loss": 1 / s, "event": "x"} for s in steps]


def history(uri: str, run_id: str, key: str = "loss") -> list[tuple[int, float, int]]:
    found = MlflowClient(uri).get_metric_history(run_id, key)
    return sorted((m.step, m.value, m.timestamp) for m in found)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "nothing happened for a minute"
        time.sleep(0.02)  # poll of MLflow's store, which tells nobody


@contextmanager
def away(uri: str) -> Iterator[None]:
    """The store answers with errors. (A lock would do as well, but MLflow waits 20 s for it.)"""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute("ALTER TABLE runs RENAME TO runs_away")
        try:
            yield
        finally:
            database.execute("ALTER TABLE runs_away RENAME TO runs")


@contextmanager
def refusing(table: str, uri: str) -> Iterator[None]:
    """The store answers, but takes no new rows into one table."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'the store is being mended'); END"
        )
        try:
            yield
        finally:
            database.execute("DROP TRIGGER refuse")


def test_the_store_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = str(tmp_path / "data")
    assert resolve_tracking_uri(StepConfig(root=root)) == f"sqlite:///{root}/_mlflow/mlflow.db"
    monkeypatch.chdir(tmp_path)
    assert resolve_tracking_uri(StepConfig(root="memory://r")) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert resolve_tracking_uri(StepConfig(root=root)) == "http://server"
    assert resolve_tracking_uri(StepConfig(root=root, tracking_uri="http://own")) == "http://own"


@pytest.mark.parametrize(
    ("root", "named"),
    [
        ("memory://r", None),
        ("/data", "sqlite:///mlflow.db"),
        ("/data", "sqlite://"),
        ("/data", "file:mlruns"),
        ("/data", "./mlruns"),
    ],
)
def test_a_store_that_goes_with_the_folder_of_a_ray_job_is_refused(
    monkeypatch: pytest.MonkeyPatch, root: str, named: str | None
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = StepConfig(root=root, tracking_uri=named)
    assert resolve_tracking_uri(config)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI") as caught:
        resolve_tracking_uri(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "named", [None, "sqlite:////data/m.db", "file:///data/m", "/data/m", "http://m", "databricks"]
)
def test_a_store_that_stays_is_taken_inside_a_ray_job(
    monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    config = StepConfig(root="/data", tracking_uri=named)
    assert resolve_tracking_uri(config) == (named or "sqlite:////data/_mlflow/mlflow.db")


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{uri} does not answer.*check tracking_uri"):
            ensure_store(uri)


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be looked at " * 30)
    with pytest.raises(UserError, match="does not answer") as caught:
        ensure_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert "\n" not in str(caught.value)


def test_artifacts_lie_beside_the_store(uri: str) -> None:
    experiment = MlflowClient(uri).get_experiment_by_name(mlflow_store.EXPERIMENT)
    folder = Path(uri.removeprefix("sqlite:///")).parent
    assert experiment.artifact_location == (folder / "artifacts").as_uri()


def test_a_run_is_recorded(uri: str, tmp_path: Path) -> None:
    record = rows(1, 2, 3)
    tracker = opened(uri, "recorded", lambda step: record)
    tracker.follow()
    until(lambda: len(history(uri, tracker.run_id)) == 2)  # the last step may still get rows
    record.append({"step": 3, "time_ms": 1500, "val_psnr": 30.0})
    until(lambda: bool(history(uri, tracker.run_id, "system/system_memory_usage_percentage")))
    (tmp_path / "note.txt").write_text("note")
    tracker.finish(artifacts=[(tmp_path / "note.txt", "notes")], tags={"k3dn.weights": "w"})
    client = MlflowClient(uri)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.001", "network.width": "4"}
    assert run.data.tags["k3dn.weights"] == "w"
    assert history(uri, tracker.run_id) == [(s, 1 / s, 1000 + s) for s in (1, 2, 3)]
    assert history(uri, tracker.run_id, "val_psnr") == [(3, 30.0, 1500)]
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("soft@v1", "f" * 36)
    assert "data/soft/v1" in dataset.source
    assert [f.path for f in client.list_artifacts(tracker.run_id, "notes")] == ["notes/note.txt"]


def test_the_same_command_goes_on_with_the_run(uri: str) -> None:
    first = opened(uri, "again", lambda step: rows(1, 2, 3))
    first.follow()
    until(lambda: len(history(uri, first.run_id)) == 2)
    first.stop()  # its process dies after step 2 was sent; it then starts again from step 1
    later = [{**row, "time_ms": 9000} for row in rows(2, 3, 4)]
    again = opened(uri, "again", lambda step: later)
    assert again.run_id == first.run_id
    again.follow()
    again.finish(artifacts=[], tags={})
    assert [step for step, _, _ in history(uri, first.run_id)] == [1, 2, 3, 4]
    assert len(MlflowClient(uri).get_run(first.run_id).inputs.dataset_inputs) == 1


def test_an_outage_delays_the_records_and_nothing_else(
    uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = rows(1, 2)
    tracker = opened(uri, "outage", lambda step: record)
    with caplog.at_level(logging.WARNING, "pipelines.tracking"), away(uri):
        tracker.follow()
        until(lambda: "MLflow is away" in caplog.text)
        record.extend(rows(3, 4))
    until(lambda: len(history(uri, tracker.run_id)) == 3)
    with away(uri):
        with pytest.raises(UserError, match="nothing is lost: the same command"):
            tracker.finish(artifacts=[], tags={})
        tracker.stop()  # what the driver does next; it must not raise
    again = opened(uri, "outage", lambda step: record)
    again.finish(artifacts=[], tags={})
    assert [step for step, _, _ in history(uri, tracker.run_id)] == [1, 2, 3, 4]


def test_a_store_that_is_away_at_the_start_gets_all_when_it_is_back(
    uri: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures = locate(str(tmp_path / "pictures"))
    pictures.child("step-1.png").write_bytes(b"a picture")
    tracker = Tracker(
        uri, key="late", name="run late", rows_since=lambda step: rows(1, 2, 3), pictures=pictures
    )
    with away(uri):
        tracker.open_when_there(parameters={"lr": 1e-3}, tags={})
        assert "until it is back" in capsys.readouterr().err
        tracker.follow()
        with pytest.raises(UnavailableError):
            tracker.open_now()
    until(lambda: bool(tracker.run_id) and len(history(uri, tracker.run_id)) == 2)
    client = MlflowClient(uri)

    def sent() -> set[str]:
        return {file.path for file in client.list_artifacts(tracker.run_id, "pictures")}

    until(lambda: sent() == {"pictures/step-1.png"})
    pictures.child("step-2.png").write_bytes(b"the next")
    until(lambda: len(sent()) == 2)
    tracker.stop("KILLED")  # that it was away once is no reason not to tell it of the end
    assert client.get_run(tracker.run_id).info.status == "KILLED"
    tracker.finish(artifacts=[], tags={})
    found = client.get_run(tracker.run_id)
    assert found.info.status == "FINISHED" and found.data.params == {"lr": "0.001"}
    assert [step for step, _, _ in history(uri, tracker.run_id)] == [1, 2, 3]


def test_a_finished_run_needs_no_store(uri: str, small: Callable[..., TrainConfig]) -> None:
    config = small(tracking_uri=uri, register=None)
    fit(plan_run(config), ProcessContext(), local_batches)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        config_away = replace(config, tracking_uri=nobody, patience_s=1e-3)
        with pytest.raises(UnavailableError, match="does not answer"):
            train.run(config_away)  # it is trained, and MLflow was not told
        result = train.run(config)
        assert train.run(config_away) == result


def test_records_of_a_trained_run_are_sent_by_the_same_command(
    uri: str, small: Callable[..., TrainConfig]
) -> None:
    config = small(tracking_uri=uri, register=None, patience_s=1e-3)
    plan = plan_run(config)
    fit(plan, ProcessContext(), local_batches)
    with refusing("metrics", uri), pytest.raises(UserError, match="nothing is lost: the same"):
        train.run(config)
    result = train.run(config)
    assert MlflowClient(uri).get_run(result.run_id).info.status == "FINISHED"
    losses = {row["step"]: row["loss"] for row in read_rows(plan.folder) if "loss" in row}
    assert {step: loss for step, loss, _ in history(uri, result.run_id)} == losses
    for term in ("deblur", "reblur", "disparity"):
        assert len(history(uri, result.run_id, term)) == len(losses)
    assert list(losses) == [2, 4, 6, 8, 10, 12, 14]


def test_a_store_that_does_not_take_a_run_is_told(uri: str) -> None:
    with (
        refusing("runs", uri),
        pytest.raises(UserError, match=f"{uri} does not take run run x: .*tracking_uri") as caught,
    ):
        opened(uri, "x")
    assert "\n" not in str(caught.value)


def test_a_rate_that_is_no_number_is_recorded(uri: str) -> None:
    tracker = opened(uri, "nan", lambda step: [{"step": 1, "time_ms": 1, "loss": float("nan")}])
    tracker.finish(artifacts=[], tags={})
    assert len(history(uri, tracker.run_id)) == 1


def test_a_new_store_is_what_mlflow_makes(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours" / "mlflow.db", tmp_path / "theirs.db"
    ensure_store(f"sqlite:///{ours}")
    mlflow_store.ensure_experiment(f"sqlite:///{theirs}")
    assert _schema(ours) == _schema(theirs)


def test_a_store_that_was_cut_off_while_its_tables_were_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement in the middle fails, so none of those before it may stay."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = mlflow_store._statements_of_tables()
    cut = (*made[: len(made) // 2], "CUT OFF")
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_store, "_statements_of_tables", lambda: cut)
        with pytest.raises(UserError, match="does not answer"):
            ensure_store(uri)
    ensure_store(uri)
    ensure_store(f"sqlite:///{tmp_path}/whole.db")
    assert _schema(tmp_path / "mlflow.db") == _schema(tmp_path / "whole.db")


def _schema(database: Path) -> list[tuple[object, ...]]:
    """Tables and indexes, the lines of each in any order: MLflow's own order is not fixed."""
    with closing(sqlite3.connect(database)) as connection:
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        made = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    lines = [(kind, name, sorted(re.split(r",?\s*\n", sql or ""))) for kind, name, sql in made]
    return [*sorted(lines), *version]
