"""How often a run may fail."""

import pytest

from pipelines.training.attempts import FailureBudget


def test_failures_count_between_checkpoints_only() -> None:
    budget = FailureBudget(2, 60.0)
    for step in (0, 100, 200):
        assert budget.allows(step, away=False, now_s=0.0)
        assert budget.allows(step, away=False, now_s=0.0)
    assert not budget.allows(200, away=False, now_s=0.0)


@pytest.mark.parametrize(("most", "allowed"), [(0, 0), (1, 1), (-1, 1000)])
def test_the_limit_is_what_was_said(most: int, allowed: int) -> None:
    budget = FailureBudget(most, 60.0)
    assert all(budget.allows(0, away=False, now_s=0.0) for _ in range(allowed))
    assert budget.allows(0, away=False, now_s=0.0) == (most == -1)


def test_a_service_that_is_away_is_waited_for_as_long_as_the_patience_lasts() -> None:
    budget = FailureBudget(0, 60.0)
    assert all(budget.allows(0, away=True, now_s=now_s) for now_s in (1000.0, 1030.0, 1059.0))
    assert not budget.allows(0, away=True, now_s=1061.0)
    assert budget.allows(100, away=True, now_s=1061.0)  # it was there in between
