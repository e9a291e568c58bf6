"""Checkpoints: the newest complete one is found whatever a kill left behind."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from pipelines.storage import Location, locate
from pipelines.training.checkpoint import (
    CHECKPOINTS,
    MARKER,
    complete_steps,
    newest_checkpoint,
    save_checkpoint,
)


@pytest.fixture(params=["folder", "memory"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return locate(str(tmp_path / "run"))
    return locate(f"memory://{tmp_path.name}")


def state(value: float) -> dict:
    parameter = torch.nn.Parameter(torch.full((3,), float(value)))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {"model": {"w": parameter.detach()}, "optimizer": optimizer.state_dict(), "losses": {}}


def test_there_is_none_at_first(run: Location) -> None:
    assert newest_checkpoint(run) is None


def test_the_newest_comes_back_as_it_was(run: Location) -> None:
    save_checkpoint(run, 5, state(1.0), keep=2)
    saved = state(2.0)
    save_checkpoint(run, 10, saved, keep=2)
    step, loaded = newest_checkpoint(run) or (0, {})
    assert step == 10
    assert torch.equal(loaded["model"]["w"], saved["model"]["w"])
    moments = saved["optimizer"]["state"][0]
    for key, value in loaded["optimizer"]["state"][0].items():
        assert torch.equal(value, moments[key])


@pytest.mark.parametrize(
    ("keep", "kept"), [(1, [20]), (2, [20, 15]), (3, [20, 15, 10]), (None, [20, 15, 10, 5])]
)
def test_so_many_are_kept(run: Location, keep: int | None, kept: list[int]) -> None:
    for step in (5, 10, 15, 20):
        save_checkpoint(run, step, state(step), keep=keep)
    assert complete_steps(run) == kept
    assert len(run.child(CHECKPOINTS).list()) == len(kept)


def test_one_without_its_marker_is_passed_over(run: Location) -> None:
    save_checkpoint(run, 5, state(1.0), keep=2)
    run.child(CHECKPOINTS, "step-00000010", "state-0123456789abcdef.pt").write_bytes(b"half")
    assert (newest_checkpoint(run) or (0, {}))[0] == 5
    save_checkpoint(run, 10, state(2.0), keep=2)  # the step is made again
    assert (newest_checkpoint(run) or (0, {}))[0] == 10


@pytest.mark.parametrize("damage", ["shorter", "other", "gone", "marker"])
def test_a_damaged_one_is_passed_over(run: Location, damage: str) -> None:
    save_checkpoint(run, 5, state(1.0), keep=2)
    folder = save_checkpoint(run, 10, state(2.0), keep=2)
    file = folder.child(json.loads(folder.child(MARKER).read_bytes())["file"])
    data = file.read_bytes()
    if damage == "shorter":
        file.write_bytes(data[:-7])
    elif damage == "other":
        file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif damage == "gone":
        file.delete()
    else:
        folder.child(MARKER).write_bytes(b"{")
    assert (newest_checkpoint(run) or (0, {}))[0] == 5


def test_a_full_disk_leaves_the_older_ones(tmp_path: Path) -> None:
    run = locate(str(tmp_path))
    save_checkpoint(run, 5, state(1.0), keep=2)
    (tmp_path / CHECKPOINTS / "step-00000010").write_bytes(b"")  # a file where a folder must be
    with pytest.raises(OSError, match="step-00000010"):
        save_checkpoint(run, 10, state(2.0), keep=2)
    assert (newest_checkpoint(run) or (0, {}))[0] == 5


class Command:
    """Unpickled by the plain unpickler, it runs a command."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.file}",)


def test_a_checkpoint_that_holds_code_is_passed_over_and_runs_nothing(
    run: Location, tmp_path: Path
) -> None:
    save_checkpoint(run, 5, state(1.0), keep=2)
    canary = tmp_path / "canary"
    torch.save({"model": Command(canary)}, tmp_path / "evil.pt")
    plain = pickle.dumps({"model": Command(canary)})
    for step, data in ((10, (tmp_path / "evil.pt").read_bytes()), (15, plain), (20, b"")):
        folder = run.child(CHECKPOINTS, f"step-{step:08d}")
        folder.child("state.pt").write_bytes(data)
        marker = {"file": "state.pt", "sha256": hashlib.sha256(data).hexdigest()}
        folder.child(MARKER).write_bytes(json.dumps(marker).encode())
    run.child(CHECKPOINTS, "step-00000025", MARKER).write_bytes(b"[]")
    assert (newest_checkpoint(run) or (0, {}))[0] == 5
    assert not canary.exists()
    pickle.loads(plain)
    assert canary.exists()  # it would have run
