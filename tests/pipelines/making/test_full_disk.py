"""A real full disk: one clear line, nothing half-published, and on it goes when there is room."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.dataset.version import MANIFEST, open_version
from pipelines.storage import locate
from tests.pipelines.dataset.makers import NoisePairs, noise_plan
from tests.pipelines.making.test_publish import make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte, mounted for the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.usefixtures("ray_cluster")
def test_full_disk_and_then_room(small_disk: Path, tmp_path: Path) -> None:
    root = locate(str(small_disk))
    plan, producer = noise_plan(20), NoisePairs(side=100)  # 20 pairs of 90 kB
    with pytest.raises(OSError) as caught:
        make(root, plan, producer)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value.filename).startswith(str(small_disk))
    version = small_disk / "noise" / "v1"
    assert not (version / MANIFEST).exists()
    kept = {p.relative_to(version): p.read_bytes() for p in version.rglob("0*.parquet")}
    assert kept, "what was written before is kept"
    assert not list(version.rglob("*.tmp-*")), "no half of a file is left to take up room"

    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    make(root, plan, producer)
    opened = open_version(root, "noise")
    assert opened.problems() == []
    assert opened.rows("train") == 16
    for name, data in kept.items():
        assert (version / name).read_bytes() == data
