"""An ingest whose processes, node and storage are killed at random moments, again and again.

    python -m tests.benchmarks.ingest_soak [worker] [node] [driver] [s3] [times=20] [seed=0]

Source and root lie on a real S3 server; the tasks run on two raylets of this machine, one of which
is killed and replaced. A command that ended before its version was there is given again, as a
person would. Each version is held against one that was made undisturbed: digest of all shards,
digest of the inputs, rejects, every file against its checksum, nothing left beside. Prints a line a
kind; fails where anything differs.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipelines.dataset.images import encode_image
from pipelines.dataset.version import open_version, read_manifest
from pipelines.mlflow_store import ensure_store
from pipelines.storage import Location, locate
from tests.benchmarks.soak_places import away, s3_server
from tests.storage.server import Server

KINDS = ("worker", "node", "driver", "s3")
ROOT, SOURCE = "s3://k3dn/data", "s3://k3dn/source"
AFTER_S = (0.0, 3.0)
"""How long behind a new shard something is killed, at random."""
AT_ANY_TIME = 0.25
"""Share of the kills that wait for no new shard: while it starts, looks at the set or publishes."""
PAIRS_PER_KILL, LEAST_PAIRS = 6, 24
MOST_COMMANDS_PER_KILL = 3


def write_source(pairs: int) -> None:
    """Write pairs of structured noise to the bucket, views shifted by 2 px; one is damaged."""
    import cv2

    for number in range(pairs):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)
        split = ("train", "train", "val", "test")[number % 4]
        for path, shift in ((f"{split}_l", 1), (f"{split}_r", -1)):
            view = np.roll(cv2.GaussianBlur(picture, (0, 0), 1.5), shift, axis=1)
            data = encode_image(np.asarray(view, np.uint8))
            data = data[: len(data) // 2] if number == 7 and shift == 1 else data
            locate(f"{SOURCE}/{path}/source/S{number:04d}.png").write_bytes(data)
        target = locate(f"{SOURCE}/{split}_c/target/S{number:04d}.png")
        target.write_bytes(encode_image(np.asarray(picture, np.uint8)))


class Bench:
    """The S3 server, the two raylets, and the commands."""

    def __init__(self, s3: Server, cluster: Any, folder: Path) -> None:
        self.s3, self.cluster, self.folder = s3, cluster, folder
        self._add_node()
        self.driver: subprocess.Popen[bytes] | None = None
        self.ended = threading.Event()

    def start(self, version: str) -> subprocess.Popen[bytes]:
        """Begin the command that makes a version."""
        command = [sys.executable, "-m", "pipelines", "ingest", SOURCE, f"root={ROOT}"]
        command += ["dataset=soak", f"version={version}", "pairs_per_shard=1", "set_latest=false"]
        command += [f"ray_address={self.cluster.address}"]
        command += [f"tracking_uri=sqlite:///{self.folder}/mlflow.db"]
        with (self.folder / f"{version}.log").open("ab") as log:
            self.driver = subprocess.Popen(command, stdout=log, stderr=log)
        return self.driver

    def kill(self, kind: str, rng: random.Random) -> bool:
        """Kill one thing of a kind, and put in its place what does not come back by itself."""
        driver = self.driver
        if driver is None or driver.poll() is not None:
            return False
        if kind == "driver":
            driver.kill()
        elif kind == "worker":
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "ray::Map" in " ".join(_words_of(process))
            ]
            if not workers:
                return False
            rng.choice(workers).kill()
        elif kind == "node":
            away(self._remove_node, self._add_node)(rng)
        else:
            away(self.s3.kill, self.s3.start)(rng)
        return True

    def _remove_node(self) -> None:
        self.cluster.remove_node(self.node, allow_graceful=False)

    def _add_node(self) -> None:
        self.node = self.cluster.add_node(num_cpus=1)

    def disturb(self, kind: str, version: Location, times: int, rng: random.Random) -> int:
        """Kill so many times, or until it is over; return how often."""
        done, reached = 0, -1
        waits = False
        while done < times and not self.ended.wait(0.2):
            there = _shards(version)
            if waits and there <= reached:
                continue
            if self.ended.wait(rng.uniform(*AFTER_S)) or not self.kill(kind, rng):
                continue
            done, reached = done + 1, there
            waits = rng.random() >= AT_ANY_TIME
        return done


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _shards(version: Location) -> int:
    try:
        return sum(name.startswith("split=") for name in version.walk())
    except Exception:  # the storage is away
        return 0


def soak(bench: Bench, kind: str, times: int, seed: int) -> str:
    """Make versions under one kind of kill until there were enough; return what came of it."""
    rng = random.Random(f"{kind}/{seed}")
    killed, codes, versions = 0, Counter[int](), 0
    begun_s = time.monotonic()
    while killed < times:
        versions += 1
        version = f"{kind}-{versions}"
        location = locate(f"{ROOT}/soak/{version}")
        bench.ended.clear()

        def given(name: str = version) -> None:
            try:
                code = None
                while code != 0:
                    if codes.total() > MOST_COMMANDS_PER_KILL * (times + 2):
                        raise AssertionError(f"{kind}: it does not end: {codes}")
                    code = bench.start(name).wait()
                    codes[code] += 1
            finally:
                bench.ended.set()

        # The commands wait in a thread: Ray adds nodes in the main thread only.
        with ThreadPoolExecutor(max_workers=1) as pool:
            done = pool.submit(given)
            killed += bench.disturb(kind, location, times - killed, rng)
            done.result()
        check(version)
        assert codes.keys() <= {0, -9 if kind == "driver" else 0, 5}, f"{kind}: exits {codes}"
    ends = ", ".join(f"{count} with {code}" for code, count in sorted(codes.items()))
    return (
        f"{kind}: {killed} kills, {versions} versions equal to the undisturbed one; commands "
        f"ended: {ends}; {time.monotonic() - begun_s:.0f} s"
    )


def check(version: str) -> None:
    """Hold a version against the undisturbed one. Raises AssertionError."""
    made, alone = (open_version(locate(ROOT), f"soak@{name}") for name in (version, "alone"))
    for key in ("digest", "inputs", "plan", "rows", "rejected", "bytes", "findings"):
        assert made.manifest[key] == alone.manifest[key], f"{version}: {key} differs"
    assert not made.problems(), made.problems()
    assert made.location.walk().keys() == alone.location.walk().keys()


@contextmanager
def benched() -> Iterator[Bench]:
    """Everything started, and ended again."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(Path.cwd())}
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="k3dn-ingest-soak-") as name:
        folder = Path(name)
        s3 = s3_server(folder / "s3")
        cluster = None
        try:
            ensure_store(f"sqlite:///{folder}/mlflow.db")
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
            yield Bench(s3, cluster, folder)
        except BaseException:
            for log in folder.glob("*.log"):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
            raise
        finally:
            if cluster is not None:
                cluster.shutdown()
            s3.kill()


def main() -> int:
    """Run the kinds that are named; all where none is."""
    options = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    kinds = [word for word in sys.argv[1:] if "=" not in word] or list(KINDS)
    times, seed = int(options.get("times", 20)), int(options.get("seed", 0))
    with benched() as bench:
        pairs = max(LEAST_PAIRS, PAIRS_PER_KILL * times)
        write_source(pairs)
        begun_s = time.monotonic()
        assert bench.start("alone").wait() == 0, "the undisturbed ingest failed"
        manifest = read_manifest(locate(f"{ROOT}/soak/alone"))
        assert manifest is not None
        assert (sum(manifest["rows"].values()), manifest["rejected"]) == (pairs - 1, 1)
        print(f"undisturbed: {pairs} pairs in {time.monotonic() - begun_s:.0f} s", flush=True)
        for kind in kinds:
            print(soak(bench, kind, times, seed), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
