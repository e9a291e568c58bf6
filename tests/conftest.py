"""What every test shares: a quiet environment, one Ray cluster a session, the sample pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipelines.environment import prepare_environment

# Before anything imports torch, Ray or MLflow: the machine may have two cores for all of it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
for _name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "K3DN_CONFIG", "MLFLOW_RUN_ID"):
    os.environ.pop(_name, None)  # a test must not write into somebody's store or cluster
prepare_environment()

settings.register_profile(
    "k3dn",
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("k3dn")


@pytest.fixture(scope="session", autouse=True)
def _torch_threads() -> None:
    """One thread, so that numbers repeat and test processes do not fight for cores."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A private Ray cluster of two CPUs; steps that run inside a test join it."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def _folder_of(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{variable} names no folder: {what} are not on this machine")
    return Path(value)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample pictures; skips where there is none."""
    return _folder_of("K3DN_SAMPLES", "the sample pictures")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference arrays for the synthesiser; skips where there is none."""
    return _folder_of("K3DN_REFERENCE", "the reference arrays")


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The folder of KubeRay's JSON schemas; skips where there is none."""
    return _folder_of("K3DN_SCHEMAS", "the schemas of the KubeRay resources")
