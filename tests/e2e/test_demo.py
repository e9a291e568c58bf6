"""The demo from the command line: killed half-way, run again, run once more."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.pictures import write_small_samples

pytestmark = pytest.mark.usefixtures("demo", "own_ray")

SMALL = (
    "procedural_pairs=8",
    "rgbd_pairs=8",
    "size=64x64",
    "steps=2",
    "batch_size=2",
    "patch=32",
    "real_repeat=2",
    "shown_pairs=2",
)
POLLS, POLL_S = 1200, 0.25


def _start(root: Path, *keys: str) -> subprocess.Popen[str]:
    small = root.parent / "samples"
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", "demo", "--root", str(root), "--json", *SMALL, *keys],
        env=os.environ | ({"K3DN_SAMPLES": str(small)} if small.is_dir() else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _result(root: Path) -> dict:
    process = _start(root)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


def _kill_once_training(root: Path) -> None:
    """SIGKILL the demo and all that it started as soon as a training run keeps its record."""
    process = _start(root)
    try:
        for _ in range(POLLS):
            try:
                process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                pass
            else:
                raise AssertionError(f"the demo was not to end: {process.communicate()}")
            if any(root.glob("_runs/*/metrics/*.jsonl")):
                return
        raise AssertionError("the demo never came to its training")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    if samples := os.environ.get("K3DN_SAMPLES"):
        write_small_samples(Path(samples), folder / "samples")
    return folder / "data"


def test_killed_in_training_and_run_again_it_ends_with_a_page(root: Path) -> None:
    _kill_once_training(root)
    assert not (root / "demo.html").exists()
    result = _result(root)
    page = Path(result["page"]).read_text()
    assert page.count("data:image/") >= 6
    assert "http://" not in page.replace("http://www.w3.org", "")
    datasets = {row["dataset"] for row in result["rows"]}
    real = bool(os.environ.get("K3DN_SAMPLES"))
    assert any(name.startswith("dpd-blur-mini") for name in datasets) == real
    assert len(result["pictures"]) == (2 if real else 0)
    assert ("no real dual-pixel pairs" in page) != real
    for row in result["rows"]:
        assert 10 < row["psnr"] < 60

    again = _result(root)
    assert again["rows"] == result["rows"]
    assert again["run"] == result["run"]
