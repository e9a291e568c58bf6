"""One small real search, killed and gone on with: ASHA, Ray Train inside Ray Tune, MLflow, the next
command."""

import json
import os
import pickle
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from mlflow import MlflowClient
from ray.util import placement_group_table

from pipelines.cli import run_command_line
from pipelines.config_loader import load_config
from pipelines.errors import AwayError, UserError
from pipelines.mlflow_store import ensure_store, resolve_tracking_uri
from pipelines.storage import locate
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.groups import read_beginnings
from pipelines.training.live.config import LiveConfig
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows
from tests.pipelines.training.conftest import NETWORKS
from tests.pipelines.training.versions import make_pair, write_version
from tune.config import TuneConfig
from tune.plan import look, plan_search
from tune.records import TrialRecord
from tune.report import train_command
from tune.search import TuneResult, run
from tune.space import Choice, Range, draw, space_of

STEPS, VALIDATIONS = 8, 4
LAMBDAS = [1e-3, 1e3]
SEED = 0


@dataclass(frozen=True)
class Search:
    """A search that ran, and its configuration."""

    config: TuneConfig
    result: TuneResult
    live: dict[int, float]
    """The metric by step that MLflow had of the second trial while that stood still."""
    kept: bytes
    """The first trial's record when the search was killed."""

    def scores_on_disk(self, run_name: str) -> dict[int, float]:
        """The metric by step as the training run itself wrote it down; rows are written every two
        seconds, so a trial that is stopped just after a report takes that row with it."""
        rows = []
        for part in sorted(Path(self.config.root, "_runs", run_name, "metrics").iterdir()):
            rows += [json.loads(line) for line in part.read_text().splitlines()]
        return {row["step"]: row["val_psnr"] for row in rows if "val_psnr" in row}


def scores_by_step(trial: TrialRecord) -> dict[int, float]:
    return {score.step: score.value for score in trial.scores}


def _brighter_views(root: Path) -> None:
    """Pairs whose views are both too bright: there is something to learn, and quickly."""
    pairs = []
    for split, count in (("train", 4), ("val", 1)):
        for number in range(count):
            pair = make_pair("bright", split, number, size=(32, 32))
            left = np.clip(pair.target.astype(int) + 40, 0, 255).astype(np.uint8)
            right = left ^ 1  # equal views would come back as they are, whatever was learned
            pairs.append(replace(pair, left=left, right=right))
    write_version(str(root), "bright", "v1", pairs)


def _config(root: Path, **changes: object) -> TuneConfig:
    train = TrainConfig(
        root=str(root),
        datasets=["bright*2"],
        steps=500,
        batch_size=1,
        patch=32,
        lr=3e-3,
        warmup_steps=0,
        num_workers=1,
        cpus_per_worker=0.5,
        max_val_pairs=1,
    )
    settings = {
        "root": str(root),
        "train": train,
        "trials": 2,
        "steps": STEPS,
        "validations": VALIDATIONS,
        "lambda_1": LAMBDAS,
        "num_kernels": [4, 8],
        "max_concurrent": 1,
        "seed": SEED,
    }
    return TuneConfig(**(settings | changes))  # type: ignore[arg-type]


def _words(root: Path) -> list[str]:
    """Three trials, one at a time, as one types them; see ``search``."""
    keys = {
        "root": root, "name": "killed", "trials": 3, "steps": STEPS, "validations": VALIDATIONS,
        "space.lr": "[3e-3]", "space.network.kind": "[soars,dies,idles]", "sampler": "grid",
        "max_concurrent": 1, "retries": 1, "train.model": f"{NETWORKS}:troubled",
        "train.network.folder": root, "train.datasets": "bright*2", "train.batch_size": 1,
        "train.patch": 32, "train.warmup_steps": 0, "train.num_workers": 1, "train.steps": 500,
        "train.max_val_pairs": 1, "train.max_failures": 0, "train.checkpoint_every": 2,
    }  # fmt: skip
    return [f"{key}={value}" for key, value in keys.items()]


