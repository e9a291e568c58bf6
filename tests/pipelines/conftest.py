"""A real MLflow store, a dataset version, and networks whose quality is known beforehand.

Both views of a test pair are the target plus 51/255 = 0.2. The network ``offset`` returns their
mean less a number, so its error is known: PSNR = -20 log10 |0.2 - number|.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import k3dn
from pipelines.dataset.record import Pair
from pipelines.dataset.shard import ShardWriter
from pipelines.dataset.version import MANIFEST, SCHEMA_VERSION, set_latest
from pipelines.mlflow_store import ensure_store
from pipelines.registry.registry import register
from pipelines.storage import locate

OFFSET_CODE = """
import torch

class Offset(torch.nn.Module):
    def __init__(self, number):
        super().__init__()
        self.number = torch.nn.Parameter(torch.tensor(float(number)))

    def forward(self, left, right):
        return 0.5 * (left + right) - self.number

def offset(number=0.0):
    return Offset(number)
"""

Register = Callable[..., str]


@pytest.fixture(scope="session")
def offset_code() -> str:
    """Source of a module with a factory ``offset(number)``."""
    return OFFSET_CODE


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite store whose tables exist and whose artifacts lie in a folder of the test."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    ensure_store(uri)
    return uri


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory, offset_code: str) -> Iterator[Path]:
    """A folder on the import path with the module ``offset_network``."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "offset_network.py").write_text(offset_code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture
def register_offset(networks: Path, tracking_uri: str, tmp_path: Path) -> Register:
    """Register ``offset`` with a number under a model name; returns the version."""

    def make(name: str, number: float, **tags: str) -> str:
        model, options = "offset_network:offset", {"number": number}
        path = tmp_path / f"{name}-{number}.safetensors"
        k3dn.save_weights(path, k3dn.build_model(model, options), name=model, options=options)
        return register(
            path,
            name=name,
            run_id=None,
            tracking_uri=tracking_uri,
            model=model,
            options=options,
            tags=tags,
        )

    return make


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with ``bright@v1``: three test pairs, the last of them without a target."""
    folder = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    pairs = []
    for number, (height, width) in enumerate([(40, 32), (33, 47), (32, 32)]):
        target = rng.integers(0, 200, (height, width, 3), dtype=np.uint8)
        view = (target + 51).astype(np.uint8)
        pairs.append(
            Pair(
                pair_id=f"pair-{number}",
                scene_id=f"scene-{number}",
                dataset="bright",
                split="test",
                left=view,
                right=view,
                target=target if number < 2 else None,
            )
        )
    write_version(str(folder), "bright", "v1", pairs)
    return str(folder)


def write_version(root: str, name: str, version: str, pairs: list[Pair]) -> None:
    """Write a dataset version of one shard, as the pair record says."""
    stream = io.BytesIO()
    with ShardWriter(stream) as writer:
        for pair in pairs:
            writer.write(pair)
    data = stream.getvalue()
    location = locate(root).child(name, version)
    shard = "split=test/00000.parquet"
    location.child(shard).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    entry = {
        "name": shard,
        "split": "test",
        "rows": len(pairs),
        "bytes": len(data),
        "sha256": digest,
    }
    manifest = {"schema": SCHEMA_VERSION, "digest": digest, "shards": [entry], "files": []}
    location.child(MANIFEST).write_bytes(json.dumps(manifest).encode())
    set_latest(locate(root), name, version)
