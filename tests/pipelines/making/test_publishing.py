"""When a version is published, and what stands before its manifest."""

from pathlib import Path

import pytest

from pipelines.dataset.version import LATEST, MANIFEST, read_latest, read_manifest
from pipelines.errors import UserError
from pipelines.storage import Location
from tests.pipelines.dataset.makers import NoisePairs, noise_plan
from tests.pipelines.making.test_publish import make, memory


def test_as_many_rejects_as_are_allowed_are_allowed(tmp_path: Path) -> None:
    plan, producer = noise_plan(8), NoisePairs(bad=(0, 5))
    root = memory(tmp_path, "few")
    assert make(root, plan, producer, max_rejected=0.25).rejected == 2
    with pytest.raises(UserError, match=r"2 of 8 inputs were rejected, more than max_rejected"):
        make(memory(tmp_path, "many"), plan, producer, max_rejected=0.249)


def test_all_of_a_version_stands_before_its_manifest_and_latest_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader at any moment sees the version whole or not at all."""
    root, seen = memory(tmp_path), []
    version = root.child("noise", "v1")
    write, put = Location.write_bytes, Location.put_if_absent

    def look(self: Location) -> None:
        files = {name.rpartition("/")[2] for name in version.walk()}
        seen.append((self.name, read_manifest(version) is not None, len(files)))

    def written(self: Location, data: bytes) -> None:
        look(self)
        write(self, data)

    def put_there(self: Location, data: bytes) -> bool:
        look(self)
        return put(self, data)

    monkeypatch.setattr(Location, "write_bytes", written)
    monkeypatch.setattr(Location, "put_if_absent", put_there)
    make(root)
    names = [name for name, _, _ in seen]
    assert names[-2:] == [MANIFEST, LATEST]
    assert [published for _, published, _ in seen] == [False] * (len(seen) - 1) + [True]
    manifest = read_manifest(version)
    assert manifest is not None
    assert len(names) - 2 == len(manifest["shards"]) + len(manifest["files"]) + 1  # and the plan
    assert read_latest(root, "noise") == "v1"
