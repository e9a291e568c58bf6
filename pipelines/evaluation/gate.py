"""The gate: does a candidate take the champion's place? Rules with their figures; pure arithmetic.

Differences are paired: each picture is compared with itself, which takes the spread between easy
and hard pictures out of the comparison. A gain must be shown, by a confidence bound over scenes,
on the required datasets; everything else must not be lost, by the mean, within a tolerance.

A figure that is not finite meets no rule. A champion with such figures is not compared with: it
holds its place by no measurement, and who meets the rules for a first champion takes it.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from pipelines.evaluation.bootstrap import FEWEST, lower_bound
from pipelines.evaluation.config import GateRules
from pipelines.evaluation.regions import FAR, IN_FOCUS, NEAR
from pipelines.scores import PairScore, Quality

Of = Callable[[Quality], float]


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one rule came out."""

    rule: str
    """Its name, the same for all datasets."""
    subject: str
    """The dataset, or what else it looks at."""
    value: float | None
    """What was found; None where nothing is known."""
    limit: float | None
    unit: str
    met: bool
    says: str
    """One clause with its figures."""

    def as_json(self) -> dict[str, object]:
        """Return its fields; numbers that JSON does not have are None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decides, and on what grounds."""

    promote: bool
    reason: str
    """One clause."""
    rules: tuple[RuleResult, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
    """Means of the candidate, and its gains, in dB."""


def judge(
    candidate: Sequence[PairScore],
    champion: Sequence[PairScore] | None,
    rules: GateRules,
    *,
    required: Sequence[str],
    leaks: Mapping[str, str] | None = None,
    unknown: str = "",
) -> Verdict:
    """Decide whether a candidate becomes champion.

    required: the datasets, name@version, on which a gain must be shown. leaks: what the candidate
    has seen of a dataset, in words. unknown: what nobody knows of its training. Raises ValueError
    where there are no pairs, where the two were not measured on the same ones, and where a required
    dataset is not among those measured on: no gain would have to be shown.
    """
    if not candidate:
        raise ValueError("no pairs to compare on")
    datasets = list(dict.fromkeys(score.dataset for score in candidate))
    if not required or not set(required) <= set(datasets):
        named = ", ".join(required) or "none"
        raise ValueError(f"required datasets must be of {', '.join(datasets)}, got {named}")
    broken = champion is not None and not all(map(_finite, champion))
    pairs = _paired(candidate, None if broken else champion)
    found = [_finite_rule(candidate)]
    if champion is not None and broken:
        bad = sum(not _finite(score) for score in champion)
        says = f"the champion's figures are not finite on {bad} pairs: it is not compared with"
        found.append(RuleResult("champion", "all", float(bad), None, "pairs", True, says))
    found += _leakage(datasets, leaks or {}, unknown)
    for name in datasets:
        here = [pair for pair in pairs if pair[0].dataset == name]
        found += _of_dataset(name, here, rules, required=name in required)
    found += _budgets(candidate, None if broken else champion, rules)
    failed = [rule for rule in found if not rule.met]
    versus = "over champion" if champion is not None and not broken else "over input"
    gains = [rule for rule in found if rule.rule == f"gain {versus}"]
    grounds = failed or gains
    reason = "; ".join(f"{r.subject}: {r.says}" if r.subject != "all" else r.says for r in grounds)
    return Verdict(
        promote=not failed,
        reason=reason if champion is not None or failed else f"the first champion: {reason}",
        rules=tuple(found),
        figures=_figures(pairs, datasets),
    )


Pair = tuple[PairScore, PairScore | None]


def _paired(candidate: Sequence[PairScore], champion: Sequence[PairScore] | None) -> list[Pair]:
    if champion is None:
        return [(score, None) for score in candidate]
    theirs = {(score.dataset, score.pair_id): score for score in champion}
    ours = {(score.dataset, score.pair_id) for score in candidate}
    if theirs.keys() != ours:
        raise ValueError("candidate and champion were measured on different pairs")
    return [(score, theirs[score.dataset, score.pair_id]) for score in candidate]


def _finite(score: PairScore) -> bool:
    output = score.output
    return all(map(math.isfinite, (output.psnr, output.ssim, output.mae, output.rmse)))


def _finite_rule(candidate: Sequence[PairScore]) -> RuleResult:
    bad = sum(not _finite(score) for score in candidate)
    says = f"figures are not finite on {bad} of {len(candidate)} pairs"
    return RuleResult("finite", "all", float(bad), 0.0, "pairs", bad == 0, says)


def _leakage(datasets: Sequence[str], leaks: Mapping[str, str], unknown: str) -> list[RuleResult]:
    found = []
    for name in datasets:
        seen = leaks.get(name, "")
        says = f"it was trained on {seen}" if seen else unknown or "it has seen none of it"
        found.append(RuleResult("leakage", name, None, None, "", not seen, says))
    return found


def _of_dataset(
    name: str, pairs: Sequence[Pair], rules: GateRules, *, required: bool
) -> list[RuleResult]:
    scenes = [ours.scene for ours, _ in pairs]
    over_input = [ours.output.psnr - ours.input.psnr for ours, _ in pairs]
    over_champion = [
        ours.output.psnr - theirs.output.psnr for ours, theirs in pairs if theirs is not None
    ]
    found = []
    if required:
        count = len(set(scenes))
        says = f"{count} {'scene' if count == 1 else 'scenes'}, at least {rules.min_scenes} needed"
        enough = count >= rules.min_scenes
        found.append(
            RuleResult("scenes", name, float(count), float(rules.min_scenes), "", enough, says)
        )
        found.append(
            _gain(name, "input", over_input, scenes, rules.min_input_gain_db, rules.confidence)
        )
        if over_champion:
            found.append(
                _gain(name, "champion", over_champion, scenes, rules.min_gain_db, rules.confidence)
            )
    found.append(_kept("input", name, over_input, rules.input_tolerance_db, "dB"))
    if over_champion:
        found.append(_kept("champion", name, over_champion, rules.champion_tolerance_db, "dB"))
    found.append(_ssim(name, pairs, rules.ssim_tolerance))
    found.append(_mae(name, pairs, rules.mae_tolerance))
    for region in (IN_FOCUS, NEAR, FAR):
        found += _region(name, region, pairs, rules.region_tolerance_db)
    return found


def _gain(
    name: str,
    over: str,
    gains: Sequence[float],
    scenes: Sequence[str],
    limit: float,
    confidence: float,
) -> RuleResult:
    bound = lower_bound(gains, scenes, confidence=confidence)
    mean, won = math.fsum(gains) / len(gains), sum(gain > 0 for gain in gains)
    against = "the blurred input" if over == "input" else "the champion"
    known = f"at least {bound:+.2f} with {100 * confidence:g}% confidence"
    if len(set(scenes)) < FEWEST:  # no share of so few scenes is as small as that
        known = f"at least {bound:+.2f} on {len(set(scenes))} scenes, too few for a confidence"
    says = (
        f"{mean:+.2f} dB against {against}, "
        f"{known if math.isfinite(bound) else 'no bound from what was measured'} "
        f"(better on {won} of {len(gains)} pairs), more than {limit:g} needed"
    )
    return RuleResult(f"gain over {over}", name, bound, limit, "dB", bound > limit, says)


def _kept(over: str, name: str, gains: Sequence[float], tolerance: float, unit: str) -> RuleResult:
    mean = math.fsum(gains) / len(gains)
    against = "its blurred input" if over == "input" else "the champion"
    says = f"{mean:+.2f} {unit} against {against}, no less than {-tolerance:g} allowed"
    return RuleResult(f"PSNR beside {over}", name, mean, -tolerance, unit, mean >= -tolerance, says)


def _beside(pairs: Sequence[Pair], of: Of) -> tuple[float, float, str]:
    """The candidate's mean, and that of the champion, or of the input where there is none."""
    ours = math.fsum(of(pair.output) for pair, _ in pairs) / len(pairs)
    if pairs[0][1] is None:
        return ours, math.fsum(of(pair.input) for pair, _ in pairs) / len(pairs), "its input"
    theirs = math.fsum(of(pair.output) for _, pair in pairs if pair is not None) / len(pairs)
    return ours, theirs, "the champion"


def _ssim(name: str, pairs: Sequence[Pair], tolerance: float) -> RuleResult:
    ours, theirs, whose = _beside(pairs, lambda quality: quality.ssim)
    says = f"{ours:.4f}, {whose} has {theirs:.4f}, no less than {-tolerance:g} allowed"
    met = ours - theirs >= -tolerance
    return RuleResult("SSIM", name, ours - theirs, -tolerance, "", met, says)


def _mae(name: str, pairs: Sequence[Pair], tolerance: float) -> RuleResult:
    ours, theirs, whose = _beside(pairs, lambda quality: quality.mae)
    more = ours / theirs - 1 if theirs > 0 else (0.0 if ours == 0 else math.inf)
    says = f"{ours:.4f}, {whose} has {theirs:.4f}, no more than {tolerance:+.0%} allowed"
    return RuleResult("MAE", name, more, tolerance, "", more <= tolerance, says)


def _region(name: str, region: str, pairs: Sequence[Pair], tolerance: float) -> list[RuleResult]:
    """No row without a champion or without known blur radii."""
    changes = []
    for ours, theirs in pairs:
        if theirs is None:
            return []
        mine = {part.name: part.output_psnr for part in ours.regions}
        other = {part.name: part.output_psnr for part in theirs.regions}
        if region in mine and region in other:
            changes.append(mine[region] - other[region])
    if not changes:
        return []
    mean = math.fsum(changes) / len(changes)
    says = (
        f"{mean:+.2f} dB on pixels {region} against the champion, no less than {-tolerance:g} "
        "allowed"
    )
    return [RuleResult(region, name, mean, -tolerance, "dB", mean >= -tolerance, says)]


def _budgets(
    candidate: Sequence[PairScore], champion: Sequence[PairScore] | None, rules: GateRules
) -> list[RuleResult]:
    found = []
    ours, memory = _seconds(candidate), _memory(candidate)
    if (limit := rules.max_seconds_per_megapixel) is not None:
        found.append(_budget("time", ours, limit, "s a megapixel"))
    if (limit := rules.max_slowdown) is not None and champion is not None:
        theirs = _seconds(champion)
        alike = _devices(candidate) == _devices(champion)
        ratio = ours / theirs if alike and ours is not None and theirs else None
        found.append(_budget("slowdown", ratio, limit, "times the champion's time"))
        if not alike:
            says = (
                f"slowdown: measured on {_devices(candidate)}, the champion on "
                f"{_devices(champion)}; measure both on one device"
            )
            found[-1] = replace(found[-1], says=says)
    if (limit := rules.max_memory_mib) is not None:
        found.append(_budget("memory", memory, limit, "MiB"))
    return found


def _budget(rule: str, value: float | None, limit: float, unit: str) -> RuleResult:
    shown = "not measured" if value is None else f"{value:.3g} {unit}"
    says = f"{rule}: {shown}, at most {limit:g} allowed"
    return RuleResult(rule, "all", value, limit, unit, value is not None and value <= limit, says)


def _seconds(scores: Sequence[PairScore]) -> float | None:
    times = [s.cost.seconds / s.cost.megapixels for s in scores if s.cost is not None]
    return statistics.median(times) if times else None


def _devices(scores: Sequence[PairScore]) -> str:
    return ", ".join(sorted({s.cost.device for s in scores if s.cost is not None})) or "none"


def _memory(scores: Sequence[PairScore]) -> float | None:
    return max((s.cost.peak_mib for s in scores if s.cost is not None), default=None)


def _figures(pairs: Sequence[Pair], datasets: Sequence[str]) -> dict[str, float]:
    figures = {}
    for name in datasets:
        here = [pair for pair in pairs if pair[0].dataset == name]
        ours = [score.output.psnr for score, _ in here]
        figures[f"{name}/psnr"] = math.fsum(ours) / len(here)
        before = math.fsum(score.input.psnr for score, _ in here) / len(here)
        figures[f"{name}/input_gain"] = figures[f"{name}/psnr"] - before
        theirs = [score.output.psnr for _, score in here if score is not None]
        if theirs:
            gain = figures[f"{name}/psnr"] - math.fsum(theirs) / len(here)
            figures[f"{name}/champion_gain"] = gain
    return {key: value for key, value in figures.items() if math.isfinite(value)}


def format_rules(rules: Sequence[RuleResult]) -> str:
    """Return the rules as a table of text, one a line."""
    lines = [("", "rule", "on", "found")]
    lines += [("met" if r.met else "FAILED", r.rule, r.subject, r.says) for r in rules]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join(
        "  ".join([*(line[i].ljust(widths[i]) for i in range(3)), line[3]]).rstrip()
        for line in lines
    )
