"""What every test shares: a quiet environment, one Ray cluster a session, the sample pictures."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipelines.environment import prepare_environment
from tests.local_ray import start_local_ray

# A heap of torch, Ray and MLflow is large: to search it for rings as often as Python does by itself
# takes a tenth of the processor's time.
gc.set_threshold(20_000, 50, 100)
# Before anything imports torch: one thread, so that numbers repeat and processes do not fight
# for two cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
for _name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "K3DN_CONFIG", "MLFLOW_RUN_ID"):
    os.environ.pop(_name, None)  # a test must not write into somebody's store or cluster
os.environ["K3DN_WEIGHTS"] = os.devnull  # nor see the weights that somebody installed
# Of each training a process that waits for a cloud to take its machine away: 2 s to start.
os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
prepare_environment()
# A shell that runs the tests in the background has them ignore SIGINT, and what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "k3dn",
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("k3dn")


CLUSTER, SERVICES = "cluster", "services"
"""The two groups of files that start something large: those that share this process's Ray cluster,
and those whose commands and servers are processes of their own. One process of several runs a
group, so that three clusters, one of each group and one of its commands, are the most at a time."""

MARKS = {
    **{"ray_cluster": "ray", "own_ray": "ray", "s3": "s3", "demo": "demo"},
    **{"browser": "browser", "own_browser": "browser"},
}
"""A test that uses the fixture, itself or through another one, carries the mark."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by their fixtures, so that ``-m "not ray"`` leaves out what starts Ray.

    And tell pytest-xdist what stays together: a file, whose fixtures are made once.
    """
    groups: dict[Path, str] = {}
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name in MARKS:
                item.add_marker(MARKS[name])
                if name == "ray_cluster":
                    groups[item.path] = CLUSTER
                elif MARKS[name] != "browser":
                    groups.setdefault(item.path, SERVICES)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups.get(item.path, item.path.stem)))
    # The two long ones first, one for each of two processes; the rest fills up.
    items.sort(key=lambda item: item.path not in groups)


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for rings of objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A private Ray cluster of two CPUs; steps that run inside a test join it."""
    start_local_ray()
    yield
    import ray

    ray.shutdown()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a test of a file's bytes by their argument and its number: they may hold a time, and the
    processes of a run must call their tests alike."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def own_ray() -> None:
    """For tests whose commands start a Ray of their own, in other processes."""


@pytest.fixture(scope="session")
def own_browser() -> None:
    """For tests that open a browser of their own."""


@pytest.fixture(scope="session")
def demo() -> None:
    """For tests that run the whole demo."""


@pytest.fixture(autouse=True)
def _ray_is_asked_for(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts Ray and has no fixture that says so: ``make quick`` runs it."""
    before = _ray_runs()
    yield
    marked = request.node.get_closest_marker("ray") is not None
    assert marked or _ray_runs() == before, "the test started Ray: let it use ray_cluster"


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


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
