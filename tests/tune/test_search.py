"""One small real search: two trials, ASHA, Ray Train inside Ray Tune, MLflow, the next command."""

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import ray
from mlflow import MlflowClient
from ray.util import placement_group_table

from pipelines.config_loader import load_config
from pipelines.errors import UserError
from pipelines.training.config import TrainConfig
from tests.pipelines.training.versions import make_pair, write_version
from tune.config import TuneConfig
from tune.plan import plan_search
from tune.search import TuneResult, run
from tune.space import plan

STEPS, VALIDATIONS = 8, 4
LAMBDAS = [1e-3, 1e3]
SEED = 0


@dataclass(frozen=True)
class Search:
    """A search that ran, and its configuration."""

    config: TuneConfig
    result: TuneResult

    def scores_on_disk(self, run_name: str) -> dict[int, float]:
        """The metric by step as the training run itself wrote it down."""
        rows = []
        for part in sorted(Path(self.config.root, "_runs", run_name, "metrics").iterdir()):
            rows += [json.loads(line) for line in part.read_text().splitlines()]
        return {row["step"]: row["val_psnr"] for row in rows if "val_psnr" in row}


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


@pytest.fixture(scope="module")
def search(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Search:
    root = tmp_path_factory.mktemp("tune")
    _brighter_views(root)
    config = _config(root)
    return Search(config, run(config))


def test_trials_are_the_plan(search: Search) -> None:
    expected = plan(trials=2, lambda_1=LAMBDAS, num_kernels=[4, 8], seed=SEED)
    assert tuple(one.combination for one in search.result.trials) == expected
    for one in search.result.trials:
        written = json.loads(Path(search.config.root, "_runs", one.run, "plan.json").read_text())
        assert written["config"]["lambda_1"] == one.combination.lambda_1
        assert written["config"]["network"] == {"width": one.combination.num_kernels // 4}
        assert written["config"]["register"] is None


def test_scores_are_what_the_training_runs_wrote(search: Search) -> None:
    for one in search.result.trials:
        on_disk = search.scores_on_disk(one.run)
        assert {score.step: score.value for score in one.scores} == on_disk


def test_asha_stops_the_worse_trial_at_the_rung_where_it_is_behind(search: Search) -> None:
    first, second = (search.scores_on_disk(one.run) for one in search.result.trials)
    every = STEPS // VALIDATIONS
    assert search.result.trials[0].status == "finished"
    assert sorted(first) == [every, 2 * every, 3 * every, STEPS]
    # One trial at a time: the first has the rungs to itself, the second is held against it.
    rungs = [step for step in (every, 2 * every) if step in second]
    behind = [step for step in rungs if second[step] < first[step]]
    assert behind, "the second trial was meant to be worse"
    assert search.result.trials[1].status == "stopped"
    assert behind[0] <= max(second) < STEPS


def test_best_is_the_highest_metric_of_the_longest_trained(search: Search) -> None:
    last = {one.run: max(search.scores_on_disk(one.run).items()) for one in search.result.trials}
    longest = max(step for step, _ in last.values())
    by_score = {value: name for name, (step, value) in last.items() if step == longest}
    assert search.result.best.run == by_score[max(by_score)]


def test_no_placement_group_is_left(search: Search) -> None:
    assert {one["state"] for one in placement_group_table().values()} <= {"REMOVED"}
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


def test_result_file_is_the_result(search: Search) -> None:
    written = json.loads(Path(search.result.result).read_text())
    assert written == json.loads(json.dumps(asdict(search.result)))
    assert search.result.describe().endswith(search.result.result)


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
    ended = {"finished": "FINISHED", "stopped": "KILLED"}
    assert statuses == {one.run: ended[one.status] for one in search.result.trials}
    for child in children:
        curve = client.get_metric_history(child.info.run_id, "val_psnr")
        on_disk = search.scores_on_disk(child.info.run_name)
        assert {point.step: point.value for point in curve} == pytest.approx(on_disk)


def test_the_next_command_trains_the_best_in_full(search: Search) -> None:
    (line,) = search.result.next_steps()
    program, step, *arguments = shlex.split(line)
    assert (program, step) == ("k3dn", "train")
    overrides = [tuple(word.split("=", 1)) for word in arguments]
    config = load_config(TrainConfig, "train", overrides=overrides).config  # type: ignore[arg-type]
    best = search.result.best.combination
    assert config == replace(
        search.config.train,
        lambda_1=best.lambda_1,
        network={"width": best.width},
        datasets=["bright@v1*2"],
    )


def test_the_same_search_again_repeats_no_trial(search: Search) -> None:
    runs = Path(search.config.root, "_runs")
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    again = run(search.config)
    assert again == search.result
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}


def test_a_search_that_lost_a_trial_goes_on_with_that_one(search: Search) -> None:
    lost = search.result.trials[0]
    folder = Path(search.result.result).parent
    record = folder / "trial-00.json"
    kept = (folder / "trial-01.json").read_bytes()
    written = record.read_bytes()
    record.unlink()
    again = run(search.config)
    assert again.trials[0] == lost
    assert record.read_bytes() == written
    assert (folder / "trial-01.json").read_bytes() == kept


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
    ],
)
def test_a_wrong_value_names_its_key(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=key):
        _config(tmp_path, **{key: value})
