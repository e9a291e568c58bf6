"""What the scores of several models say: means with intervals, paired differences, by blur."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k3dn.metrics import rmse_rel
from pipelines.evaluation.bootstrap import Estimate, estimate
from pipelines.evaluation.regions import FAR, IN_FOCUS, NEAR, RADIUS_NAMES
from pipelines.scores import INPUT, PairScore, Quality

KINDS = (IN_FOCUS, NEAR, FAR, *RADIUS_NAMES)


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method on one dataset."""

    dataset: str
    """name@version."""
    method: str
    psnr: Estimate
    """dB; intervals are of 95 %, by scene."""
    ssim: Estimate
    mae: Estimate
    rmse_rel: float
    """10^(-mean PSNR / 20)."""
    over_input: Estimate | None
    """Paired gain in PSNR over the blurred input, dB; None for the input itself."""
    over_first: Estimate | None
    """Paired gain in PSNR over the first model, dB; None for that and for the input."""
    by_kind: Mapping[str, Estimate]
    """Gain over the input in dB by what a pixel is; empty without known blur radii."""
    focus_errors: tuple[int, ...]
    """How many absolute errors of pixels in focus lie between ``regions.ERROR_EDGES``."""
    seconds_per_megapixel: float | None
    """Median over pictures."""
    peak_mib: float | None
    device: str


def figures_of(scores: Mapping[str, Sequence[PairScore]]) -> tuple[MethodFigures, ...]:
    """Return the figures of each dataset: the input, then the methods in their order.

    scores: by label of the method, all of the same pairs.
    """
    methods = list(scores)
    datasets = list(dict.fromkeys(score.dataset for score in scores[methods[0]]))
    found = []
    for dataset in datasets:
        of_method = {
            method: [score for score in scores[method] if score.dataset == dataset]
            for method in methods
        }
        first = of_method[methods[0]]
        found.append(_input(dataset, first))
        found += [
            _method(dataset, method, of_method[method], None if method == methods[0] else first)
            for method in methods
        ]
    return tuple(found)


def as_plain(value: object) -> object:
    """Return values as JSON has them: numbers that are none become null."""
    if isinstance(value, Mapping):
        return {str(key): as_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _input(dataset: str, scores: Sequence[PairScore]) -> MethodFigures:
    return MethodFigures(
        **_means(scores, lambda score: score.input),
        dataset=dataset,
        method=INPUT,
        over_input=None,
        over_first=None,
        by_kind={},
        focus_errors=_added([r.input_counts for s in scores for r in s.regions]),
        seconds_per_megapixel=None,
        peak_mib=None,
        device="",
    )


def _method(
    dataset: str, method: str, scores: Sequence[PairScore], first: Sequence[PairScore] | None
) -> MethodFigures:
    scenes = [score.scene for score in scores]
    over_first = None
    if first is not None:
        theirs = {score.pair_id: score.output.psnr for score in first}
        over_first = estimate([s.output.psnr - theirs[s.pair_id] for s in scores], scenes)
    costs = [score.cost for score in scores if score.cost is not None]
    return MethodFigures(
        **_means(scores, lambda score: score.output),
        dataset=dataset,
        method=method,
        over_input=estimate([s.output.psnr - s.input.psnr for s in scores], scenes),
        over_first=over_first,
        by_kind=_by_kind(scores),
        focus_errors=_added([r.output_counts for s in scores for r in s.regions]),
        seconds_per_megapixel=(
            statistics.median(cost.seconds / cost.megapixels for cost in costs) if costs else None
        ),
        peak_mib=max((cost.peak_mib for cost in costs), default=None),
        device=", ".join(dict.fromkeys(cost.device for cost in costs)),
    )


def _means(scores: Sequence[PairScore], of: Callable[[PairScore], Quality]) -> dict[str, Any]:
    """The fields of MethodFigures that the input has too."""
    scenes = [score.scene for score in scores]
    psnr = estimate([of(score).psnr for score in scores], scenes)
    return {
        "psnr": psnr,
        "ssim": estimate([of(score).ssim for score in scores], scenes),
        "mae": estimate([of(score).mae for score in scores], scenes),
        "rmse_rel": rmse_rel(psnr.mean) if math.isfinite(psnr.mean) else math.nan,
    }


def _by_kind(scores: Sequence[PairScore]) -> dict[str, Estimate]:
    found = {}
    for kind in KINDS:
        gains, scenes = [], []
        for score in scores:
            for region in score.regions:
                if region.name == kind:
                    gains.append(region.output_psnr - region.input_psnr)
                    scenes.append(score.scene)
        if gains:
            found[kind] = estimate(gains, scenes)
    return found


def _added(counts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    known = [count for count in counts if count]
    return tuple(sum(column) for column in zip(*known, strict=True))
