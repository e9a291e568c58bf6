"""A dataset version in a real MLflow store: once, with its contact sheet; away, and later."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.making.logged import EXPERIMENT
from pipelines.mlflow_store import resolve_tracking_uri
from pipelines.synthesis.config import SynthConfig
from pipelines.synthesis.synthesize import run


@pytest.mark.usefixtures("ray_cluster")
def test_a_version_is_logged_once_with_its_contact_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SynthConfig(
        root=str(tmp_path), pairs=3, size="32x32", textures="none", pairs_per_shard=3
    )
    away = SynthConfig(**{**_fields(config), "tracking_uri": "http://127.0.0.1:9"})
    result = run(away)
    assert not result.existed
    assert "synth@v1 is made, but is not in MLflow" in capsys.readouterr().err
    again = run(config)
    assert (again.existed, again.digest) == (True, result.digest)
    run(config)
    client = MlflowClient(tracking_uri=resolve_tracking_uri(config))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.run_name == "synth@v1"
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["k3dn.digest"] == result.digest
    assert logged.data.params["size"] == "32x32"
    assert sum(v for k, v in logged.data.metrics.items() if k.startswith("pairs_")) == 3
    run(SynthConfig(**{**_fields(config), "version": "v2"}))
    names = [r.info.run_name for r in client.search_runs([experiment.experiment_id])]
    assert sorted(names) == ["synth@v1", "synth@v2"], "the same bytes under another name"
    files = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert files == {"preview.png", "_manifest.json"}
    sheet = Path(client.download_artifacts(logged.info.run_id, "preview.png", str(tmp_path)))
    assert sheet.read_bytes() == (tmp_path / "synth" / "v1" / "preview.png").read_bytes()


@pytest.mark.usefixtures("ray_cluster")
def test_a_store_that_fails_half_way_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run is there, its pictures are not: the next command goes on with that run."""
    config = SynthConfig(
        root=str(tmp_path), pairs=3, size="32x32", textures="none", pairs_per_shard=3
    )

    def refuse(*_: object) -> None:
        raise OSError("artifact store is full")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifact", refuse)
        run(config)
    assert "artifact store is full" in capsys.readouterr().err
    run(config)
    client = MlflowClient(tracking_uri=resolve_tracking_uri(config))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert len(client.list_artifacts(logged.info.run_id)) == 2
    assert len(client.get_metric_history(logged.info.run_id, "pairs_train")) == 1


def _fields(config: SynthConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in type(config).__dataclass_fields__}
