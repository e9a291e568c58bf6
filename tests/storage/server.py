"""Servers that a test kills and starts again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class Server:
    """A server that is killed and started again on the same port."""

    def __init__(self, command: list[str], folder: Path, ready: Callable[[], object]) -> None:
        """ready: raises as long as it does not answer."""
        self._command, self._folder, self._ready = command, folder, ready
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )
        end_s = time.monotonic() + 180
        while True:
            try:
                self._ready()
            except Exception:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        """Kill it and what it has started; nothing is to be done where that was done before."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def make_bucket() -> None:
    """Make the bucket where it is not there; raises where the server does not answer."""
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", config=Config(retries={"max_attempts": 0}, connect_timeout=2))
    if "k3dn" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="k3dn")
    client.put_object(Bucket="k3dn", Key="ready", Body=b"")  # volumes take a moment more