@pytest.fixture(scope="module")
def search(
    own_ray: None, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Search]:
    """The first trial's loss is infinite. The second one's process is killed at its second step;
    its next one stands still at its sixth, behind two rungs and two checkpoints, until MLflow has
    its validations; then all is killed. That command has a cluster of its own, the same search goes
    on in this process's. The third, which learns nothing, is held against what the second had
    reached before."""
    root = tmp_path_factory.mktemp("tune")
    _brighter_views(root)
    words = _words(root)
    overrides = [tuple(word.split("=", 1)) for word in words]
    config = load_config(TuneConfig, "tune", overrides=overrides).config  # type: ignore[arg-type]
    ensure_store(resolve_tracking_uri(config))  # made once in this process
    command = [sys.executable, "-m", "pipelines", "tune", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_AUTH_MODE": "disabled"}
    log, gate = root / "log", root / "gate"
    with log.open("w") as file:
        driver = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            while not (live := _seen_while_it_waits(config, gate)):
                assert driver.poll() is None, log.read_text()
                time.sleep(0.2)  # poll of another process
        finally:
            driver.kill()
            driver.wait()
    # Its workers find out that it is gone by themselves.
    while any(Path("/proc", path.suffix[1:]).exists() for path in root.glob("gate.*")):
        time.sleep(0.05)
    gate.touch()
    (record,) = root.glob("_tune/killed/trial-??.json")
    kept = record.read_bytes()
    yield Search(config, run(config), live, kept)


def _seen_while_it_waits(config: TuneConfig, gate: Path) -> dict[int, float]:
    """The curve in MLflow of the child run that is under way, once its process stands still."""
    client = MlflowClient(tracking_uri=resolve_tracking_uri(config))
    if not list(gate.parent.glob("gate.*")):
        return {}
    running = [one for _, one in _children(config) if one.info.status == "RUNNING"]
    curves = [client.get_metric_history(one.info.run_id, "val_psnr") for one in running]
    return {point.step: point.value for curve in curves for point in curve}


def test_trials_are_the_plan(search: Search) -> None:
    space = space_of(search.config)
    expected = [draw(space, search.config, index) for index in range(3)]
    assert [one.combination for one in search.result.trials] == expected
    for one, kind in zip(search.result.trials, ("soars", "dies", "idles"), strict=True):
        written = json.loads(Path(search.config.root, "_runs", one.run, "plan.json").read_text())
        assert written["config"]["lr"] == 3e-3
        assert written["config"]["network"] == {"folder": search.config.root, "kind": kind}
        assert written["config"]["register"] is None


def test_scores_are_what_the_training_runs_wrote(search: Search) -> None:
    for one in search.result.trials:
        on_disk, scores = search.scores_on_disk(one.run), scores_by_step(one)
        assert on_disk == {step: scores[step] for step in on_disk}
        if one.status == "finished":
            assert sorted(on_disk) == sorted(scores)


def test_a_killed_search_repeats_nothing_and_its_rungs_stay(search: Search) -> None:
    assert Path(search.result.result).with_name("trial-00.json").read_bytes() == search.kept
    runs = [locate(search.config.root).child("_runs", one.run) for one in search.result.trials]
    begun = [list(read_beginnings(run_).steps.values()) for run_ in runs]
    # Of the second trial: its process was killed, then all was.
    assert begun == [[0], [0, 0, 4], [0]]
    undisturbed = []  # what the trials come to without Ray
    for run_ in runs[1:]:
        written = json.loads(run_.child("plan.json").read_bytes())["config"]
        config = TrainConfig(**{**written, "name": f"alone-{run_.name}", "live": LiveConfig()})
        plan = plan_run(config)
        fit(plan, ProcessContext(), local_batches)
        rows = [row for row in read_rows(plan.folder) if "val_psnr" in row]
        undisturbed.append({row["step"]: row["val_psnr"] for row in rows})
    assert undisturbed[1][2] < undisturbed[0][2], "the third trial was meant to be worse"
    second, third = map(scores_by_step, search.result.trials[1:])
    assert sorted(second) == [2, 4, 6, STEPS]
    assert second == pytest.approx(undisturbed[0], abs=1e-3)
    # At the first rung it was behind what the second had reached before all was killed.
    assert min(third) == 2 and max(third) < STEPS
    assert third == pytest.approx({step: undisturbed[1][step] for step in third}, abs=1e-3)


def test_how_each_trial_ended(search: Search) -> None:
    assert [one.status for one in search.result.trials] == ["diverged", "finished", "stopped"]
    assert "not finite after step 1" in search.result.trials[0].reason
    assert Path(search.config.root, "died").exists()


def test_best_is_the_highest_metric_of_the_longest_trained(search: Search) -> None:
    assert search.result.best == search.result.trials[1]


def test_no_placement_group_is_left(search: Search) -> None:
    assert {one["state"] for one in placement_group_table().values()} <= {"REMOVED"}
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


def test_result_file_is_the_result(search: Search) -> None:
    written = json.loads(Path(search.result.result).read_text())
    assert written == json.loads(json.dumps(asdict(search.result)))
    assert search.result.result in search.result.describe().splitlines()[-2]


def test_mlflow_has_the_search_and_its_trials(search: Search) -> None:
    client = MlflowClient(tracking_uri=search.result.tracking_uri)
    parent = client.get_run(search.result.run_id)
    best = search.result.best
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best_val_psnr"] == pytest.approx(best.last.value)
    assert parent.data.tags["k3dn.best_run"] == best.run
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{search.result.run_id}'"
    )
    statuses = {child.info.run_name: child.info.status for child in children}
    ended = {"finished": "FINISHED", "stopped": "KILLED", "diverged": "FAILED"}
    assert len(children) == 3  # the killed one was found again
    assert statuses == {one.run: ended[one.status] for one in search.result.trials}
    tags = {child.info.run_name: child.data.tags["k3dn.trial"] for child in children}
    assert tags == {one.run: one.status for one in search.result.trials}
    scores = {one.run: scores_by_step(one) for one in search.result.trials}
    for child in children:
        curve = client.get_metric_history(child.info.run_id, "val_psnr")
        of_child = scores[child.info.run_name]
        assert {point.step: point.value for point in curve} == pytest.approx(of_child)
    # What is of the newest step is sent when a later one is there.
    assert search.live == pytest.approx({2: scores[best.run][2]})


