"""A cluster whose nodes come and go: several raylets on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def cluster(own_ray: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head of two CPUs with a label. This process starts the nodes, and does not connect to
    them."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "labels": {"role": "reader"}}
    )
    yield found
    found.shutdown()
