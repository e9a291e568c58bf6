"""Registration in a real store, and loading where the pipelines are not installed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

import k3dn
from pipelines.config import StepConfig
from pipelines.errors import UserError
from pipelines.mlflow_store import resolve_tracking_uri
from pipelines.registry import catalog, registry
from pipelines.registry.config import ModelsConfig
from pipelines.registry.loading import load_network, settle
from pipelines.registry.model_process import ModelProcess
from pipelines.registry.registry import (
    client_of,
    experiment_of,
    register,
    resolve,
    set_despite_race,
    versions,
)

FRESH_PROCESS = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipelines", "synth", "tune", "ray", "cv2"):
            raise ImportError(f"{name} is not installed on a serving machine")

sys.meta_path.insert(0, Refuse())
import mlflow, numpy, pathlib
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/served/1")
views = numpy.load("views.npy")
numpy.save("restored.npy", model.predict({"left": views[0], "right": views[1]}))
import k3dn
assert "pipelines" not in sys.modules
print(pathlib.Path(k3dn.__file__).parent)
"""


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    options = {"width": 4}
    k3dn.save_weights(path, k3dn.build_model("nano", options), name="nano", options=options)
    return path


@pytest.mark.slow
def test_loads_in_a_fresh_process_and_takes_any_size(
    nano: Path, tracking_uri: str, tmp_path: Path
) -> None:
    """mlflow, torch and safetensors suffice: the version brings its code and weights."""
    assert register(
        nano,
        name="served",
        run_id=None,
        tracking_uri=tracking_uri,
        model="nano",
        options={"width": 4},
    )
    views = np.random.default_rng(3).random((2, 37, 53, 3), dtype=np.float32)
    np.save(tmp_path / "views.npy", views)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, tracking_uri],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    used = Path(done.stdout.strip().splitlines()[-1])
    assert used != Path(k3dn.__file__).parent and used.parent.name == "code"
    expected = k3dn.deblur(k3dn.load_weights(nano), views[0], views[1])
    np.testing.assert_allclose(np.load(tmp_path / "restored.npy"), expected, atol=1e-5)


def test_registering_again_gives_the_same_version(nano: Path, tracking_uri: str) -> None:
    client = client_of(tracking_uri)
    run = client.create_run(experiment_of(client, None))
    arguments = {"run_id": run.info.run_id, "tracking_uri": tracking_uri, "model": "nano"}
    first = register(nano, name="again", **arguments, tags={"note": "x"})  # type: ignore[arg-type]
    assert register(nano, name="again", **arguments) == first  # type: ignore[arg-type]
    assert client.get_run(run.info.run_id).info.status == "RUNNING"  # the trainer goes on
    found = resolve("models:/again@challenger", tracking_uri)
    assert (found.version, found.run_id) == (first, run.info.run_id)
    assert found.tags["note"] == "x" and found.tags["k3dn.model"] == "nano"
    assert len(versions("again", tracking_uri)) == 1


def test_a_new_version_becomes_challenger(register_offset, tracking_uri: str) -> None:  # type: ignore[no-untyped-def]
    assert register_offset("rising", 0.1) == "1"
    assert register_offset("rising", 0.15) == "2"
    assert resolve("models:/rising@challenger", tracking_uri).version == "2"
    listed = catalog.run(ModelsConfig(name="rising", tracking_uri=tracking_uri))
    assert [v.version for v in listed.versions] == ["2", "1"]
    (line,) = [line for line in listed.describe().splitlines() if line.startswith("v2 ")]
    assert "[challenger]" in line
    shown = catalog.run(ModelsConfig(name="rising", version="1", tracking_uri=tracking_uri))
    assert json.loads(shown.versions[0].tags["k3dn.options"]) == {"number": 0.1}


