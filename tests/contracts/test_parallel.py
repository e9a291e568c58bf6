"""``make test`` runs the tests in two processes; what starts services keeps to one of them."""

import os

import pytest

from tests.conftest import SERVICES


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
@pytest.mark.usefixtures("own_ray")
def test_groups_reach_the_scheduler(request: pytest.FixtureRequest) -> None:
    """A pytest that no longer reads what pytest-xdist writes would spread a file over processes."""
    assert request.node.nodeid.endswith(f"@{SERVICES}")
