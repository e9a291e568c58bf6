"""The gate's rules: bad promotions that were measured, figures worked out by hand, a simulation.

The simulation draws what a gate would see. Its spreads are those of nano against tiny, the weights
in the box, measured scene by scene on held-out synthetic pairs.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.bootstrap import estimate, lower_bound
from pipelines.evaluation.config import GateRules, PromoteConfig
from pipelines.evaluation.gate import Verdict, format_rules, judge
from pipelines.scores import Cost, PairScore, Quality, Region

RULES = GateRules()


def scores(
    outputs: Sequence[float],
    *,
    inputs: float = 20.0,
    dataset: str = "d@v1",
    ssim: float = 0.8,
    mae: float = 0.05,
    focus_db: float | None = None,
    near_db: float = 30.0,
    scenes: Sequence[str] = (),
    cost: Cost | None = None,
) -> list[PairScore]:
    """Pair scores with the given PSNRs."""

    def mse(psnr: float) -> float:
        return float(10 ** (-psnr / 10))

    regions = (
        Region("in focus", 100, 1e-4, mse(focus_db or 0.0)),
        Region("near", 100, 1e-2, mse(near_db)),
    )
    return [
        PairScore(
            dataset,
            str(i),
            Quality(psnr=inputs, ssim=0.7, mae=0.06, rmse=0.1),
            Quality(psnr=psnr, ssim=ssim, mae=mae, rmse=10 ** (-psnr / 20)),
            scene_id=scenes[i] if scenes else "",
            regions=regions if focus_db is not None else (),
            cost=cost,
        )
        for i, psnr in enumerate(outputs)
    ]


def decide(
    candidate: Sequence[PairScore],
    champion: Sequence[PairScore] | None,
    rules: GateRules = RULES,
    **seen: str,
) -> Verdict:
    return judge(candidate, champion, rules, required=["d@v1"], leaks={"d@v1": seen.get("d", "")})


def failed(verdict: Verdict) -> set[tuple[str, str]]:
    return {(rule.rule, rule.subject) for rule in verdict.rules if not rule.met}


STEADY = [25.0 + 0.1 * math.sin(i) for i in range(40)]
"""Forty scenes of a champion."""


def better(by: float) -> list[float]:
    return [psnr + by for psnr in STEADY]


def test_a_plainly_better_candidate_is_promoted() -> None:
    verdict = decide(scores(better(0.3)), scores(STEADY))
    assert verdict.promote and failed(verdict) == set()
    assert verdict.figures["d@v1/champion_gain"] == pytest.approx(0.3)
    assert "+0.30 dB against the champion" in verdict.reason


# What was promoted once and must not be.


def test_worse_on_39_of_40_with_one_outlier() -> None:
    outputs = [psnr - 0.05 for psnr in STEADY]
    outputs[7] = STEADY[7] + 12
    verdict = decide(scores(outputs), scores(STEADY))
    assert statistics.mean(outputs) > statistics.mean(STEADY)
    assert failed(verdict) == {("gain over champion", "d@v1")}


def test_a_gain_within_its_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.17 * math.sqrt(40), 40)
    noise += 0.01 - noise.mean()
    verdict = decide(scores([a + b for a, b in zip(STEADY, noise, strict=True)]), scores(STEADY))
    assert failed(verdict) == {("gain over champion", "d@v1")}


def test_better_on_synthetic_and_far_worse_on_real_pairs() -> None:
    def both(synthetic: list[float], real: list[float]) -> list[PairScore]:
        return scores(synthetic) + scores(real, dataset="real@v1", inputs=15.0)

    verdict = decide(both(better(0.5), [17, 17]), both(STEADY, [25, 25]))
    assert failed(verdict) == {("PSNR beside champion", "real@v1")}


def test_a_real_set_below_its_own_input() -> None:
    candidate = scores(better(0.5)) + scores([24.9, 24.8], dataset="real@v1", inputs=25.0)
    champion = scores(STEADY) + scores([24.7, 24.6], dataset="real@v1", inputs=25.0)
    assert failed(decide(candidate, champion)) == {("PSNR beside input", "real@v1")}
    assert failed(decide(candidate, None)) == {("PSNR beside input", "real@v1")}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"ssim": 0.2}, "SSIM"),
        ({"ssim": 0.793}, "SSIM"),  # a real run: PSNR +0.15, SSIM -0.007
        ({"mae": 0.15}, "MAE"),
        ({"focus_db": 39.0}, "in focus"),
        ({"near_db": 29.0}, "near"),
    ],
)
def test_a_gain_that_is_paid_for_elsewhere(change: dict[str, float], rule: str) -> None:
    champion = scores(STEADY, focus_db=40.0)
    verdict = decide(scores(better(0.15), **{"focus_db": 40.0, **change}), champion)  # type: ignore[arg-type]
    assert failed(verdict) == {(rule, "d@v1")}
    assert decide(scores(better(0.15), focus_db=40.0), champion).promote


def test_one_pair_and_many_pairs_of_few_scenes() -> None:
    assert ("scenes", "d@v1") in failed(decide(scores([30]), scores([25])))
    three = [f"scene-{i % 3}" for i in range(40)]
    verdict = decide(scores(better(1), scenes=three), scores(STEADY, scenes=three))
    assert failed(verdict) == {("scenes", "d@v1")}
    (said,) = (rule.says for rule in verdict.rules if rule.rule == "gain over champion")
    assert "on 3 scenes, too few for a confidence" in said and "%" not in said


def test_a_candidate_that_is_not_finite_never_wins() -> None:
    outputs = better(3)
    outputs[5] = math.nan
    for champion in (None, scores(STEADY)):
        verdict = decide(scores(outputs), champion)
        assert not verdict.promote and ("finite", "all") in failed(verdict)


def test_a_champion_that_is_not_finite_does_not_stay() -> None:
    outputs = list(STEADY)
    outputs[3] = math.nan
    verdict = decide(scores(STEADY), scores(outputs))
    assert verdict.promote
    assert "not finite on 1 pairs" in format_rules(verdict.rules)
    assert not decide(scores(outputs), scores(outputs)).promote


def test_what_it_was_trained_on_is_no_judge() -> None:
    verdict = decide(scores(better(1)), scores(STEADY), d="the scenes of 3 of its 40 pairs")
    assert failed(verdict) == {("leakage", "d@v1")}
    assert "trained on the scenes of 3 of its 40 pairs" in verdict.reason


@pytest.mark.parametrize(
    "limit",
    [f.name for f in dataclasses.fields(GateRules) if "float" in str(f.type)],
)
def test_a_limit_that_is_no_number_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match=rf"{limit} must "):
        GateRules(**{limit: math.nan})  # type: ignore[arg-type]


def test_training_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="split must be val or test"):
        PromoteConfig(split="train")


def test_budgets_of_time_and_memory() -> None:
    def cost(seconds: float, mib: float) -> Cost:
        return Cost(seconds, mib, "CPU", megapixels=2.0)

    candidate, champion = (
        scores(psnrs, cost=cost(*spent))
        for psnrs, spent in ((better(0.3), (6.0, 900)), (STEADY, (3.0, 500)))
    )
    candidate[3] = dataclasses.replace(candidate[3], cost=cost(6.0, 950))
    assert decide(candidate, champion).promote  # no budget, no rule

    def missed(**budget: float) -> set[str]:
        verdict = decide(candidate, champion, dataclasses.replace(RULES, **budget))
        return {rule for rule, _ in failed(verdict)}

    assert missed(max_seconds_per_megapixel=2.9) == {"time"}
    assert missed(max_seconds_per_megapixel=3.1) == set()
    assert missed(max_slowdown=1.9) == {"slowdown"}
    assert missed(max_slowdown=2.1) == set()
    assert missed(max_memory_mib=949) == {"memory"}
    assert missed(max_memory_mib=951) == set()
    kept = [dataclasses.replace(s, cost=Cost(9.0, 500, "GPU", 2.0)) for s in champion]
    slower = decide(candidate, kept, dataclasses.replace(RULES, max_slowdown=2.1))
    assert failed(slower) == {("slowdown", "all")}  # times of two devices say nothing
    assert "measured on CPU, the champion on GPU" in slower.reason
    unmeasured = dataclasses.replace(RULES, max_memory_mib=951)
    assert not decide(scores(better(0.3)), champion, unmeasured).promote


# A first champion, ties, and how pairs are matched.


def test_the_first_champion_must_exceed_its_input() -> None:
    verdict = decide(scores(better(0)), None)
    assert verdict.promote and verdict.reason.startswith("the first champion")
    worse = decide(scores([19.9] * 40), None)
    assert ("gain over input", "d@v1") in failed(worse)


def test_an_equal_candidate_does_not_win_and_the_limit_is_exclusive() -> None:
    assert not decide(scores(STEADY), scores(STEADY)).promote
    whole = [25.0] * 40

    def promoted(limit: float) -> bool:
        rules = dataclasses.replace(RULES, min_gain_db=limit)
        return decide(scores([26.0] * 40), scores(whole), rules).promote

    assert promoted(0.999) and not promoted(1.0)


@given(st.permutations(range(12)))
def test_order_of_the_champions_scores_does_not_matter(order: list[int]) -> None:
    ours, theirs = scores(STEADY[:12]), scores(better(-0.3)[:12])
    shuffled = [theirs[i] for i in order]
    assert decide(ours, shuffled) == decide(ours, theirs)


def test_other_pairs_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="different pairs"):
        decide(scores(STEADY), scores(STEADY[:-1]))
    with pytest.raises(ValueError, match="no pairs"):
        decide([], None)


@pytest.mark.parametrize("required", [[], ["d@v2"], ["d@v1", "e@v1"]])
def test_a_required_set_that_was_not_measured_is_no_verdict(required: list[str]) -> None:
    """Nothing would have to be shown, and whoever loses little would be promoted."""
    with pytest.raises(ValueError, match=r"required datasets must be of d@v1"):
        judge(scores(STEADY), scores(STEADY), RULES, required=required)


def test_the_table_shows_every_rule_with_its_figures() -> None:
    verdict = decide(scores(better(-0.3), focus_db=40.0), scores(STEADY, focus_db=40.0))
    lines = format_rules(verdict.rules).splitlines()
    assert len(lines) == 1 + len(verdict.rules)
    assert any("FAILED" in line and "-0.30 dB against the champion" in line for line in lines)
    assert any("40 scenes, at least 10 needed" in line for line in lines)


# The bootstrap.


def test_pictures_of_one_scene_are_drawn_together() -> None:
    """Ten copies of each picture are no more evidence than one."""
    values = list(np.random.default_rng(1).normal(0.3, 1, 20))
    once = lower_bound(values, [str(i) for i in range(20)], confidence=0.95)
    copied = lower_bound(values * 10, [str(i) for i in range(20)] * 10, confidence=0.95)
    assert copied == pytest.approx(once, abs=1e-9)
    assert lower_bound(values * 10, [str(i) for i in range(200)], confidence=0.95) > once + 0.1


def test_intervals_are_those_of_student_for_normal_data() -> None:
    from scipy import stats

    for count in (10, 40):
        values = np.random.default_rng(count).normal(1, 0.5, count)
        found = estimate(list(values), [str(i) for i in range(count)], resamples=40000)
        error = values.std(ddof=1) / math.sqrt(count)
        reach = stats.t.ppf(0.975, count - 1) * error
        assert found.low == pytest.approx(values.mean() - reach, abs=0.15 * reach)
        assert found.high == pytest.approx(values.mean() + reach, abs=0.15 * reach)
        scenes = [str(i) for i in range(count)]
        bound = lower_bound(list(values), scenes, confidence=0.975, resamples=40000)
        assert bound == pytest.approx(found.low, abs=1e-9)  # one side of it


def test_one_scene_and_broken_figures_have_no_bound() -> None:
    assert math.isnan(lower_bound([1.0, 2.0], ["a", "a"], confidence=0.95))
    assert math.isnan(lower_bound([1.0, math.nan], ["a", "b"], confidence=0.95))
    assert math.isnan(estimate([1.0, math.inf], ["a", "b"]).low)
    with pytest.raises(ValueError, match="a scene for each value"):
        lower_bound([], [], confidence=0.95)


# The simulation.

MEASURED = (
    (0.188, 0.0054, -0.0159, -0.37, -0.15, 0.21),
    (0.859, 0.0539, -0.0979, 0.36, None, 0.87),
    (0.524, 0.0311, -0.056, 0.52, 0.72, 0.52),
    (0.351, 0.0201, -0.0405, None, 0.49, 0.35),
    (0.626, 0.0297, -0.0669, 0.36, None, 0.63),
    (0.495, 0.0405, -0.066, 0.07, None, 0.5),
    (0.383, 0.012, -0.0514, 0.76, 0.4, 0.38),
    (0.838, 0.0164, -0.0905, None, None, 0.84),
    (0.732, 0.0239, -0.0699, None, 0.12, 0.78),
    (0.518, 0.0259, -0.0492, None, None, 0.52),
    (0.114, 0.0012, -0.017, None, -0.12, 0.26),
    (0.123, 0.0144, -0.0269, 0.29, 0.03, 0.23),
    (0.402, 0.0075, -0.0272, None, None, 0.4),
    (1.026, 0.0493, -0.0992, 1.99, None, 1.02),
    (0.313, 0.0305, -0.0321, None, 0.09, 0.36),
    (0.76, 0.029, -0.0779, -0.28, None, 0.76),
    (0.694, 0.0096, -0.0429, 0.01, 1.03, 0.53),
    (0.35, 0.0486, -0.0491, None, 0.35, 0.35),
    (0.595, 0.0494, -0.0686, 0.34, None, 0.6),
    (0.894, 0.0272, -0.0887, -0.54, None, 0.9),
    (0.568, 0.0293, -0.0572, 1.23, 0.7, 0.48),
    (0.717, 0.0342, -0.0754, 1.15, None, 0.71),
    (0.574, 0.0347, -0.0699, 0.49, None, 0.57),
    (0.655, 0.0369, -0.0792, 7.29, None, 0.65),
    (0.546, 0.018, -0.0331, -0.03, None, 0.55),
    (0.753, 0.0151, -0.0692, 0.91, 0.74, 0.76),
    (0.171, 0.0074, -0.0182, None, None, 0.17),
    (0.712, 0.0146, -0.0559, -0.15, 0.64, 0.72),
    (0.356, 0.0326, -0.0492, 1.3, 1.31, 0.35),
    (0.555, 0.0171, -0.0577, -0.11, None, 0.56),
    (0.361, 0.0218, -0.0515, 1.81, 0.16, 0.37),
    (0.775, 0.0235, -0.0688, None, 0.58, 1.1),
    (1.087, 0.0073, -0.0646, 0.05, 3.09, 0.73),
    (0.61, 0.0032, -0.0324, 0.08, None, 0.61),
    (0.393, 0.0256, -0.0344, -0.11, None, 0.39),
    (0.471, 0.0108, -0.0198, None, None, 0.47),
    (0.824, 0.0274, -0.0958, None, 0.17, 0.83),
    (-0.004, 0.0017, -0.0094, 0.38, None, -0.01),
    (0.424, 0.0028, -0.0156, None, None, 0.42),
    (0.722, 0.0125, -0.0577, None, 0.81, 0.67),
    (0.128, 0.0047, 0.0009, None, None, 0.13),
    (0.474, 0.0056, -0.025, -0.99, None, 0.47),
    (0.359, 0.0218, -0.0563, 1.28, None, 0.36),
)
"""tiny less nano on the 43 held-out places of a set of preset camera, 192 x 256 px: PSNR in dB,
SSIM, MAE as a share, PSNR in focus, near and far. Spread of a scene: 0.24 dB in PSNR."""


def drawn(
    random: np.random.Generator, count: int, true_db: float, wider: float
) -> tuple[list[PairScore], list[PairScore]]:
    """A candidate and a champion on scenes whose differences are drawn from those measured.

    true_db: by how much the candidate is better in truth, all figures else are equal in the mean.
    wider: how much larger the spread of PSNR is than measured.
    """
    columns = [
        np.array([row[i] for row in MEASURED if row[i] is not None], np.float64) for i in range(6)
    ]
    means = [column.mean() for column in columns]
    candidate, champion = [], []
    for number, row in enumerate(random.choice(np.array(MEASURED, object), count)):
        change = [None if v is None else v - m for v, m in zip(row, means, strict=True)]
        gain = true_db + wider * change[0]
        theirs = Quality(psnr=26.0, ssim=0.8, mae=0.04, rmse=0.05)
        ours = Quality(26 + gain, 0.8 + change[1], 0.04 * (1 + change[2]), 0.05)
        before = Quality(psnr=24.0, ssim=0.7, mae=0.05, rmse=0.06)
        parts = [(n, c) for n, c in zip(("in focus", "near", "far"), change[3:], strict=True)]
        for made, output, share in ((candidate, ours, 1.0), (champion, theirs, 0.0)):
            regions = tuple(
                Region(name, 1000, 1e-3, 10 ** (-(30 + share * (true_db + by)) / 10))
                for name, by in parts
                if by is not None
            )
            made.append(PairScore("d@v1", str(number), before, output, regions=regions))
    return candidate, champion


def promotion_rate(count: int, true_db: float, *, wider: float = 1.0, runs: int = 400) -> float:
    random = np.random.default_rng(count)
    won = sum(decide(*drawn(random, count, true_db, wider)).promote for _ in range(runs))
    return won / runs


def test_the_measured_spread_is_what_is_said() -> None:
    gains = [row[0] for row in MEASURED]
    assert len(gains) >= 30 and 0.2 < statistics.stdev(gains) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 30, 100])
@pytest.mark.parametrize("wider", [1.0, 2.0])
def test_without_a_difference_it_promotes_at_most_one_time_in_twenty(
    count: int, wider: float
) -> None:
    assert promotion_rate(count, 0.0, wider=wider) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 30, 100])
def test_a_tenth_of_a_db_worse_is_promoted_at_most_one_time_in_a_hundred(count: int) -> None:
    assert promotion_rate(count, -0.1) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("wider", [1.0, 2.0])
def test_a_fifth_of_a_db_better_on_a_hundred_scenes_is_mostly_promoted(wider: float) -> None:
    # No rare event: a quarter of the draws that the other rates take shows it as well.
    assert promotion_rate(100, 0.2, wider=wider, runs=100) >= 0.8
