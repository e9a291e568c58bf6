"""Every file of a version against its checksum, by threads and by tasks of a cluster alike."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines import ray_tasks
from pipelines.dataset import verify
from pipelines.dataset.version import DatasetVersion
from pipelines.storage import locate


def version_at(folder: Path, files: int) -> DatasetVersion:
    """A version whose shards are a few bytes each: a checksum asks no more of them."""
    entries = []
    for number in range(files):
        data = f"shard {number}".encode()
        name = f"split=train/{number:05d}.parquet"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append({"name": name, "bytes": len(data), "sha256": sha256})
    location = locate(str(folder))
    manifest = {"shards": entries[1:], "files": entries[:1]}
    return DatasetVersion(name="d", version="v1", location=location, manifest=manifest)


def damage(folder: Path, numbers: dict[int, str]) -> None:
    for number, how in numbers.items():
        file = folder / f"split=train/{number:05d}.parquet"
        if how == "missing":
            file.unlink()
        else:
            file.write_bytes(b"" if how == "0 bytes" else b"Shard" + file.read_bytes()[5:])


DAMAGES = {0: "missing", 3: "0 bytes", 64: "content has changed", 150: "missing", 199: "0 bytes"}
"""In the first and last file, and beside the borders of tasks."""


def check(found: list[str], version: DatasetVersion) -> None:
    assert found == version.problems()
    numbers = [3, 64, 150, 199, 0]  # shards first
    assert len(found) == len(numbers)
    for line, number in zip(found, numbers, strict=True):
        assert f"{number:05d}.parquet" in line and DAMAGES[number] in line


def test_each_file_is_checked_and_named_in_order(tmp_path: Path) -> None:
    version = version_at(tmp_path, 200)
    assert verify.problems_of(version) == []
    damage(tmp_path, DAMAGES)
    check(verify.problems_of(version), version)


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = version_at(tmp_path, 200)
    damage(tmp_path, DAMAGES)
    tasks: list[Any] = []

    def counted(items: Sequence[Any], work: Callable[[Any], Any]) -> Generator[Any, None, None]:
        tasks.extend(items)
        return ray_tasks.each_on_ray(items, work)

    monkeypatch.setattr(verify, "each_on_ray", counted)
    check(verify.problems_of(version, ray_address="auto"), version)
    assert len(tasks) == 4
