"""Versions on a real Ray cluster: the same bytes however many workers and deaths, manifest last."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import ray_tasks
from pipelines.dataset.version import MANIFEST, open_version, read_latest
from pipelines.errors import UserError
from pipelines.failures import EXIT_USER, explain_failure
from pipelines.making import run_plan
from pipelines.making.plan import Plan
from pipelines.making.publish import REJECTED, VersionResult, publish
from pipelines.making.shards import PLAN
from pipelines.storage import Location, locate
from tests.pipelines.dataset.makers import NoisePairs, noise_plan


def make(
    root: Location,
    plan: Plan | None = None,
    producer: NoisePairs | None = None,
    *,
    code: str = "code",
    max_rejected: float = 0.5,
    move_latest: bool = True,
    read_inputs: bool = True,
) -> VersionResult:
    return publish(
        plan or noise_plan(12),
        root,
        producer or NoisePairs(),
        config={"setting": 0},
        code=code,
        max_rejected=max_rejected,
        move_latest=move_latest,
        ray_address=None,
        read_inputs=read_inputs,
    )


def memory(tmp_path: Path, name: str = "") -> Location:
    """A root whose shards are made in this process, without Ray."""
    return locate(f"memory://{tmp_path.name}{name}-{os.getpid()}")


def shards_of(root: Location) -> dict[str, bytes]:
    return {
        name: root.child(name).read_bytes() for name in root.walk() if name.endswith("0.parquet")
    }


@pytest.mark.usefixtures("ray_cluster")
def test_same_bytes_with_two_workers_one_and_none(tmp_path: Path) -> None:
    """Two Ray tasks at a time; then no Ray at all, one shard after the other."""
    on_ray, alone = locate(str(tmp_path)), memory(tmp_path)
    one, two = make(on_ray), make(alone)
    assert len(shards_of(on_ray)) > 1
    assert shards_of(on_ray) == shards_of(alone)
    assert one.digest == two.digest
    assert one.rows == {"train": 10, "test": 2}
    version = open_version(on_ray, "noise")
    assert version.problems() == []
    assert version.pair_ids("test") == ["n004", "n009"]


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    """The process that makes a shard dies of SIGKILL once; Ray runs that task again."""
    fuse = tmp_path / "fuse"
    fuse.touch()
    result = make(locate(str(tmp_path / "root")), producer=NoisePairs(dies=str(fuse)))
    assert not fuse.exists(), "the worker did die"
    assert result.digest == make(memory(tmp_path)).digest


@pytest.mark.usefixtures("ray_cluster")
def test_many_shards_of_a_task_survive_what_kills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten shards a task: one dies once, another has an input that always kills it."""
    tasks: list[int] = []

    def told(items: Iterable[Any], work: Callable[[Any], Any], **keys: Any) -> Any:
        parts = list(items)
        tasks.extend(map(len, parts))
        return ray_tasks.each_on_ray(parts, work, **keys)

    monkeypatch.setattr(run_plan, "each_on_ray", told)
    monkeypatch.setattr(run_plan, "_FEWEST_TASKS", 3)
    monkeypatch.setattr(run_plan, "_TASKS_OF_A_WORKER", 1)
    fuse, plan, root = tmp_path / "fuse", noise_plan(60), locate(str(tmp_path / "root"))
    fuse.touch()
    result = make(root, plan, NoisePairs(dies=str(fuse), deadly=33))
    assert tasks == [10, 10, 10]
    said = capsys.readouterr().err
    assert "were there already" not in said, "what this run wrote before a task died counts as its"
    assert not fuse.exists() and result.rejected == 1
    assert result.rows == {"train": 47, "test": 12}
    (hit,) = (item.name for item in plan.items for unit in item.units if unit.number == 33)
    whole = memory(tmp_path)
    make(whole, plan)
    for item in plan.items:
        mine, theirs = (r.child("noise", "v1", item.name).read_bytes() for r in (root, whole))
        assert (mine == theirs) == (item.name != hit)


