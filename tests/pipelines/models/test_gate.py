"""The gate's rule against figures worked out by hand and by scipy-free statistics."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.gate import judge
from pipelines.models.scores import PairScore, Quality

GAINS = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=1, max_size=20)


def scores(outputs: list[float], inputs: list[float] | None = None) -> list[PairScore]:
    """Pair scores with the given PSNRs."""

    def of(psnr: float) -> Quality:
        return Quality(psnr=psnr, ssim=0.5, mae=0.1, rmse=0.1)

    inputs = inputs or [20.0] * len(outputs)
    return [
        PairScore("d@v1", str(i), of(before), of(after))
        for i, (before, after) in enumerate(zip(inputs, outputs, strict=True))
    ]


def test_first_champion_must_beat_the_input() -> None:
    verdict = judge(scores([21, 22]), None, min_gain_db=0, min_input_gain_db=0)
    assert verdict.promote and verdict.over_champion is None
    assert verdict.over_input.mean_db == pytest.approx(1.5)
    worse = judge(scores([19, 20.5]), None, min_gain_db=0, min_input_gain_db=0)
    assert not worse.promote and "blurred input" in worse.reason


def test_an_equal_candidate_does_not_win() -> None:
    same = scores([25, 26])
    assert not judge(same, same, min_gain_db=0, min_input_gain_db=0).promote


def test_minimum_gain_is_exclusive() -> None:
    def promoted(minimum: float) -> bool:
        verdict = judge(
            scores([26, 27]), scores([25, 26]), min_gain_db=minimum, min_input_gain_db=0
        )
        return verdict.promote

    assert promoted(0.999) and not promoted(1.0)


@given(GAINS)
def test_paired_figures_match_the_statistics_module(gains: list[float]) -> None:
    theirs = [24.0 + i for i in range(len(gains))]
    ours = [a + b for a, b in zip(theirs, gains, strict=True)]
    verdict = judge(scores(ours), scores(theirs), min_gain_db=0, min_input_gain_db=-99)
    gain = verdict.over_champion
    assert gain is not None
    assert gain.mean_db == pytest.approx(statistics.mean(gains), abs=1e-9)
    assert gain.won == sum(g > 0 for g in gains)
    if len(gains) > 1:
        expected = statistics.stdev(gains) / math.sqrt(len(gains))
        assert gain.standard_error_db == pytest.approx(expected, abs=1e-9)
    else:
        assert math.isnan(gain.standard_error_db)


@given(st.permutations(range(5)))
def test_order_of_the_champions_scores_does_not_matter(order: list[int]) -> None:
    ours, theirs = scores([25, 27, 24, 30, 22]), scores([24, 28, 24, 29, 21])
    shuffled = [theirs[i] for i in order]
    first = judge(ours, theirs, min_gain_db=0, min_input_gain_db=0)
    assert judge(ours, shuffled, min_gain_db=0, min_input_gain_db=0) == first


def test_other_pairs_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="different pairs"):
        judge(scores([25, 26]), scores([25]), min_gain_db=0, min_input_gain_db=0)
