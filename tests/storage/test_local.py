"""Storage in a folder and in memory: nothing half written, one winner of many."""

import errno
import hashlib
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.storage import Location, locate


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return locate(str(tmp_path))
    return locate(f"memory://{tmp_path.name}-{os.getpid()}")


def test_what_is_written_is_read(root: Location) -> None:
    file = root.child("a", "b/c.bin")
    file.write_bytes(b"one")
    assert file.read_bytes() == b"one"
    assert file.size() == 3
    assert file.name == "c.bin"
    assert file.sha256() == hashlib.sha256(b"one").hexdigest()
    assert file.exists()
    file.write_bytes(b"other")
    with file.open() as handle:
        handle.seek(2)
        assert handle.read() == b"her"


def test_listing(root: Location) -> None:
    for name in ("x/1", "x/2", "x/deep/3", "y"):
        root.child(name).write_bytes(name.encode())
    assert root.list() == ["x", "y"]
    assert root.child("x").list() == ["1", "2", "deep"]
    assert root.child("x").walk() == {"1": 3, "2": 3, "deep/3": 8}
    assert root.child("none").list() == []


def test_what_is_not_there(root: Location) -> None:
    for read in (Location.read_bytes, Location.size, Location.open):
        with pytest.raises(FileNotFoundError):
            read(root.child("none"))
    assert not root.child("none").exists()
    root.child("none").delete()


def test_delete_takes_file_and_folder(root: Location) -> None:
    root.child("d/1").write_bytes(b"")
    root.child("d/2").write_bytes(b"")
    root.child("d/1").delete()
    assert root.child("d").list() == ["2"]
    root.child("d").delete()
    assert not root.child("d/2").exists()


def test_put_if_absent_keeps_the_first(root: Location) -> None:
    assert root.child("lock").put_if_absent(b"first")
    assert not root.child("lock").put_if_absent(b"second")
    assert root.child("lock").read_bytes() == b"first"


def test_put_if_absent_has_one_winner_of_threads(tmp_path: Path) -> None:
    lock = locate(str(tmp_path)).child("lock")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: lock.put_if_absent(str(n).encode()), range(64)))
    assert sum(won) == 1
    assert lock.read_bytes() == str(won.index(True)).encode()
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def _try_to_win(url: str, number: int) -> bool:
    return Location(url).put_if_absent(str(number).encode())


def test_put_if_absent_has_one_winner_of_processes(tmp_path: Path) -> None:
    url = str(tmp_path / "lock")
    with multiprocessing.get_context("spawn").Pool(4) as pool:  # no fork of our threads
        won = pool.starmap(_try_to_win, [(url, number) for number in range(32)])
    assert sum(won) == 1


def test_without_hard_links_there_is_still_one_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)  # as on FAT and some network file systems
    lock = locate(str(tmp_path)).child("lock")
    assert lock.put_if_absent(b"first")
    assert not lock.put_if_absent(b"second")
    assert lock.read_bytes() == b"first"
    other = locate(str(tmp_path)).child("other")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: other.put_if_absent(str(n).encode()), range(16)))
    assert sum(won) == 1
    assert other.read_bytes() == str(won.index(True)).encode()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["lock", "other"]


def test_killed_without_hard_links_leaves_no_empty_file(tmp_path: Path) -> None:
    """SIGKILL in the last moment before the name appears: the next writer wins at once."""
    script = """
        import errno, os, pathlib, signal, sys
        from pipelines.storage import locate

        def refuse(self, target):
            raise OSError(errno.EPERM, "no hard links here")

        pathlib.Path.hardlink_to = refuse
        if sys.argv[2] == "die":
            pathlib.Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
        print(locate(sys.argv[1]).child("manifest").put_if_absent(b"whole"))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    killed = subprocess.run([*command, "die"], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "manifest").exists()
    done = subprocess.run([*command, "live"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
    assert (tmp_path / "manifest").read_bytes() == b"whole"


def test_storage_without_an_atomic_put_is_refused() -> None:
    with pytest.raises(UserError, match="put-if-absent") as caught:
        Location("sftp://host/root/lock").put_if_absent(b"x")
    assert "\n" not in str(caught.value)


def test_location_travels_between_processes(root: Location) -> None:
    assert pickle.loads(pickle.dumps(root)) == root


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("data").local_path() == tmp_path / "data"
    assert locate("./x/../data/").url == str(tmp_path / "data")
    assert locate(f"file://{tmp_path}/data").local_path() == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/data").url == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "empty"),
        ("s4://bucket/x", "s4"),
        ("oss://bucket/x", "oss"),
        ("https://example.org/bank.npz", "download it and give its path"),
    ],
)
def test_unusable_url_is_one_clear_line(url: str, word: str) -> None:
    with pytest.raises(UserError, match=word) as caught:
        locate(url)
    assert "\n" not in str(caught.value)


def test_only_reading_is_offered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rb"):
        locate(str(tmp_path)).child("x").open("wb")


def test_refused_write_leaves_what_was_there(tmp_path: Path) -> None:
    """A file-size limit stands in for a full disk: the kernel refuses in the midst of a write."""
    script = """
        import resource, signal, sys
        from pipelines.storage import locate
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        file = locate(sys.argv[1]).child("file")
        new = locate(sys.argv[1]).child("folder", "new")
        for write in (file.write_bytes, new.write_bytes, new.put_if_absent):
            try:
                write(b"x" * 50_000)
            except OSError as error:
                print(error.errno)
    """
    (tmp_path / "file").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(errno.EFBIG)] * 3
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == {
        tmp_path / "file": b"old"
    }


def test_killed_in_the_midst_of_a_write(tmp_path: Path) -> None:
    """SIGKILL while a file is written over and over: what is found is one of the two, whole."""
    script = """
        import sys
        from pipelines.storage import locate
        file = locate(sys.argv[1]).child("file")
        print("ready", flush=True)
        while True:
            for letter in b"ab":
                file.write_bytes(bytes([letter]) * 2_000_000)
    """
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            while not (tmp_path / "file").exists():
                os.sched_yield()
            writer.send_signal(signal.SIGKILL)
        content = (tmp_path / "file").read_bytes()
        assert len(content) == 2_000_000
        assert len(set(content)) == 1
    root = locate(str(tmp_path))
    assert root.list() == ["file"], "leftovers of killed writers are not files of ours"
    root.remove_leftovers(older_than_s=0)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_leftovers_of_the_living_stay(tmp_path: Path) -> None:
    young = tmp_path / ".file.tmp-1-abcd"
    young.write_bytes(b"")
    locate(str(tmp_path)).remove_leftovers(older_than_s=3600)
    assert young.exists()


def test_file_size_limits_are_not_ours() -> None:
    """The limits set above hold in the child alone."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