@pytest.mark.usefixtures("ray_cluster")
def test_a_write_refused_within_a_task_of_many_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fourth of ten shards of a task cannot be written: what was written stays, as it is."""
    monkeypatch.setattr(run_plan, "_FEWEST_TASKS", 3)
    monkeypatch.setattr(run_plan, "_TASKS_OF_A_WORKER", 1)
    plan, root = noise_plan(60), locate(str(tmp_path / "root"))
    version = tmp_path / "root" / "noise" / "v1"
    in_the_way = version / plan.items[3].name / "a folder"
    in_the_way.mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory") as caught:
        make(root, plan)
    failure = explain_failure(caught.value)
    assert failure.exit_code == EXIT_USER
    assert str(in_the_way.parent) in failure.message and "is a directory" in failure.message
    assert not (version / MANIFEST).exists()
    kept = {file: file.stat().st_mtime_ns for file in version.rglob("*.parquet") if file.is_file()}
    assert {version / item.name for item in plan.items[:3]} <= kept.keys()
    assert not any(version / item.name in kept for item in plan.items[3:10])

    in_the_way.rmdir()
    in_the_way.parent.rmdir()
    capsys.readouterr()
    result = make(root, plan)
    assert f"{len(kept)} of 30 shards were there already" in capsys.readouterr().err
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert result.digest == make(memory(tmp_path), plan).digest


@pytest.mark.usefixtures("ray_cluster")
def test_a_driver_that_is_killed_is_resumed(tmp_path: Path) -> None:
    """SIGKILL of the whole command when some shards are there and others are not."""
    import ray

    script = """
        import sys
        import ray
        from pipelines.making.publish import publish
        from pipelines.storage import locate
        from tests.pipelines.dataset.makers import NoisePairs, noise_plan
        publish(noise_plan(60), locate(sys.argv[1]), NoisePairs(side=200), config={"setting": 0},
                code="code", max_rejected=0.5, move_latest=True, ray_address=sys.argv[2])
    """
    address = ray.get_runtime_context().gcs_address
    root = locate(str(tmp_path))
    train = tmp_path / "noise" / "v1" / "split=train"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), address],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        while not list(train.glob("0*.parquet")):
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            os.sched_yield()
        os.killpg(driver.pid, signal.SIGKILL)
    assert not (tmp_path / "noise" / "v1" / MANIFEST).exists()
    with pytest.raises(UserError, match="no dataset"):
        open_version(root, "noise")
    kept = {p.name: p.stat().st_mtime_ns for p in train.glob("0*.parquet")}
    assert 0 < len(kept) < 24

    plan = noise_plan(60)
    result = make(root, plan, NoisePairs(side=200))
    assert result.digest == make(memory(tmp_path), plan, NoisePairs(side=200)).digest
    assert all((train / name).stat().st_mtime_ns == then for name, then in kept.items())
    assert open_version(root, "noise").problems() == []
    found = {p.name for p in (tmp_path / "noise" / "v1").iterdir()}
    assert found == {"split=train", "split=test", REJECTED, "preview.png", MANIFEST, PLAN}


def test_rejects_stand_in_their_table(tmp_path: Path) -> None:
    root = memory(tmp_path)
    result = make(root, producer=NoisePairs(bad=(3, 4)))
    assert result.rejected == 2
    assert result.rows == {"train": 9, "test": 1}
    with root.child("noise", "v1", REJECTED).open() as file:
        assert pq.read_table(file).to_pylist() == [
            {
                "pair_id": f"n00{number}",
                "split": split,
                "path": f"{number}.txt",
                "reason": "it is bad",
                "stage": "check",
            }
            for number, split in ((4, "test"), (3, "train"))
        ]
    assert "2 inputs rejected" in result.describe()


def test_too_many_rejects_publish_nothing(tmp_path: Path) -> None:
    root = memory(tmp_path)
    with pytest.raises(UserError, match=r"3 of 12 inputs were rejected.*is bad.*0.txt") as caught:
        make(root, producer=NoisePairs(bad=(0, 1, 2)), max_rejected=0.2)
    assert "\n" not in str(caught.value)
    assert not root.child("noise", "v1", MANIFEST).exists()
    assert read_latest(root, "noise") is None
    assert root.child("noise", "v1", REJECTED).exists(), "the reasons can be read"


def test_a_published_version_never_changes(tmp_path: Path) -> None:
    root = memory(tmp_path)
    make(root)
    before = {name: root.child(name).read_bytes() for name in root.walk()}
    assert make(root, code="newer code").existed
    with pytest.raises(UserError, match=r"never changes: give another one, e.g. version=v2"):
        make(root, noise_plan(12, setting=1))
    assert {name: root.child(name).read_bytes() for name in root.walk()} == before


def test_an_unfinished_version_of_other_settings_is_replaced(tmp_path: Path) -> None:
    root = memory(tmp_path)
    version = root.child("noise", "v1")
    version.child(PLAN).write_bytes(json.dumps({"plan": "another", "code": "code"}).encode())
    version.child("split=train/00077.parquet").write_bytes(b"of another plan")
    version.child("split=train/00000.parquet").write_bytes(b"of another plan")
    make(root)
    assert "split=train/00077.parquet" not in version.walk()
    assert open_version(root, "noise").problems() == []


def test_other_code_makes_an_unfinished_version_anew(tmp_path: Path) -> None:
    """Half of a version made by one program and half by another would be neither's."""
    root = memory(tmp_path)
    with pytest.raises(UserError):
        make(root, producer=NoisePairs(bad=(0, 1, 2)), max_rejected=0.0)
    mended = NoisePairs(side=16)  # stands for new code: the inputs are the same
    old = make(root, producer=mended, max_rejected=1.0)
    assert old.rejected == 3, "same code: what is there is kept"
    fresh = memory(tmp_path, "fresh")
    with pytest.raises(UserError):
        make(fresh, producer=NoisePairs(bad=(0, 1, 2)), max_rejected=0.0)
    new = make(fresh, producer=mended, code="new code")
    assert new.rejected == 0
    assert open_version(fresh, "noise").read_pair("train", 0).left.shape == (16, 16, 3)


