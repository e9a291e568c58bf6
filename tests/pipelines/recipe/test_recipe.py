"""The recipe: stages follow each other, the best weights are kept, and a kill changes nothing."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import k3dn
from pipelines.errors import UserError
from pipelines.recipe.config import RecipeConfig
from pipelines.recipe.run import RECIPES, RECORD, WEIGHTS, run, training_of
from pipelines.recipe.stages import STAGES, Stage, stages_of
from pipelines.storage import locate
from pipelines.training.checkpoint import complete_steps
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows
from tests.pipelines.training.versions import make_pair, write_small_datasets, write_version

EFFORT, LONGER = 0.0005, 0.001
"""6 and 2 steps, 12 and 3."""


def short(root: Path, name: str, effort: float = EFFORT) -> RecipeConfig:
    return RecipeConfig(
        root=str(root),
        name=name,
        datasets=["soft"],
        pairs=0,
        effort=effort,
        bare=True,
        threads=1,
        checkpoint_every=2,
        val_every=5,
        max_val_pairs=2,
    )


def as_command(root: Path, name: str, checkpoint_every: int, effort: float) -> list[str]:
    command = [sys.executable, "-m", "pipelines", "recipe", f"name={name}", f"root={root}"]
    command += ["datasets=soft", "pairs=0", f"effort={effort}", "bare=true", "threads=1"]
    return [*command, f"checkpoint_every={checkpoint_every}", "val_every=5", "max_val_pairs=2"]


def until(condition: Callable[[], bool], process: "subprocess.Popen[Any]") -> None:
    """Wait for what another process does; fails where it ends first or takes two minutes."""
    deadline_s = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline_s, "waited two minutes"
        time.sleep(0.01)  # poll of another process: there is nothing to wait on


@pytest.mark.slow
def test_a_signal_stops_it_behind_a_checkpoint(tmp_path: Path) -> None:
    """The only checkpoint before the end is the one that the signal asked for."""
    write_small_datasets(str(tmp_path))
    command = as_command(tmp_path, "stopped", 100, LONGER)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run_folder = locate(str(tmp_path)).child("_runs", "stopped-1")
    until(run_folder.child("best.json").exists, process)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 143, told
    assert "stopping behind a checkpoint" in told and "Traceback" not in told
    (step,) = complete_steps(run_folder)
    assert 5 <= step < 12
    again, whole = (run(short(tmp_path, name, LONGER)) for name in ("stopped", "whole"))
    assert again.validation == whole.validation


@pytest.mark.slow
def test_each_stage_begins_with_the_best_of_the_one_before_and_a_kill_changes_nothing(
    tmp_path: Path,
) -> None:
    write_small_datasets(str(tmp_path))
    whole = run(short(tmp_path, "whole"))
    folder = tmp_path / RECIPES / "whole"
    record = json.loads((folder / RECORD).read_text())
    assert [stage["steps"] for stage in record["stages"]] == [6, 2]
    assert record["datasets"][0]["reference"] == "soft" and record["config"]["effort"] == EFFORT
    stages = [tmp_path / "_runs" / f"whole-{number}" for number in (1, 2)]
    best = [(stage / "best.safetensors").read_bytes() for stage in stages]
    assert (stages[1] / "start.safetensors").read_bytes() == best[0]
    highest = [
        max(row["val_psnr"] for row in read_rows(locate(str(stage))) if "val_psnr" in row)
        for stage in stages
    ]
    assert whole.validation["val_psnr"] == max(highest)
    assert (folder / WEIGHTS).read_bytes() == best[highest.index(max(highest))]
    command = as_command(tmp_path, "killed", 2, EFFORT)
    runs = locate(str(tmp_path)).child("_runs")
    for stage in (1, 2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        stage_run = runs.child(f"killed-{stage}")
        until(lambda: bool(complete_steps(stage_run)), process)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    again = run(short(tmp_path, "killed"))
    assert again.validation == whole.validation
    first, second = (
        k3dn.load_weights(tmp_path / RECIPES / name / WEIGHTS) for name in ("whole", "killed")
    )
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])


def test_the_first_hundred_steps_of_a_stage_do_not_depend_on_who_is_watching(
    tmp_path: Path,
) -> None:
    """The same configuration has the same digest, whatever is asked of records and threads."""
    write_small_datasets(str(tmp_path))
    stage = Stage(steps=10, patch=32, batch_size=2, lr=1e-3)
    config = short(tmp_path, "same")
    digests = {
        plan_run(training_of(c, stage, 1, c.datasets, None)).digest
        for c in (config, RecipeConfig(**{**vars_of(config), "threads": 2, "val_every": 7}))
    }
    assert len(digests) == 1


def vars_of(config: RecipeConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_data_without_held_out_pairs_are_refused(tmp_path: Path) -> None:
    write_version(str(tmp_path), "soft", "v1", [make_pair("soft", "train", i) for i in range(3)])
    with pytest.raises(UserError, match=r"no dataset has held-out pairs \(split 'val'\)"):
        run(short(tmp_path, "none"))
    assert not (tmp_path / "_runs").exists()


@pytest.mark.parametrize("model", STAGES)
def test_stages_grow_their_patches_and_lower_their_rate(model: str) -> None:
    stages = stages_of(model, 1.0)
    assert [s.patch for s in stages] == sorted(s.patch for s in stages)
    assert [s.lr for s in stages] == sorted((s.lr for s in stages), reverse=True)
    assert all(s.patch % 32 == 0 for s in stages)
    assert [s.steps for s in stages_of(model, 0.5)] == [s.steps // 2 for s in stages]
