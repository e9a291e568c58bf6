"""Training on torch alone: nothing else is imported, and a kill changes nothing."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import k3dn
from pipelines.config import value_text
from pipelines.errors import UserError
from pipelines.plain_keys import read_keys
from pipelines.storage import locate
from pipelines.training.bare import BareConfig, train_here, train_stages
from pipelines.training.checkpoint import complete_steps
from pipelines.training.config import TrainConfig
from pipelines.training.keeper import BEST, WEIGHTS, read_best
from pipelines.training.record import read_rows

Live = Callable[..., TrainConfig]
BLOCKED = (
    *("pyarrow", "fsspec", "s3fs", "ray", "mlflow", "pydantic", "typer", "yaml", "pandas"),
    *("albumentations", "cv2", "PIL", "skimage", "scipy", "imagecodecs", "simplejpeg", "tifffile"),
)
BARE = f"""
import runpy, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.argv[0] = "bare"
runpy.run_module("pipelines.training.bare", run_name="__main__")
"""
NETWORK = {"width": 4, "disparity_channels": 8, "psf_blocks": 1}


def words(config: TrainConfig) -> list[str]:
    """A configuration of the tests as one types it."""
    keys = {field.name: getattr(config, field.name) for field in fields(TrainConfig)}
    live, network = keys.pop("live"), keys.pop("network")
    keys |= {f"network.{key}": value for key, value in network.items()}
    keys |= {"live.made": live.made, "live.optics.frame_width": live.optics.frame_width}
    keys |= {"live.repeat": live.repeat}
    return [f"{key}={value_text(value)}" for key, value in keys.items()]


def start(config: TrainConfig, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BARE, *words(config), "threads=1", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_it_needs_torch_alone_and_a_kill_changes_nothing(live: Live) -> None:
    config = live(
        name="bare", model="nano", network=NETWORK, steps=20, ema=0.9, max_val_pairs=1, val_every=8
    )
    whole = replace(config, name="whole")
    train_here(whole)
    run = locate(config.root).child("_runs", "bare")
    process = start(config)
    deadline_s = time.monotonic() + 600
    while not complete_steps(run):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline_s
        time.sleep(0.01)  # poll of another process: there is nothing to wait on
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < complete_steps(run)[0] < config.steps
    process = start(config)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert "going on from step" in told and "weights at" in told
    for name in (WEIGHTS, BEST):
        files = [Path(config.root, "_runs", run_name, name) for run_name in ("bare", "whole")]
        found, expected = (k3dn.load_weights(file).state_dict() for file in files)
        assert all(torch.equal(value, found[key]) for key, value in expected.items()), name


def test_stages_grow_their_patches_and_begin_with_the_best(live: Live) -> None:
    config = live(name="grown", steps=10, val_every=2, max_val_pairs=1, lr=1.0)
    stages = ["16x4:0.6:3e-3", "32x2:0.4:1e-3"]
    best = train_stages(config, stages, threads=1)
    runs = [locate(config.root).child("_runs", f"grown-{n}") for n in (1, 2)]
    plans = [json.loads(run.child("plan.json").read_bytes())["config"] for run in runs]
    assert [(p["patch"], p["batch_size"], p["steps"], p["lr"]) for p in plans] == [
        (16, 4, 6, 3e-3),
        (32, 2, 4, 1e-3),
    ]
    assert runs[1].child("start.safetensors").read_bytes() == runs[0].child(BEST).read_bytes()
    highest = [(read_best(run) or {})["val_psnr"] for run in runs]
    assert best.url == runs[highest.index(max(highest))].child(BEST).url
    with pytest.raises(UserError, match=r"'16x4' is not PATCHxBATCH:SHARE:LR"):
        train_stages(config, ["16x4"], threads=1)


class Ticking:
    """A clock that goes on by a second each time somebody looks."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1.0
        return self.now_s