def test_the_page_has_every_trial_and_is_in_mlflow(search: Search) -> None:
    page = Path(search.result.page).read_text()
    for one in search.result.trials:
        if one.status != "diverged":  # before its first validation
            assert f"; {one.combination}; {one.last.value:.2f} dB at step {one.last.step}" in page
    # What each network costs is known.
    assert "multiply-adds" in page
    assert page.count(" M</td>") == page.count(" G</td>") == len(search.result.trials)
    client = MlflowClient(tracking_uri=search.result.tracking_uri)
    there = {file.path for file in client.list_artifacts(search.result.run_id)}
    assert there == {"trials.json", "index.html"}


def test_one_key_trains_the_best_in_full_and_registers_it(search: Search) -> None:
    train = replace(search.config.train, steps=6, register="best")
    config = replace(search.config, train=train, train_best=True)
    result = run(config)
    version = MlflowClient(tracking_uri=result.tracking_uri).get_model_version_by_alias(
        "best", "challenger"
    )
    assert (result.model, result.model_version) == ("best", str(version.version))
    assert result.trials == search.result.trials  # none of them was tried again
    (written,) = [
        config
        for path in Path(search.config.root, "_runs").glob("*/plan.json")
        if (config := json.loads(path.read_text())["config"])["register"] == "best"
    ]
    assert written["steps"] == 6
    assert written["network"] == {"folder": search.config.root, "kind": "dies"}
    assert result.next_steps() == [
        f"k3dn evaluate model=models:/best/{version.version}", "k3dn promote name=best",
    ]  # fmt: skip


def test_the_next_command_trains_the_best_in_full(search: Search) -> None:
    (line,) = search.result.next_steps()
    program, step, *arguments = shlex.split(line)
    assert (program, step) == ("k3dn", "train")
    overrides = [tuple(word.split("=", 1)) for word in arguments]
    config = load_config(TrainConfig, "train", overrides=overrides).config  # type: ignore[arg-type]
    network = {"folder": search.config.root, "kind": "dies"}
    assert config == replace(
        search.config.train, lr=3e-3, network=network, datasets=["bright@v1*2"]
    )


def test_the_same_search_again_repeats_no_trial(
    search: Search, capfd: pytest.CaptureFixture[str]
) -> None:
    root = Path(search.config.root)
    runs = root / "_runs"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    assert run_command_line(["tune", "--json", *_words(root)]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads(json.dumps(asdict(search.result)))
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "taken", "seed": 7}, "another name"),
        ({"name": "a/b"}, "not a valid name"),
    ],
)
def test_a_name_that_cannot_be_had_is_one_line(
    search: Search, changes: dict[str, object], words: str
) -> None:
    root = Path(search.config.root)
    taken = plan_search(_config(root, name="taken"))
    taken.folder.child("search.json").write_bytes(json.dumps({"digest": taken.digest}).encode())
    with pytest.raises(UserError, match=words) as caught:
        run(_config(root, **changes))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_searched_is_refused_before_ray(tmp_path: Path) -> None:
    _brighter_views(tmp_path)
    config = _config(tmp_path)
    without_val = replace(config, train=replace(config.train, max_val_pairs=0))
    with pytest.raises(UserError, match="val split"):
        run(without_val)
    with pytest.raises(UserError, match="neither lambda_1 nor N"):
        run(replace(config, train=replace(config.train, model="package.module:factory")))
    with pytest.raises(UserError, match="dataset"):
        run(replace(config, train=replace(config.train, datasets=["nothing"])))


