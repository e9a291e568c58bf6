"""What goes wrong at a user's: one clear line, exit code 2, and nothing written before is lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from pipelines.cli import run_command_line
from tests.e2e.pictures import write_dpd_blur, write_pair

REPOSITORY = Path(__file__).parents[2]
SMALL_SYNTH = ["size=48x64", "pairs=6", "pairs_per_shard=2", "textures=none"]


class Ran(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    lines: list[str]

    @property
    def mistake(self) -> str:
        """The one line that was printed of a mistake."""
        (line,) = [line for line in self.lines if line.startswith("k3dn ")]
        return line


@pytest.fixture
def k3dn(ray_cluster: None, capfd: pytest.CaptureFixture[str]) -> object:
    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = run_command_line(arguments)
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err + printed.out
        return Ran(code, printed.out, printed.err.splitlines())

    return run


@pytest.fixture(scope="module")
def data(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one small synthetic version."""
    root = tmp_path_factory.mktemp("root")
    assert run_command_line(["synth", f"root={root}", *SMALL_SYNTH]) == 0
    return root


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingest", "source=/nowhere/dd_dp_dataset"], ["/nowhere/dd_dp_dataset"]),
        (["synth", "source=/nowhere/rgbd", "dataset=x"], ["/nowhere/rgbd"]),
        (["train", "datasets=absent"], ["absent"]),
        (["train", "datasets=synth@v9"], ["synth", "v9"]),
        (["train", "model=nanno"], ["nanno", "nano"]),
        (["evaluate"], ["no registered model", "k3dn train"]),
        (["evaluate", "model=models:/nobody@champion"], ["nobody"]),
        (["deblur", "left=/nowhere/l.png", "right=/nowhere/r.png"], ["/nowhere/l.png"]),
        (["deblur", "left=l.png", "precision=bf17"], ["precision", "bf17"]),
        (["evaluate", "model=box:nanno"], ["box:nanno", "box:nano"]),
        (["card", "box:nanno"], ["box:nanno", "box:nano"]),
        (["card", "output=/nowhere/card.md"], ["no registered model", "k3dn train"]),
        (["register", "/nowhere/w.safetensors"], ["/nowhere/w.safetensors"]),
        (["weights", "install", "/nowhere/w.safetensors"], ["/nowhere/w.safetensors"]),
        (["weights", "install", "w.safetensors", "sha256=12"], ["sha256", "'12'"]),
        (["weights", "pack", "box:nano"], ["name", "name=nano"]),
        (["deblur", "left=l.png", "memory=1KB"], ["memory", "1KB"]),
        (["convert", "checkpoint=/nowhere/best.pt"], ["/nowhere/best.pt"]),
        (["convert", "checkpoint=/nowhere/best.pt", "output=net.pt"], ["net.pt", ".safetensors"]),
        (["export-model", "output=net.xyz"], ["net.xyz", ".onnx", ".pt2"]),
        (["export-model", "size=abc"], ["size", "abc"]),
        (["train", "exchange_views=2"], ["exchange_views", "2"]),
        (["train", "disparity_loss=-1"], ["disparity_loss", "-1"]),
        (["train", "accumulate=0"], ["accumulate", "0"]),
        (["datasets", "name=absent"], ["absent"]),
        (["summary", "size=big"], ["size", "big"]),
        (["doctor", "root=ftpx://host/x"], []),
    ],
)
def test_a_wrong_path_or_name_is_one_line(k3dn, data: Path, arguments, words) -> None:
    arguments = arguments if "root=" in " ".join(arguments) else [*arguments, f"root={data}"]
    ran = k3dn(*arguments)
    if arguments[0] == "doctor":  # it reports what it finds, on stdout, as a finding
        assert ran.code == 1 and "BROKEN   storage" in ran.out
        return
    assert ran.code == 2
    for word in words:
        assert word in ran.mistake


def test_a_root_that_cannot_be_written_is_one_line(k3dn, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    ran = k3dn("synth", f"root={tmp_path}/file/data", *SMALL_SYNTH)
    assert ran.code == 2
    assert str(tmp_path / "file") in ran.mistake


def test_a_corrupt_picture_is_set_aside_and_the_rest_is_ingested(k3dn, tmp_path: Path) -> None:
    source = write_dpd_blur(tmp_path / "set")
    broken = source / "train_l/source/1P0A0001.png"
    broken.write_bytes(broken.read_bytes()[:300])
    few = k3dn("ingest", f"source={source}", f"root={tmp_path}/data", "max_rejected=0")
    assert few.code == 2
    assert "rejected" in few.mistake
    ran = k3dn("ingest", f"source={source}", f"root={tmp_path}/data", "max_rejected=0.2", "--json")
    assert ran.code == 0
    rejected = pq.read_table(tmp_path / "data/dpd-blur/v1/_rejected.parquet").to_pylist()
    assert len(rejected) == 1
    assert any("1P0A0001.png" in str(value) for value in rejected[0].values())


def test_a_corrupt_picture_to_deblur_is_one_line(k3dn, data: Path, tmp_path: Path) -> None:
    left, right = write_pair(tmp_path)
    left.write_bytes(left.read_bytes()[:200])
    output = tmp_path / "sharp.png"
    ran = k3dn("deblur", f"left={left}", f"right={right}", f"root={data}", f"output={output}")
    assert ran.code == 2
    assert str(left) in ran.mistake
    assert not output.exists()


def test_a_gpu_that_is_not_there_is_one_line(k3dn, data: Path) -> None:
    import ray

    if ray.cluster_resources().get("GPU", 0) >= 2:
        pytest.skip("this cluster has the GPUs that the command asks for")
    ran = k3dn("train", f"root={data}", "use_gpu=true", "steps=1", "patch=32")
    assert ran.code == 2
    assert "GPU" in ran.mistake and "use_gpu=false" in ran.mistake


FULL_DISK = """
import subprocess, sys
from pipelines.cli import run_command_line
from tests.local_ray import start_local_ray

disk, small = sys.argv[1], sys.argv[2:]
start_local_ray()
run = lambda *arguments: print("exit code", run_command_line(arguments), flush=True)
large = ["pairs=16", "size=96x128", "pairs_per_shard=8", "textures=none", "version=v2"]
run("synth", f"root={disk}", *small)
run("synth", f"root={disk}", *large)
run("datasets", f"root={disk}", "name=synth", "verify=true")
subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
run("synth", f"root={disk}", *large)
run("datasets", f"root={disk}", "name=synth", "verify=true", "--json")
"""


@pytest.mark.usefixtures("own_ray")
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """On a real file system of one megabyte, mounted in a namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m disk {disk}"
    own_namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*own_namespace, mount], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine lets no test mount a file system of its own")
    script = tmp_path / "steps.py"
    script.write_text(FULL_DISK)
    command = f'{mount} && exec "$0" "$@"'
    result = subprocess.run(
        [*own_namespace, command, sys.executable, str(script), str(disk), *SMALL_SYNTH],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = result.stdout + result.stderr
    codes = [line.split()[-1] for line in result.stdout.splitlines() if "exit code" in line]
    assert codes == ["0", "5", "0", "0", "0"], printed
    mistakes = [line for line in result.stderr.splitlines() if line.startswith("k3dn ")]
    assert len(mistakes) == 1 and "no space left" in mistakes[0], printed
    assert "Traceback" not in printed
    assert '"v1"' in result.stdout and '"v2"' in result.stdout, json.dumps(printed)