def test_a_run_by_the_clock_ends_with_its_time(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate falls with the time that went by, that of earlier attempts counted in."""
    monkeypatch.setattr("pipelines.training.spent.time", Ticking())
    config = live(name="timed", seconds=60.0, log_every=1, checkpoint_every=4)
    train_here(config)
    rows = [row for row in read_rows(locate(config.root).child("_runs", "timed")) if "lr" in row]
    rates = [row["lr"] for row in rows]
    assert rates[1] == max(rates) and rates[-1] < 0.02 * config.lr
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rows[-1]["spent_s"] >= 60.0 > rows[-2]["spent_s"]
    run = locate(config.root).child("_runs", "timed")
    for name in ("outcome.json", WEIGHTS):
        run.child(name).delete()
    latest = complete_steps(run)[0]
    run.child("checkpoints", f"step-{latest:08d}").delete()
    (earlier,) = complete_steps(run)
    train_here(config)
    again = [row for row in read_rows(run) if "lr" in row and row["step"] > earlier]
    assert (
        0 < len(again) <= latest - earlier + 2
    )  # what was spent before the kill is not given back


@pytest.mark.slow
def test_steps_without_a_number_are_left_out_or_end_it(live: Live) -> None:
    network: dict[str, Any] = {"at": 3, "until": 4}
    model = "tests.pipelines.training.networks:unstable"
    config = live(name="skips", model=model, network=network, on_nan="skip", ema=0.9)
    train_here(config)
    run = locate(config.root).child("_runs", "skips")
    skipped = [row["at"] for row in read_rows(run) if row.get("event") == "skipped"]
    assert skipped == [2, 3]
    names = run.child("nan").list()
    assert sorted(names) == ["step-00000002-0.pt", "step-00000003-0.pt"]
    dump = torch.load(run.child("nan", "step-00000002-0.pt").local_path(), weights_only=True)
    assert dump["index"] == [6, 7, 8] and len(dump["pair_id"]) == len(dump["seeds"]) == 3
    assert dump["batch"]["left"].shape == (3, 3, 32, 32)
    path = run.child(WEIGHTS).local_path()
    assert path is not None
    assert all(v.isfinite().all() for v in k3dn.load_weights(path, model).state_dict().values())
    # The twentieth in a row ends it, too.
    for changes, left_out in (({"on_nan": "stop"}, 0), ({"network": {"at": 2}, "steps": 50}, 19)):
        name = f"ends-{left_out}"
        with pytest.raises(UserError, match="the loss is not finite after step"):
            train_here(replace(config, name=name, **changes))
        rows = read_rows(locate(config.root).child("_runs", name))
        assert [row.get("event") for row in rows].count("skipped") == left_out


def test_keys_are_read_without_pydantic() -> None:
    config = read_keys(
        BareConfig,
        [
            *("lr=1e-4", "ema=0.5", "compile=true", "seconds=none", "network.width=8", "name=a"),
            *("datasets=x,y*2", "live.optics.blur=0.01,0.02", "stages=1x2:1:1"),
        ],
    )
    assert (config.lr, config.ema, config.compile, config.seconds) == (1e-4, 0.5, True, None)
    assert config.network == {"width": 8} and config.datasets == ["x", "y*2"]
    assert config.live.optics.blur == [0.01, 0.02]
    assert config.live.repeat == 4.0  # the command keeps pairs, also where other keys are given
    assert config.live.optics.frame_width == 1000
    assert config.stages == ["1x2:1:1"] and config.num_workers == 1
    for word, told in (
        ("stesp=3", "did you mean steps"),
        ("live.mad=1", "did you mean live.made"),
        ("steps=many", "steps must be int"),
        ("compile=1", "compile must be true or false"),
        ("precision=fp8", "one of fp32, bf16"),
        ("live.made=2", r"live.made must be in \[0, 1\]"),
        ("lr=-1", "lr must be greater than 0"),
        ("nothing", "is not key=value"),
    ):
        with pytest.raises(UserError, match=told):
            read_keys(BareConfig, [word])