def test_without_a_space_lambda_1_and_the_number_of_kernels_are_searched(tmp_path: Path) -> None:
    _brighter_views(tmp_path)
    search = plan_search(_config(tmp_path))
    found = set()
    for index in range(2):
        combination = draw(search.space, search.config, index)
        assert combination is not None
        trial, (lambda_1, kernels) = search.trial(combination), combination.values.values()
        assert LAMBDAS[0] <= lambda_1 <= LAMBDAS[1] and trial.lambda_1 == lambda_1
        assert trial.network == {"width": kernels // 4} and trial.register is None
        found.add(kernels)
    assert found == {4, 8}
    # They are in the command that trains the best, too.
    words = shlex.split(train_command(search.config.train, trial))
    assert {f"lambda_1={trial.lambda_1:g}", f"network.width={kernels // 4}"} <= set(words)


def test_any_key_of_train_is_searched(tmp_path: Path) -> None:
    _brighter_views(tmp_path)
    space = {"lr": "1e-4..1e-2 log", "network": {"width": [4, 8]}, "batch_size": "1..4"}
    search = plan_search(_config(tmp_path, space=space, sampler="random", trials=5))
    trials = []
    for index in range(5):
        combination = draw(search.space, search.config, index)
        assert combination is not None
        trials.append(search.trial(combination))
        assert trials[-1].lr == combination.values["lr"]
        assert trials[-1].network == {"width": combination.values["network.width"]}
    assert {one.name for one in trials} == {f"{search.name}-{n:02d}" for n in range(5)}
    assert all(1e-4 <= one.lr <= 1e-2 and 1 <= one.batch_size <= 4 for one in trials)
    assert trials[0].datasets == ["bright@v1*2"] and trials[0].register is None
    lines = look(search.config)
    assert lines[0] == "lr: numbers from 0.0001 to 0.01, logarithmic"
    assert lines[1:3] == ["network.width: one of 4, 8", "batch_size: whole numbers from 1 to 4"]
    # Rungs after 2 and 4 of 8 steps: 5 x (2 + 2/2 + 4/4).
    assert "5 trials, at most 40 steps of 1 pairs in all, about 20 where" in lines[3]


def test_typed_values(tmp_path: Path) -> None:
    """Text from the command line is read as the key of train is."""
    space = plan_search(
        _config(_with_data(tmp_path), space={"lr": "1e-3,1", "weight_decay": "0..1"})
    ).space
    assert space["lr"] == Choice((1e-3, 1.0))
    assert space["weight_decay"] == Range(0.0, 1.0, log=False, whole=False)


def _with_data(root: Path) -> Path:
    _brighter_views(root)
    return root


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"lrr": [1.0]}, "did you mean 'lr'"),
        ({"lr": "fast..slow"}, "LOW..HIGH"),
        ({"lr": "0..1.5 log"}, "above 0"),
        ({"batch_size": "1.5..4"}, "batch_size"),
        ({"deblur_loss": ["l1", "l3"]}, "deblur_loss"),
        ({"num_workers": [1, 2]}, "num_workers decides nothing"),
        ({"steps": [1, 2]}, "steps decides nothing of a result, or the search sets it"),
        ({"num_kernels": [18]}, "multiples of 4"),
        ({"ema": [0.5, 1.5]}, "ema"),
    ],
)
def test_a_space_that_train_does_not_have_is_one_line(
    tmp_path: Path, space: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        run(_config(tmp_path, space=space))
    assert "\n" not in str(caught.value)


def test_a_grid_of_a_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="grid takes values"):
        run(_config(tmp_path, sampler="grid"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trials", 0),
        ("lambda_1", [1.0, 0.1]),
        ("lambda_1", [0.0, 1.0]),
        ("num_kernels", [18]),
        ("num_kernels", []),
        ("validations", 9),
        ("reduction_factor", 1),
        ("max_concurrent", 0),
        ("retries", -1),
        ("budget_s", 0.0),
    ],
)
def test_a_wrong_value_names_its_key(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=key):
        _config(tmp_path, **{key: value})


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_reader_of_a_trial_says_is_the_trials_reason(tmp_path: Path) -> None:
    _brighter_views(tmp_path)
    for shard in (tmp_path / "bright" / "v1" / "split=train").iterdir():
        shard.write_bytes(shard.read_bytes()[:-40])
    words = r"every trial failed, the first with: run .*: training failed: bright@v1.*the start$"
    with pytest.raises(UserError, match=words):
        run(_config(tmp_path, name="damaged", trials=1, retries=0))


