"""How well pairs are restored: one score a pair, and the table that they make.

Pictures are scored as floats in [0, 1], not quantised, per picture; a table has the means.
RMSE_rel is 10^(-mean PSNR / 20) as in the paper's tables. The "input" is the mean of the two
views, which is what one has without a network.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PSNR_CEILING_DB = 100.0
"""Equal pictures have infinite PSNR, of which no mean can be taken: they count as this."""

INPUT = "input (mean of the views)"
OVERALL = "all"


@dataclass(frozen=True, slots=True)
class Quality:
    """Four figures of one picture against its target."""

    psnr: float
    """dB, at most PSNR_CEILING_DB."""
    ssim: float
    mae: float
    rmse: float
    """Of this picture; its mean over pictures is not RMSE_rel."""


@dataclass(frozen=True, slots=True)
class Region:
    """Errors over the pixels of one kind in a picture, before and after."""

    name: str
    """``in focus``, ``near``, ``far``, or the range of a blur radius, such as ``radius 2-4``."""
    pixels: int
    input_mse: float
    """Mean squared error over these pixels, of [0, 1]."""
    output_mse: float
    input_counts: tuple[int, ...] = ()
    """How many absolute errors fall between the edges of ``pipelines.evaluation.regions``; empty
    where nobody looks at their distribution."""
    output_counts: tuple[int, ...] = ()

    @property
    def input_psnr(self) -> float:
        """dB, at most PSNR_CEILING_DB."""
        return _psnr(self.input_mse)

    @property
    def output_psnr(self) -> float:
        """dB, at most PSNR_CEILING_DB."""
        return _psnr(self.output_mse)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one picture took on the machine that measured."""

    seconds: float
    """From views to picture in the model's process, on a clock on the wall."""
    peak_mib: float
    """Most memory of that process until then: allocated on a GPU, else resident."""
    device: str
    megapixels: float


@dataclass(frozen=True, slots=True)
class PairScore:
    """One pair, before and after."""

    dataset: str
    """name@version."""
    pair_id: str
    input: Quality
    output: Quality
    scene_id: str = ""
    """Pairs of one scene are not independent; empty: a scene of its own."""
    regions: tuple[Region, ...] = ()
    """Empty where the set has no blur radii."""
    cost: Cost | None = None

    @property
    def scene(self) -> str:
        """What is drawn when scenes are drawn."""
        return self.scene_id or self.pair_id


@dataclass(frozen=True, slots=True)
class TableRow:
    """Means over the pairs of a dataset."""

    dataset: str
    """name@version, or "all"."""
    method: str
    pairs: int
    psnr: float
    ssim: float
    rmse_rel: float
    """10^(-psnr / 20)."""
    mae: float
    mean_rmse: float
    """Mean of the pictures' own RMSE."""


def score_of(values: Mapping[str, Any]) -> PairScore:
    """Return a score from what ``dataclasses.asdict`` made of it, read back from JSON."""
    regions = tuple(
        Region(
            **{
                **region,
                "input_counts": tuple(region["input_counts"]),
                "output_counts": tuple(region["output_counts"]),
            }
        )
        for region in values.get("regions", ())
    )
    cost = values.get("cost")
    return PairScore(
        dataset=values["dataset"],
        pair_id=values["pair_id"],
        input=Quality(**values["input"]),
        output=Quality(**values["output"]),
        scene_id=values.get("scene_id", ""),
        regions=regions,
        cost=Cost(**cost) if cost else None,
    )


def to_unit(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float32]:
    """Scale an 8 or 16 bit picture to float32 in [0, 1]."""
    return np.asarray(image, np.float32) / np.float32(np.iinfo(image.dtype).max)


def mean_view(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of two views, in sRGB values, as the network's residual takes it."""
    return 0.5 * (left + right)


def quality(image: NDArray[np.float32], target: NDArray[np.float32]) -> Quality:
    """Measure a picture, ``(H, W, 3)`` in [0, 1], against its target."""
    from k3dn import metrics

    psnr = min(metrics.psnr(image, target), PSNR_CEILING_DB)
    error = np.asarray(image, np.float64) - target
    return Quality(
        psnr=psnr,
        ssim=metrics.ssim(image, target),
        mae=metrics.mae(image, target),
        rmse=math.sqrt(float(np.mean(error**2))),
    )


def table(scores: Sequence[PairScore], method: str) -> tuple[TableRow, ...]:
    """Return per dataset the input's row and the method's, and both over all pairs.

    The rows over all pairs are left out where there is but one dataset.
    """
    from k3dn import metrics

    datasets = list(dict.fromkeys(score.dataset for score in scores))
    groups = [(name, [s for s in scores if s.dataset == name]) for name in datasets]
    if len(groups) > 1:
        groups.append((OVERALL, list(scores)))
    rows = []
    for dataset, group in groups:
        for name, qualities in (
            (INPUT, [s.input for s in group]),
            (method, [s.output for s in group]),
        ):
            psnr = _mean([q.psnr for q in qualities])
            rows.append(
                TableRow(
                    dataset=dataset,
                    method=name,
                    pairs=len(group),
                    psnr=psnr,
                    ssim=_mean([q.ssim for q in qualities]),
                    rmse_rel=metrics.rmse_rel(psnr),
                    mae=_mean([q.mae for q in qualities]),
                    mean_rmse=_mean([q.rmse for q in qualities]),
                )
            )
    return tuple(rows)


def format_table(rows: Sequence[TableRow]) -> str:
    """Return the table as text with aligned columns."""
    head = ("dataset", "method", "pairs", "PSNR dB", "SSIM", "RMSE_rel", "MAE")
    cells = [
        (
            row.dataset,
            row.method,
            str(row.pairs),
            f"{row.psnr:.2f}",
            f"{row.ssim:.4f}",
            f"{row.rmse_rel:.4f}",
            f"{row.mae:.4f}",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *cells]) for i in range(len(head))]

    def line(values: tuple[str, ...]) -> str:
        texts = [
            v.ljust(w) if i < 2 else v.rjust(w)
            for i, (v, w) in enumerate(zip(values, widths, strict=True))
        ]
        return "  ".join(texts).rstrip()

    return "\n".join(line(values) for values in [head, *cells])


def _psnr(mse: float) -> float:
    if mse == 0.0:
        return PSNR_CEILING_DB
    return min(-10.0 * math.log10(mse), PSNR_CEILING_DB) if mse > 0 else math.nan


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
