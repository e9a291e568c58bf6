"""MLflow's two servers as processes: that of runs and models, and that of one model."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy

POSTGRES = "K3DN_POSTGRES"
"""A PostgreSQL server, postgresql://USER:PASSWORD@HOST/DATABASE, whose user may make databases."""
DATABASES = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(
            POSTGRES not in os.environ, reason=f"{POSTGRES} names no PostgreSQL server"
        ),
    ),
]


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """A new and empty database: a file in a folder, or one on a server for the block."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/server.db"
        return
    name = f"k3dn_{uuid.uuid4().hex}"
    url = sqlalchemy.make_url(os.environ[POSTGRES])
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def content_of(uri: str) -> str:
    """All that a database holds, as text."""
    engine = sqlalchemy.create_engine(uri)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        found = [connection.execute(table.select()).all() for table in tables.sorted_tables]
    engine.dispose()
    return "\n".join(str(row) for rows in found for row in rows)


@contextmanager
def mlflow_server(
    folder: Path, artifacts: str = "s3://k3dn/artifacts", backend: str | None = None
) -> Iterator[str]:
    """MLflow on a database, SQLite where none is named, which keeps artifacts for its clients: on
    S3, or where it is told."""
    command = [
        "server", f"--backend-store-uri={backend or f'sqlite:///{folder}/server.db'}",
        f"--artifacts-destination={artifacts}", "--workers=1",
    ]  # fmt: skip
    # Its job runners, of which nothing here has use, take four processes more.
    jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with process(command, folder / "server.log", "health", **jobs) as address:
        yield address


@contextmanager
def model_server(uri: str, model: str, folder: Path) -> Iterator[str]:
    """A version behind MLflow's own server, in this environment."""
    command = ["models", "serve", "--env-manager=local", f"--model-uri={model}", "--workers=1"]
    # MLflow's server gives up after a minute, which a photograph may take beside other work.
    variables = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "600"}
    with process(command, folder / "serve.log", "ping", **variables) as address:
        yield address


@contextmanager
def process(command: list[str], log: Path, probe: str, **environment: str) -> Iterator[str]:
    """Start MLflow's command on a free port of this machine, and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--host=127.0.0.1", f"--port={port}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline_s = time.monotonic() + 600
        while True:
            try:
                urllib.request.urlopen(f"{address}/{probe}", timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                if server.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(log.read_text()[-3000:]) from error
                time.sleep(0.2)  # poll of another process's port: there is nothing to wait on
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def ask(address: str, folder: Path) -> tuple[np.ndarray, int, int]:
    """Post left.png and right.png; return the picture of the answer, bytes sent and received."""
    views = {n: base64.b64encode((folder / f"{n}.png").read_bytes()) for n in ("left", "right")}
    body = json.dumps({"inputs": {name: data.decode() for name, data in views.items()}}).encode()
    request = urllib.request.Request(
        f"{address}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        content = answer.read()
    data = base64.b64decode(json.loads(content)["predictions"])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image[..., ::-1], len(body), len(content)