def _children(config: TuneConfig) -> list[tuple[str, Any]]:
    """The child runs of the search, by name; there is one search in its store."""
    client = MlflowClient(tracking_uri=resolve_tracking_uri(config))
    experiment = client.get_experiment_by_name("k3dn")
    if experiment is None:
        return []
    found = client.search_runs([experiment.experiment_id])
    (search,) = [one for one in found if one.info.run_name == config.name] or [None]
    if search is None:
        return []
    return [
        (one.info.run_name, one)
        for one in found
        if one.data.tags.get("mlflow.parentRunId") == search.info.run_id
    ]


def test_a_trial_that_diverged_is_told_from_one_that_ended(tmp_path: Path) -> None:
    from tune.watch import TrialWatch

    _brighter_views(tmp_path)
    config = _config(tmp_path, sampler="grid", space={"network.kind": ["soars", "idles"]})
    train = replace(config.train, model=f"{NETWORKS}:troubled", network={"folder": str(tmp_path)})
    plan = plan_search(replace(config, train=train))
    records: dict[int, TrialRecord] = {}
    watch = TrialWatch(plan, records)
    for index in range(2):
        combination = draw(plan.space, plan.config, index)
        assert combination is not None
        plan.begin(combination)
        fit(plan_run(plan.trial(combination)), ProcessContext(), local_batches)
        watch.on_trial_complete(0, [], SimpleNamespace(config={"index": index}))
    assert [records[index].status for index in range(2)] == ["diverged", "finished"]
    assert records == plan.records()


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (AwayError("the storage is away"), True),
        (ConnectionRefusedError("no service at 127.0.0.1"), True),
        (UserError("the depth is 3"), False),
        (ZeroDivisionError("division by zero"), False),
        (None, False),
    ],
)
def test_a_trial_that_failed_as_a_service_was_away_is_told_from_others(
    tmp_path: Path, error: Exception | None, away: bool
) -> None:
    """What the search ends with is by that: 5 where all its trials failed so."""
    from tune.watch import TrialWatch

    _brighter_views(tmp_path)
    plan = plan_search(_config(tmp_path, sampler="grid", space={"lr": [1e-3]}))
    combination = draw(plan.space, plan.config, 0)
    assert combination is not None
    plan.begin(combination)
    records: dict[int, TrialRecord] = {}
    watch = TrialWatch(plan, records)
    file = tmp_path / "error.pkl"
    if error is not None:
        file.write_bytes(pickle.dumps(error))
    watch.on_trial_error(0, [], SimpleNamespace(config={"index": 0}, pickled_error_file=str(file)))
    assert watch.away is away
    assert records[0].status == "failed" and records[0].reason
    assert error is None or str(error).partition(" ")[0] in records[0].reason
    assert not plan.records()  # the next start tries it again


@pytest.mark.parametrize("budget_s", [None, 1e-9])
def test_when_the_time_is_up_no_trial_is_begun_and_those_that_run_end(
    tmp_path: Path, budget_s: float | None
) -> None:
    from ray.tune.search import Searcher

    from tune.chooser import Chooser
    from tune.halving import Rungs
    from tune.scheduler import RungScheduler
    from tune.trial import RUNG

    _brighter_views(tmp_path)
    plan = plan_search(_config(tmp_path, budget_s=budget_s))
    chooser = Chooser(plan, {})
    over = budget_s is not None
    assert chooser.is_over == over
    assert chooser.suggest("a") == (Searcher.FINISHED if over else {"index": 0})
    assert list(plan.combinations()) == ([] if over else [0])
    scheduler = RungScheduler(Rungs(2, STEPS, 2), chooser, "val_psnr")
    trial = SimpleNamespace(config={"index": 0})
    report = {RUNG: 2, "val_psnr": 20.0}
    assert scheduler.on_trial_result(None, trial, report) == ("STOP" if over else "CONTINUE")
    # Who made the last step ends by itself, with its weights.
    assert scheduler.on_trial_result(None, trial, {"val_psnr": 20.0}) == "CONTINUE"
