"""The plan of a search, the choice of the best trial, and the configuration's refusals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.records import Score, TrialRecord, best_trial, merge_scores
from tune.space import Combination, plan

bounds = st.tuples(st.floats(1e-3, 10.0), st.floats(1.0, 100.0)).map(
    lambda pair: [pair[0], pair[0] * pair[1]]
)
widths = st.lists(st.integers(1, 32), min_size=1, max_size=6, unique=True).map(
    lambda values: [4 * value for value in values]
)


@given(trials=st.integers(1, 40), lambda_1=bounds, num_kernels=widths, seed=st.integers(0, 2**31))
def test_plan_covers_both_axes_evenly(
    trials: int, lambda_1: list[float], num_kernels: list[int], seed: int
) -> None:
    drawn = plan(trials=trials, lambda_1=lambda_1, num_kernels=num_kernels, seed=seed)
    assert [one.index for one in drawn] == list(range(trials))
    low, high = lambda_1
    # the k-th smallest lambda_1 lies in the k-th part of the logarithmic range
    for part, value in enumerate(sorted(one.lambda_1 for one in drawn)):
        start = low * (high / low) ** (part / trials)
        end = low * (high / low) ** ((part + 1) / trials)
        assert low <= value <= high
        assert start * (1 - 1e-3) <= value <= end * (1 + 1e-3)  # four significant digits
    counts = [sum(one.num_kernels == n for one in drawn) for n in num_kernels]
    assert sum(counts) == trials
    assert max(counts) - min(counts) <= 1


@given(seed=st.integers(0, 2**31))
def test_plan_is_a_function_of_the_seed(seed: int) -> None:
    first, again, other = (
        plan(trials=6, lambda_1=[0.1, 1.0], num_kernels=[16, 32], seed=one)
        for one in (seed, seed, seed + 1)
    )
    assert first == again
    assert first != other


def test_width_gives_the_number_of_kernels() -> None:
    assert Combination(index=0, lambda_1=0.5, num_kernels=24).width == 6


def _record(index: int, *scores: tuple[int, float], status: str = "finished") -> TrialRecord:
    return TrialRecord(
        combination=Combination(index=index, lambda_1=0.5, num_kernels=16),
        run=f"t-{index}",
        status=status,  # type: ignore[arg-type]
        scores=tuple(Score(step=step, value=value) for step, value in scores),
    )


def test_best_is_the_highest_last_score_of_those_that_trained_longest() -> None:
    stopped_early_and_lucky = _record(0, (10, 30.0), status="stopped")
    peaked_and_fell = _record(1, (10, 29.0), (20, 27.0))
    best = _record(2, (10, 25.0), (20, 28.0))
    failed = _record(3, status="failed")
    assert best_trial([stopped_early_and_lucky, peaked_and_fell, best, failed]) is best


def test_equal_scores_take_the_earlier_trial() -> None:
    twins = [_record(1, (20, 28.0)), _record(0, (20, 28.0))]
    assert best_trial(twins).combination.index == 0


def test_no_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trial"):
        best_trial([_record(0, status="failed")])


@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.floats(allow_nan=False)), unique_by=lambda one: one[0]
    )
)
def test_a_record_survives_json(scores: list[tuple[int, float]]) -> None:
    record = _record(3, *[one for one in scores if math.isfinite(one[1])])
    assert TrialRecord.from_json(record.to_json()) == record


def test_steps_reported_again_after_a_restart_count_once() -> None:
    reports = [{"step": 10, "m": 1.0}, {"step": 20, "m": 2.0}, {"step": 20, "m": 2.5}]
    assert merge_scores(reports, "m") == (Score(step=10, value=1.0), Score(step=20, value=2.5))
