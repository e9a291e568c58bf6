"""Copies between two real stores, killed on the way; roots that were moved or copied."""

import dataclasses
import math
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

import k3dn
from pipelines.errors import GateRefused, UserError
from pipelines.evaluation import measure, promote
from pipelines.evaluation.config import GateRules, PromoteConfig
from pipelines.evaluation.leakage import TRAINED_ON, find_leakage, trained_on
from pipelines.mlflow_store import ensure_experiment, ensure_store, store_below
from pipelines.registry import rollback
from pipelines.registry.config import RollbackConfig
from pipelines.registry.copy_version import _FOLDERS
from pipelines.registry.loading import open_weights, settle
from pipelines.registry.registry import client_of, open_store, register, resolve, versions
from pipelines.scores import PairScore, Quality
from pipelines.storage import locate
from pipelines.tracking import dataset_input
from tests.pipelines.training.versions import make_pair, write_version

Place = Callable[..., PromoteConfig]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with tables and experiment, to be copied: making one takes MLflow seconds."""
    folder = tmp_path_factory.mktemp("empty")
    uri = f"sqlite:///{folder}/mlflow.db"
    ensure_store(uri)
    return folder / "mlflow.db"


@pytest.fixture
def place(root: str, empty_store: Path, tmp_path: Path) -> Place:
    """Make a root with the pairs ``bright@v1`` and a store of its own.

    leaky: the scene of its test pair is one of those to train on.
    """

    def make(name: str, *, leaky: bool = False) -> PromoteConfig:
        folder = tmp_path / name
        if leaky:
            pairs = [make_pair("bright", split, 0) for split in ("train", "test")]
            pairs[1] = dataclasses.replace(pairs[1], scene_id=pairs[0].scene_id)
            write_version(str(folder), "bright", "v1", pairs)
        else:
            shutil.copytree(Path(root, "bright"), folder / "bright")
        (folder / "_mlflow").mkdir()
        shutil.copyfile(empty_store, folder / "_mlflow" / "mlflow.db")
        return at(folder)

    return make


def at(folder: Path, **keys: object) -> PromoteConfig:
    gate = GateRules(min_scenes=2)
    return PromoteConfig(root=str(folder), datasets=["bright"], gate=gate, **keys)  # type: ignore[arg-type]


@pytest.fixture
def candidate(networks: Path, tmp_path: Path) -> Callable[..., str]:
    """Register ``offset`` with a number, and keep its scores in the roots that are given.

    That a measurement gives such scores, ``test_evaluate`` and ``tests/cluster`` show.
    """

    def make(config: PromoteConfig, number: float, *roots: str, run_id: str | None = None) -> str:
        model, options = "offset_network:offset", {"number": number}
        path = tmp_path / f"{number}.safetensors"
        k3dn.save_weights(path, k3dn.build_model(model, options), name=model, options=options)
        uri = open_store(config)
        version = register(
            path,
            name="k3dn",
            run_id=run_id,
            tracking_uri=uri,
            model=model,
            options=options,
            tags={"k3dn.datasets": "bright@v1"} if run_id else {},
        )
        settled = settle(f"models:/k3dn/{version}", uri)
        for root in (config.root, *roots):
            ours = dataclasses.replace(config, root=root)
            (held,) = measure.plan(ours, settled)
            errors = (0.2, abs(0.2 - number))
            before, after = (Quality(-20 * math.log10(e), 0.5, e, e) for e in errors)
            scores = [PairScore("bright@v1", f"pair-{i}", before, after) for i in range(2)]
            measure.keep(ours, settled, held, scores, 1)
        return version

    return make


def training_run(config: PromoteConfig) -> str:
    """A run as the trainer leaves it."""
    client = client_of(open_store(config))
    tags = {"k3dn.folder": "_runs/first", "k3dn.run": "its key", "k3dn.digest": "d" * 64}
    run = client.create_run(ensure_experiment(client.tracking_uri), tags=tags, run_name="first")
    params = [Param("lr", "1e-4"), Param("start_from", f"{config.root}/first.safetensors")]
    client.log_batch(run.info.run_id, [Metric("loss", 0.25, 0, 7)], params)
    client.log_inputs(run.info.run_id, [dataset_input("bright@v1", "a" * 64, "")])
    return str(run.info.run_id)


def content(config: PromoteConfig) -> dict[str, int]:
    """How many there are of what a copy makes."""
    path = Path(config.root, "_mlflow", "mlflow.db")
    asked = {
        "versions": "model_versions",
        "models": "logged_models",
        "runs": "tags WHERE key = 'k3dn.copied_from'",
        "losses": "metrics WHERE key = 'loss'",
        "datasets": f"datasets WHERE digest = '{'a' * 36}'",
    }
    with closing(sqlite3.connect(path)) as database:
        return {
            name: database.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
            for name, what in asked.items()
        }


def test_a_copy_brings_all_that_belongs_to_a_version_and_nothing_of_its_machine(
    place: Place, candidate: Callable[..., str]
) -> None:
    staging, production = (place(name, leaky=True) for name in ("staging", "production"))
    candidate(staging, 0.1, production.root, run_id=training_run(staging))
    copying = dataclasses.replace(production, from_=staging.root, candidate="1")
    with pytest.raises(GateRefused, match=r"it was trained on the scenes of"):
        promote.run(copying)  # it says what its version was trained on: these pairs
    uri = open_store(production)
    copied = resolve("models:/k3dn@challenger", uri)
    origin = resolve("models:/k3dn/1", open_store(staging))
    for part in ("weights", "code"):
        assert copied.tags[f"k3dn.{part}_sha256"] == origin.tags[f"k3dn.{part}_sha256"]
    assert copied.tags["k3dn.copied_from"] == "k3dn v1"
    assert copied.tags["k3dn.gate"].startswith("refused by decision 1")  # not of staging
    run = client_of(uri).get_run(str(copied.run_id))
    assert run.data.params == {"lr": "1e-4", "start_from": "first.safetensors"}
    assert run.data.metrics == {"loss": 0.25} and run.info.run_name == "first"
    assert "k3dn.run" not in run.data.tags and run.data.tags["k3dn.digest"] == "d" * 64
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == ("bright@v1", "a" * 36)
    sent, arrived = (weights_of(config) for config in (staging, production))
    assert sent == arrived
    before = content(production)
    with pytest.raises(GateRefused):
        promote.run(copying)
    assert content(production) == before
    store = Path(production.root, "_mlflow")
    for file in (file for file in store.rglob("*") if file.is_file()):
        assert staging.root.encode() not in file.read_bytes(), file


def weights_of(config: PromoteConfig) -> bytes:
    with open_weights("models:/k3dn/1", open_store(config)) as path:
        return path.read_bytes()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/home/me/w.safetensors", "w.safetensors"),
        ("/home/me/run/", "run/"),
        ("/a/b.pt,/c/d.pt", "b.pt,d.pt"),
        ('["/a/b.pt", "s3://bucket/x"]', '["b.pt", "s3://bucket/x"]'),
        ("file:///a/b.pt", "b.pt"),
        ("dpd-blur@v1*8", "dpd-blur@v1*8"),
        ("models:/k3dn/1", "models:/k3dn/1"),
    ],
)
def test_no_parameter_of_a_copy_names_a_folder_of_the_other_machine(value: str, kept: str) -> None:
    assert _FOLDERS.sub("", value) == kept


@pytest.mark.slow
def test_the_gate_of_the_target_decides(place: Place, candidate: Callable[..., str]) -> None:
    """The champion of staging loses there to a better champion, and the next one wins."""
    staging, production = place("staging"), place("production")
    candidate(production, 0.12)
    promote.run(production)
    candidate(staging, 0.1, production.root)
    promote.run(staging)
    copying = dataclasses.replace(staging, from_=str(open_store(staging)), to=production.root)
    with pytest.raises(GateRefused, match=r"v2 of k3dn does not become champion.*the champion"):
        promote.run(copying)
    candidate(staging, 0.15, production.root)
    chosen = dataclasses.replace(copying, candidate="challenger")
    assert "models:/k3dn/2 would be copied" in promote.look(chosen)[0]
    assert len(versions("k3dn", open_store(production))) == 2  # to look copies nothing
    result = promote.run(chosen)
    assert (result.champion, result.previous, result.changed) == ("3", "1", True)
    assert str(result.copied_from).startswith("models:/k3dn/2 in sqlite")
    assert not promote.run(chosen).changed
    assert len(versions("k3dn", open_store(production))) == 3
    back = RollbackConfig(root=production.root)
    assert rollback.run(back).champion == "1"
    with pytest.raises(UserError, match=r"v3 of k3dn was rolled back"):
        promote.run(chosen)
    with pytest.raises(UserError, match="from and to are one store"):
        promote.run(dataclasses.replace(chosen, from_=production.root))
    with pytest.raises(UserError, match=r"there is no MLflow store at"):
        promote.run(dataclasses.replace(chosen, from_=production.root + "-none"))


def test_damaged_weights_are_not_copied(place: Place, candidate: Callable[..., str]) -> None:
    staging, production = place("staging"), place("production")
    candidate(staging, 0.1)
    (weights,) = Path(staging.root, "_mlflow").rglob("weights.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    copying = dataclasses.replace(production, from_=staging.root, candidate="1")
    with pytest.raises(UserError, match=r"its weights have the digest .* not copied"):
        promote.run(copying)
    data[-1] ^= 1
    weights.write_bytes(data)
    (code,) = Path(staging.root, "_mlflow").rglob("code/k3dn/metrics.py")
    code.write_text(code.read_text() + "\n")
    with pytest.raises(UserError, match=r"its code have the digest .* not copied"):
        promote.run(copying)
    assert content(production)["versions"] == 0


KILLED_AT = (
    "create_run",
    "log_inputs",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
)


def _killed_after(config: PromoteConfig, call: str) -> None:
    """Copy, and die as soon as a call has been made."""
    made = getattr(MlflowClient, call)

    def last(self: MlflowClient, *arguments: Any, **keys: Any) -> None:
        made(self, *arguments, **keys)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, call, last)
    promote.run(config)


@pytest.mark.slow  # six processes that are killed
def test_a_copy_that_is_killed_goes_on(place: Place, candidate: Callable[..., str]) -> None:
    """After each step on the way: there is one of everything in the end."""
    staging, production = place("staging"), place("production")
    candidate(staging, 0.1, production.root, run_id=training_run(staging))
    promoting = dataclasses.replace(production, from_=staging.root, candidate="1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.pyfunc", "k3dn", "pipelines.evaluation.promote"])
    for call in KILLED_AT:
        process = context.Process(target=_killed_after, args=(promoting, call))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, call
    assert promote.run(promoting).champion == "1"
    assert content(production) == dict.fromkeys(content(production), 1)


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_a_root_may_be_moved_or_copied(
    way: str, place: Place, candidate: Callable[..., str], tmp_path: Path
) -> None:
    """The store, the decisions and what a model was trained on are found in the new place."""
    here = place("here")
    for number in (0.1, 0.13):
        candidate(here, number)
        promote.run(here)
    folder = tmp_path / "far" / "there"
    if way == "moved":
        folder.parent.mkdir()
        shutil.move(here.root, folder)
    else:
        shutil.copytree(here.root, folder)
    there = at(folder)
    assert weights_of(there)
    candidate(there, 0.15)
    assert promote.run(there).previous == "2"
    assert rollback.run(RollbackConfig(root=there.root)).champion == "2"
    with closing(sqlite3.connect(folder / "_mlflow" / "mlflow.db")) as database:
        assert f"{here.root}/" not in "\n".join(database.iterdump())
    if way == "copied":
        assert weights_of(here)
        assert rollback.run(RollbackConfig(root=here.root)).champion == "1"
        assert resolve("models:/k3dn@champion", open_store(there)).version == "2"


def new_store(empty: Path, folder: Path) -> str:
    """A store that lies below no root."""
    return f"sqlite:///{shutil.copyfile(empty, folder / 'alone.db')}"


def test_another_root_cannot_decide_past_the_one_of_the_store(
    place: Place, candidate: Callable[..., str], empty_store: Path, tmp_path: Path
) -> None:
    here, there = place("here"), place("there")
    candidate(here, 0.1, there.root)
    promote.run(here)
    candidate(there, 0.1)
    promote.run(there)  # a log of its own, as long as the other one
    with pytest.raises(UserError, match="decisions about 'k3dn' of another MLflow store"):
        promote.run(
            dataclasses.replace(there, from_=here.root, to=new_store(empty_store, tmp_path))
        )
    crossed = dataclasses.replace(there, tracking_uri=store_below(locate(here.root)))
    with pytest.raises(UserError, match=r"are kept in .*here/_locks/models/k3dn, not under this"):
        promote.run(crossed)


def test_what_a_copy_was_trained_on_elsewhere_is_known(
    place: Place, candidate: Callable[..., str]
) -> None:
    """A set of the same name with another content is no proof of anything."""
    staging, production = (place(name, leaky=True) for name in ("staging", "production"))
    candidate(staging, 0.1, production.root, run_id=training_run(staging))
    manifest = Path(production.root, "bright", "v1", "_manifest.json")
    original = manifest.read_text()
    copying = dataclasses.replace(production, from_=staging.root, candidate="1")
    with pytest.raises(GateRefused):
        promote.run(copying)
    uri = open_store(production)
    model = settle("models:/k3dn/1", uri)
    assert find_leakage(production, model, uri).seen
    client_of(uri).delete_model_version_tag("k3dn", "1", TRAINED_ON)  # as if it came by another way
    with pytest.raises(GateRefused):
        promote.run(copying)
    assert find_leakage(production, model, uri).seen
    changed = original.replace('"digest": "', '"digest": "0', 1)
    manifest.write_text(changed)
    found = trained_on(model, uri, locate(production.root))
    assert found.sets == () and "is another one here" in found.unknown


READ_ONLY = """
import sys
from pathlib import Path
from pipelines.moved_store import follow_move, readable_copy
follow_move(Path(sys.argv[1]))
print(readable_copy(Path(sys.argv[1])).read_bytes().count(sys.argv[2].encode()))
"""


def test_a_moved_store_that_may_only_be_read_is_read(
    place: Place, candidate: Callable[..., str], tmp_path: Path
) -> None:
    """By a process that may not write: of a copy that has the right places."""
    here = place("here")
    candidate(here, 0.1)
    folder = Path(shutil.move(here.root, tmp_path / "there"))
    database = folder / "_mlflow" / "mlflow.db"
    before = database.read_bytes()
    for path in (database, database.parent):
        path.chmod(path.stat().st_mode & ~0o222)
    command = [sys.executable, "-c", READ_ONLY, str(database), f"{here.root}/"]
    if os.geteuid() == 0:  # to whom everything is allowed
        if shutil.which("setpriv") is None:
            pytest.skip("root can write everywhere, and there is no setpriv to forbid it")
        forbid = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
        command = forbid + command
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    database.parent.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert database.read_bytes() == before