def test_a_version_whose_shards_went_is_not_published(tmp_path: Path) -> None:
    root = memory(tmp_path)

    class Vandal(NoisePairs):
        """While the last shards are made, a first one goes."""

        def __call__(self, unit):  # type: ignore[no-untyped-def]
            if unit.split == "test":
                root.child("noise", "v1", "split=train/00003.parquet").delete()
            return super().__call__(unit)

    with pytest.raises(UserError, match=r"00003.parquet is not what this run wrote"):
        make(root, producer=Vandal())
    assert not root.child("noise", "v1", MANIFEST).exists()
    make(root)
    assert open_version(root, "noise").problems() == []


def test_an_input_of_equal_size_is_told_apart(tmp_path: Path) -> None:
    root, folder = memory(tmp_path), locate(str(tmp_path / "in"))
    folder.child("1.txt").write_bytes(b"one")
    producer = NoisePairs(folder=folder)
    make(root, producer=producer)
    assert "(was there already)" in make(root, producer=producer).describe()
    folder.child("1.txt").write_bytes(b"two")
    with pytest.raises(UserError, match=r"content of its input files has changed.*version=v2"):
        make(root, producer=producer)
    unread = make(root, producer=producer, read_inputs=False)
    assert "compared by name and size only" in unread.describe()


@pytest.mark.parametrize("taken", [{"plan": "other"}, {"code": "newer"}])
def test_a_run_that_loses_the_version_says_so(tmp_path: Path, taken: dict[str, str]) -> None:
    root, plan = memory(tmp_path), noise_plan(12)

    class Thief(NoisePairs):
        """While it works, a run with other settings claims the version."""

        def __call__(self, unit):  # type: ignore[no-untyped-def]
            claim = {"plan": plan.digest, "code": "code"} | taken
            root.child("noise", "v1", PLAN).write_bytes(json.dumps(claim).encode())
            return super().__call__(unit)

    with pytest.raises(UserError, match="another run with other settings"):
        make(root, producer=Thief())
    assert not root.child("noise", "v1", MANIFEST).exists()


def test_latest_moves_only_when_asked(tmp_path: Path) -> None:
    root = memory(tmp_path)
    make(root, move_latest=False)
    assert read_latest(root, "noise") is None
    make(root)
    make(root, noise_plan(12, version="v2"), move_latest=False)
    assert open_version(root, "noise").version == "v1"
    assert open_version(root, "noise@v2").version == "v2"


def test_manifest_holds_what_the_design_asks_for(tmp_path: Path) -> None:
    root = memory(tmp_path)
    make(root)
    manifest = open_version(root, "noise").manifest
    assert manifest["schema"] == "k3dn.dataset/2"
    assert manifest["rows"] == {"train": 10, "val": 0, "test": 2}
    assert manifest["bytes"] == sum(shard["bytes"] for shard in manifest["shards"])
    assert manifest["config"] == {"setting": 0}
    assert manifest["code"]["fingerprint"] == "code"
    assert manifest["processors"][0]
    assert len(manifest["inputs"]) == len(manifest["digest"]) == 64


@pytest.mark.parametrize(
    ("dataset", "version"), [("Noise", "v1"), ("noise", "../v1"), ("a b", "v")]
)
def test_names_that_cannot_be(tmp_path: Path, dataset: str, version: str) -> None:
    with pytest.raises(UserError, match="is not a valid name for a"):
        make(memory(tmp_path), replace(noise_plan(2), dataset=dataset, version=version))


def test_nothing_to_make(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to make noise@v1 from"):
        make(memory(tmp_path), noise_plan(0))
