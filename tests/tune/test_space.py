"""The plan of a search, the choice of the best trial, and the configuration's refusals."""

import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from tune.chooser import suggested
from tune.config import TuneConfig
from tune.halving import Rungs
from tune.records import Score, TrialRecord, best_trial, merge_scores
from tune.space import Combination, Range, draw, read_axis, space_of

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
    config = TuneConfig(trials=trials, lambda_1=lambda_1, num_kernels=num_kernels, seed=seed)
    drawn = points(config, trials)
    low, high = lambda_1
    # the k-th smallest lambda_1 lies in the k-th part of the logarithmic range
    for part, value in enumerate(sorted(one["lambda_1"] for one in drawn)):
        start = low * (high / low) ** (part / trials)
        end = low * (high / low) ** ((part + 1) / trials)
        assert low <= value <= high
        assert start * (1 - 1e-3) <= value <= end * (1 + 1e-3)  # four significant digits
    counts = [sum(one["num_kernels"] == n for one in drawn) for n in num_kernels]
    assert sum(counts) == trials
    assert max(counts) - min(counts) <= 1


def points(config: TuneConfig, count: int) -> list[Mapping[str, Any]]:
    found = [draw(space_of(config), config, index) for index in range(count)]
    return [one.values for one in found if one is not None]


@pytest.mark.parametrize("sampler", ["spread", "random"])
def test_points_are_a_function_of_the_seed(sampler: str) -> None:
    first, again, other = (
        points(TuneConfig(trials=6, sampler=sampler, seed=seed), 6)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_random_points_are_the_same_however_many_are_wanted() -> None:
    few, many = (points(TuneConfig(trials=n, sampler="random"), n) for n in (3, 30))
    assert many[:3] == few
    # Uniform on the logarithmic scale: half of them lie below its middle.
    below = sum(one["lambda_1"] < 0.1 for one in many)
    assert 8 <= below <= 22


def test_a_grid_is_all_of_it() -> None:
    space = {"a": [1, 2], "b": ["x", "y", "z"]}
    found = points(TuneConfig(space=space, sampler="grid", trials=99), 99)
    assert [tuple(one.values()) for one in found] == [
        (1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z"),
    ]  # fmt: skip


@given(place=st.floats(0, 1, exclude_max=True), low=st.integers(-9, 9), width=st.integers(1, 9))
def test_a_range_keeps_to_its_bounds(place: float, low: int, width: int) -> None:
    whole = read_axis("k", f"{low}..{low + width}").at(place)
    assert isinstance(whole, int) and low <= whole <= low + width
    plain = read_axis("k", f"{low}.0..{low + width}.5").at(place)
    assert isinstance(plain, float) and low <= plain <= low + width + 0.5


# A key whose best value is known: quality falls with the square of the distance on its scale.
def quality(values: Mapping[str, Any]) -> float:
    return 30.0 - (math.log10(values["lr"]) + 3.0) ** 2 - (values["loss"] != "l1")


def searched(sampler: str, seed: int, trials: int = 25) -> tuple[list[Combination], list[float]]:
    """The points of a search, each tried when the one before is."""
    config = TuneConfig(
        space={"lr": "1e-5..1e-1 log", "loss": ["l1", "l2", "l3"]},
        sampler=sampler,  # type: ignore[arg-type]
        trials=trials,
        seed=seed,
    )
    space, begun, records = space_of(config), {}, {}
    for index in range(trials):
        if sampler == "tpe":
            values = suggested(space, begun, records, seed + index)
            begun[index] = Combination(index=index, values=values)
        else:
            begun[index] = draw(space, config, index)
        record = _record(index, (10, quality(begun[index].values)))
        records[index] = replace(record, combination=begun[index])
    return list(begun.values()), [one.last.value for one in records.values()]


def test_tpe_comes_closer_to_a_known_best_than_random_points() -> None:
    shortfall = {
        sampler: sum(30.0 - max(searched(sampler, seed)[1]) for seed in (0, 100, 200))
        for sampler in ("tpe", "random")
    }
    assert shortfall["tpe"] < 0.03 < shortfall["random"]
    late = searched("tpe", 0)[1][-8:]
    assert sorted(late)[4] > 29.5  # it looks where it is good


def test_tpe_suggests_what_it_would_have_after_a_restart() -> None:
    assert searched("tpe", 7, 8) == searched("tpe", 7, 8)


def test_tpe_leaves_where_it_diverges() -> None:
    """Whatever of a range diverges counts as worse than any that does not."""
    space = {"lr": Range(1e-5, 1e-1, log=True, whole=False)}
    late = []
    for seed in (0, 100, 200):
        begun: dict[int, Combination] = {}
        records: dict[int, TrialRecord] = {}
        for index in range(30):
            values = suggested(space, begun, records, seed + index)
            begun[index] = one = Combination(index=index, values=values)
            bad = values["lr"] > 1e-3
            status = "diverged" if bad else "finished"
            record = _record(index, *([] if bad else [(10, 25.0)]), status=status)
            records[index] = replace(record, combination=one)
        late += [one.values["lr"] > 1e-3 for one in begun.values()][10:]
    assert sum(late) < 0.4 * len(late)  # half of the range, on its scale, is bad


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(20, 40)), min_size=1, max_size=40),
    st.sampled_from([2, 3]),
)
def test_rungs_stop_whom_ray_tune_stops(reports: list[tuple[int, float]], factor: int) -> None:
    """Trials in any order, each at its next rung; a restart in the middle changes nothing."""
    first, steps = 5, 5 * factor**3
    bracket = _Bracket(first, steps, factor, 0)
    rungs, scores, at, stopped = Rungs(first, steps, factor), {}, {}, set()
    for number, (trial, value) in enumerate(reports):
        step = at.get(trial, first)
        if step >= steps or trial in stopped:
            continue
        at[trial] = step * factor
        action = bracket.on_result(SimpleNamespace(trial_id=str(trial)), step, value)
        if number == len(reports) // 2:
            rungs = Rungs(first, steps, factor)
            rungs.remember(scores)
        assert rungs.goes_on(trial, step, value) == (action != TrialScheduler.STOP)
        scores.setdefault(trial, []).append(Score(step=step, value=value))
        if action == TrialScheduler.STOP:
            stopped.add(trial)


def test_a_rung_is_no_other_step() -> None:
    rungs = Rungs(5, 20, 2)
    assert rungs.goes_on(0, 10, 30.0)
    assert rungs.goes_on(1, 7, 1.0)
    assert not rungs.goes_on(2, 10, 1.0)
    assert not rungs.goes_on(3, 10, math.nan)


def _record(index: int, *scores: tuple[int, float], status: str = "finished") -> TrialRecord:
    return TrialRecord(
        combination=Combination(index=index, values={"lambda_1": 0.5, "num_kernels": 16}),
        run=f"t-{index}",
        status=status,  # type: ignore[arg-type]
        scores=tuple(Score(step=step, value=value) for step, value in scores),
    )


def test_best_is_the_highest_last_score_of_those_that_trained_longest() -> None:
    stopped_early_and_lucky = _record(0, (10, 30.0), status="stopped")
    peaked_and_fell = _record(1, (10, 29.0), (20, 27.0))
    best = _record(2, (10, 25.0), (20, 28.0))
    failed = _record(3, status="failed")
    diverged = _record(4, (20, 40.0), status="diverged")
    assert best_trial([stopped_early_and_lucky, peaked_and_fell, best, failed, diverged]) is best


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
