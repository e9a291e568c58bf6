"""What a run writes, and in which order: a kill between any two writes must leave it whole."""

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.storage import Location, locate
from pipelines.training.checkpoint import CHECKPOINTS, MARKER, save_checkpoint
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import BEST, BEST_OF, OUTCOME, WEIGHTS
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import plan_run

Change = tuple[str, str]
"""What was done, and to which path below the run."""


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """All that is written and deleted from now on, by URL, in order; it is also done."""
    found: list[tuple[str, str]] = []
    for name in ("write_bytes", "put_if_absent", "delete"):
        monkeypatch.setattr(Location, name, _told(name, getattr(Location, name), found))
    return found


def _told(name: str, do: Callable[..., Any], found: list[Change]) -> Callable[..., Any]:
    def done(self: Location, *values: Any) -> Any:
        found.append((name, self.url))
        return do(self, *values)

    return done


def below(run: Location, changes: list[Change]) -> list[Change]:
    return [(what, url.removeprefix(f"{run.url}/")) for what, url in changes]


def test_the_marker_of_a_checkpoint_is_written_last_and_removed_first(
    tmp_path: Path, changes: list[Change]
) -> None:
    run = locate(str(tmp_path))
    for step in (5, 10, 15):
        save_checkpoint(run, step, {"model": {"w": torch.zeros(2)}}, keep=2)
    done = [(what, Path(path)) for what, path in below(run, changes)]
    folders = [Path(CHECKPOINTS, f"step-{step:08d}") for step in (5, 10, 15)]
    for folder in folders:
        state, marker = [change for change in done if change[1].parent == folder][:2]
        assert state[0] == marker[0] == "write_bytes"
        assert state[1].suffix == ".pt" and marker[1].name == MARKER
    assert done[-2:] == [("delete", folders[0] / MARKER), ("delete", folders[0])]


@pytest.fixture
def trained(small: Callable[..., TrainConfig], changes: list[Change]) -> list[Change]:
    """The changes of a run with two checkpoints and validations."""
    plan = plan_run(replace(small(), steps=4, checkpoint_every=2, val_every=2, log_every=1))
    fit(plan, ProcessContext(), local_batches)
    return below(plan.folder, changes)


def test_the_outcome_is_written_last_and_the_weights_before_it(trained: list[Change]) -> None:
    paths = [path for _, path in trained]
    assert paths[-1] == OUTCOME
    assert paths.count(WEIGHTS) == 1
    assert paths[-2].startswith("metrics/")  # the end of the record, too


def test_samples_stand_before_the_checkpoint_that_was_made_of_them(trained: list[Change]) -> None:
    kept = [path for _, path in trained if path.startswith(("samples/", CHECKPOINTS))]
    kinds = [path.partition("/")[0] + ("*" if "/complete" in path else "") for path in kept]
    # Where the one before is still being written, the next brings its samples, too.
    assert [kind for kind, _ in groupby(kinds)] == ["samples", CHECKPOINTS, f"{CHECKPOINTS}*"] * 2


def test_the_best_weights_stand_before_what_is_said_of_them(trained: list[Change]) -> None:
    kept = [path for _, path in trained if path in (BEST, BEST_OF)]
    assert kept[:2] == [BEST, BEST_OF]
    assert kept == [BEST, BEST_OF] * (len(kept) // 2)
