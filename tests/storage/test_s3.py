"""The same promises on a real S3 server, and a whole dataset version there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.dataset.images import encode_image
from pipelines.dataset.shard import read_row
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import make as ingest
from pipelines.storage import locate
from pipelines.synthesis.config import SynthConfig
from pipelines.synthesis.lens_config import BankConfig
from pipelines.synthesis.scene_sources.nyu import nyu_scenes
from pipelines.synthesis.synthesize import make as synth
from tests.pipelines.synthesis.test_scene_sources import write_nyu

pytestmark = pytest.mark.usefixtures("s3")


def test_what_is_written_is_read() -> None:
    root = locate("s3://k3dn/plain")
    file = root.child("a", "b.bin")
    assert not file.exists()
    file.write_bytes(b"0123456789")
    assert file.exists()
    assert file.size() == 10
    with file.open() as handle:
        handle.seek(-4, os.SEEK_END)
        assert handle.read() == b"6789"
    assert root.list() == ["a"]
    assert root.walk() == {"a/b.bin": 10}
    file.delete()
    assert not file.exists()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()


def test_large_object_arrives_whole() -> None:
    """Above the size at which the client splits an upload into parts."""
    data = np.random.default_rng(0).bytes(12_000_000)
    file = locate("s3://k3dn/large").child("x")
    file.write_bytes(data)
    assert file.read_bytes() == data


def test_one_winner_of_sixteen() -> None:
    lock = locate("s3://k3dn/locks").child("one")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: lock.put_if_absent(str(n).encode()), range(16)))
    assert sum(won) == 1
    assert lock.read_bytes() == str(won.index(True)).encode()


def test_one_winner_of_processes() -> None:
    script = (
        "import sys; from pipelines.storage import Location;"
        "print(Location('s3://k3dn/locks/two').put_if_absent(sys.argv[1].encode()))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    answers = [run.communicate()[0].strip() for run in runs]
    assert sorted(answers) == ["False", "True"]


def test_missing_bucket_and_dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no bucket 'absent'"):
        locate("s3://absent/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # a new process would start with the wrong key
    with pytest.raises(UserError, match="check its address") as caught:
        locate("s3://k3dn/x")
    assert "\n" not in str(caught.value)
    S3FileSystem.clear_instance_cache()


def test_reader_sees_what_another_process_wrote() -> None:
    """Nothing is cached: an object that another process makes is there at once."""
    file = locate("s3://k3dn/seen").child("x")
    assert not file.exists()
    assert locate("s3://k3dn/seen").list() == []
    script = (
        "from pipelines.storage import Location; Location('s3://k3dn/seen/x').write_bytes(b'1')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert file.exists()
    assert locate("s3://k3dn/seen").list() == ["x"]


def test_dataset_version_from_s3_to_s3(tmp_path: Path) -> None:
    """The command with a Ray cluster of its own, bucket to bucket; equal to one in memory."""
    rng = np.random.default_rng(1)
    source = locate("s3://k3dn/source")
    for split, count in (("train", 3), ("test", 1)):
        for number in range(count):
            name = f"{split}_{number}"
            picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            for view, shift in (("l", 1), ("r", 2)):
                source.child(f"{split}_{view}/source/{name}_{view.upper()}.png").write_bytes(
                    encode_image(np.roll(picture, shift, axis=1))
                )
            source.child(f"{split}_c/target/{name}.png").write_bytes(encode_image(picture))
    keys = [f"source={source.url}", "pairs_per_shard=2", "root=s3://k3dn/root"]
    keys.append(f"tracking_uri=sqlite:///{tmp_path}/mlflow.db")  # not in the working folder
    command = [sys.executable, "-m", "pipelines", "ingest", "--json", *keys]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rows"] == {"train": 3, "test": 1}
    alike = ingest(IngestConfig(root="memory://s3-twin", source=source.url, pairs_per_shard=2))
    assert told["digest"] == alike.digest
    version = open_version(locate("s3://k3dn/root"), "dpd-blur")
    assert version.problems() == []
    assert version.pair_ids("train") == ["train_0", "train_1", "train_2"]
    pair = version.read_pair("train", 2)
    assert pair.target is not None
    assert np.array_equal(pair.left, np.roll(pair.target, 1, axis=1))


def test_scenes_and_measured_kernels_in_a_bucket(tmp_path: Path) -> None:
    """NYU's one file, read by parts, and a calibration: the pairs are those from a disk."""
    write_nyu(tmp_path / "nyu.mat", 12)
    np.save(tmp_path / "bank.npy", np.random.default_rng(0).random((2, 2, 2, 5, 5)))
    bucket = locate("s3://k3dn/scenes")
    for name in ("nyu.mat", "bank.npy"):
        bucket.child(name).write_bytes((tmp_path / name).read_bytes())
    digests = []
    for place in (str(tmp_path), bucket.url):
        config = SynthConfig(
            root=f"memory://{tmp_path.name}-{len(digests)}",
            source=f"{place}/nyu.mat",
            kernels=["measured"],
            bank=BankConfig(file=f"{place}/bank.npy"),
            size="48x64",
            pairs=6,
        )
        digests.append(synth(config).digest)
    assert digests[0] == digests[1]
    absent = replace(config, version="v2", bank=BankConfig(file=f"{bucket}/absent.npy"))
    with pytest.raises(UserError, match=r"bank\.file s3://.*/absent\.npy: there is no such file"):
        synth(absent)
    with pytest.raises(UserError, match=r"source s3://k3dn/scenes/absent\.mat: there is no such"):
        synth(replace(config, version="v2", source=f"{bucket}/absent.mat"))


def test_the_rooms_of_a_file_in_a_bucket_are_read_in_few_requests(tmp_path: Path) -> None:
    """HDF5 reads a name here and a name there: three requests a picture would take minutes."""
    write_nyu(tmp_path / "nyu.mat", 300, size=(16, 24))
    file = locate("s3://k3dn/rooms.mat")
    file.write_bytes((tmp_path / "nyu.mat").read_bytes())
    found: list[int] = []
    requests = _fetched(lambda: found.append(len(nyu_scenes(file).pictures)))
    assert found == [300]
    assert len(requests) < 30


def test_version_of_fewer_bytes_read_than_stored() -> None:
    """One row of a shard costs its own bytes, not the shard's."""
    rng = np.random.default_rng(2)
    source, root = locate("s3://k3dn/noise"), locate("s3://k3dn/few")
    for number in range(6):
        for view in "lr":
            picture = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
            source.child(f"train_{view}/source/{number}.png").write_bytes(encode_image(picture))
    keys = {"pairs_per_shard": 6, "check": "none"}  # noise shows no scene
    plan_there = IngestConfig(root="memory://few", source=source.url, **keys)
    ingest(plan_there)
    for name in locate("memory://few").walk():
        root.child(name).write_bytes(locate("memory://few").child(name).read_bytes())
    shard = open_version(root, "dpd-blur").shards("train")[0]
    fetched = sum(_fetched(lambda: read_row(shard, 3, ["left", "right"])))
    assert 150_000 < fetched < shard.bytes / 2


def _fetched(read: Callable[[], object]) -> list[int]:
    """Bytes of each request of the client for a part of an object."""
    import s3fs

    sizes: list[int] = []
    original = s3fs.core._fetch_range

    def counted(fs: object, bucket: str, key: str, version: object, start: int, end: int, **more):  # type: ignore[no-untyped-def]
        sizes.append(end - start)
        return original(fs, bucket, key, version, start, end, **more)

    s3fs.core._fetch_range = counted
    try:
        read()
    finally:
        s3fs.core._fetch_range = original
    return sizes