def test_a_version_registered_meanwhile_stays_challenger(
    register_offset,  # type: ignore[no-untyped-def]
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one registers, whole, between our look and our setting of the alias."""
    ours = registry._make_challenger

    def after_another(client: MlflowClient, name: str, version: str) -> None:
        monkeypatch.setattr(registry, "_make_challenger", ours)
        assert register_offset("raced", 0.15) == "2"
        ours(client, name, version)

    monkeypatch.setattr(registry, "_make_challenger", after_another)
    assert register_offset("raced", 0.1) == "1"
    assert resolve("models:/raced@challenger", tracking_uri).version == "2"


def test_the_global_store_of_mlflow_is_left_alone(register_offset) -> None:  # type: ignore[no-untyped-def]
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    register_offset("quiet", 0.1)
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before
    assert "MLFLOW_TRACKING_URI" not in os.environ


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("models:/rising@champion", "has no alias 'champion'"),
        ("models:/rising/99", "has no version 99"),
        ("models:/nobody@champion", "no registered model 'nobody'"),
        ("models:/rising", "is not a model reference"),
        ("nothing.safetensors", "no model at"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    register_offset,  # type: ignore[no-untyped-def]
    reference: str,
    words: str,
    tracking_uri: str,
) -> None:
    register_offset("rising", 0.1)
    with pytest.raises(UserError, match=words) as caught:
        settle(reference, tracking_uri)
    assert "\n" not in str(caught.value)


def test_a_network_comes_back_with_its_weights(nano: Path, tracking_uri: str) -> None:
    register(nano, name="whole", run_id=None, tracking_uri=tracking_uri, model="nano", options=None)
    loaded = load_network("models:/whole@challenger", tracking_uri)
    for name, value in k3dn.load_weights(nano).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.slow
def test_a_registered_factory_runs_by_the_code_that_came_with_it_and_writes_nothing(
    register_offset: Callable[..., str], tracking_uri: str
) -> None:
    """Who may read a store need not be allowed to write there."""
    register_offset("somebodys", 0.25)
    store = Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts"
    before = sorted(store.rglob("*"))
    view = np.full((16, 16, 3), 0.75, np.float32)
    with ModelProcess("models:/somebodys/1", tracking_uri) as process:
        np.testing.assert_allclose(process.predict(view, view), 0.5, atol=1e-6)
        assert process.cost is not None and process.cost.seconds > 0
        assert process.count(16, 16) == (1, 0)
    assert sorted(store.rglob("*")) == before
    with pytest.raises(UserError, match="whose code does not run because a file names it"):
        load_network("models:/somebodys/1", tracking_uri)
    network = load_network("models:/somebodys/1", tracking_uri, "offset_network:offset")
    assert network.number.item() == 0.25  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("name", ["a?1", "a%2", "a#3"])
def test_a_root_that_no_sqlite_url_can_name_is_refused(name: str, tmp_path: Path) -> None:
    """Of two such roots the stores would be one."""
    with pytest.raises(UserError, match="a SQLite URL cannot hold"):
        resolve_tracking_uri(StepConfig(root=str(tmp_path / name)))


def test_a_killed_model_process_is_one_clear_line(nano: Path) -> None:
    with ModelProcess(str(nano), None) as process:
        view = np.zeros((16, 16, 3), np.float32)
        assert process.predict(view, view).shape == view.shape
        with pytest.raises(UserError, match="left and right must have one size"):
            process.predict(view, view[:, :-1])
        process._child.kill()
        with pytest.raises(UserError, match="SIGKILL"):
            process.predict(view, view)


def test_a_tag_or_alias_set_by_all_at_once_is_set(
    register_offset: Callable[..., str], tracking_uri: str
) -> None:
    """Without a second try most of these are refused by the store: none of them is there yet."""
    version = register_offset("contested", 0.1)
    together = threading.Barrier(4)

    def write(number: int) -> None:
        client = client_of(tracking_uri)
        together.wait()
        set_despite_race(client.set_registered_model_tag, "contested", f"tag-{number}", "1")
        together.wait()
        set_despite_race(client.set_registered_model_alias, "contested", f"alias-{number}", version)
        together.wait()
        set_despite_race(client.set_model_version_tag, "contested", version, f"tag-{number}", "1")

    with ThreadPoolExecutor(4) as threads:
        for number in range(10):
            list(threads.map(write, [number] * 4))
    model = client_of(tracking_uri).get_registered_model("contested")
    assert {f"tag-{number}" for number in range(10)} <= set(model.tags)
    assert {f"alias-{number}" for number in range(10)} <= set(model.aliases)
    tags = client_of(tracking_uri).get_model_version("contested", version).tags
    assert {f"tag-{number}" for number in range(10)} <= set(tags)
