"""What is built from the repository holds the weights in the box, byte for byte."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.infra.manifests import REPOSITORY

BUILD = "from setuptools.build_meta import *; build_sdist('out'); build_wheel('out')"
PARTS = ("k3dn", "synth", "pipelines", "tune", "pyproject.toml", "README.md", "LICENSE")
BOX = Path("k3dn/box")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy."""
    folder = tmp_path_factory.mktemp("build")
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copyfile(source, folder / part)
    (folder / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"


def box_files() -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in (REPOSITORY / BOX).iterdir()
        if path.suffix in (".json", ".md", ".safetensors")
    }


def test_the_wheel_holds_the_box(built: Path) -> None:
    assert {"nano.json", "nano.md", "nano.safetensors"} <= box_files().keys()
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name, data in box_files().items():
            assert archive.read((BOX / name).as_posix()) == data


def test_the_sdist_holds_the_box(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        for name, data in box_files().items():
            member = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/{BOX}/{name}")
            assert member is not None and member.read() == data
