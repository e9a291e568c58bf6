"""``k3dn compare``: measure two dataset versions and say how unlike they are."""

import dataclasses
import json
import math
from typing import Any

import numpy as np

from pipelines.compare.apertures import FAMILIES
from pipelines.compare.config import CompareConfig
from pipelines.compare.distance import chance, distance
from pipelines.compare.page import comparison_page
from pipelines.compare.quantities import QUANTITIES
from pipelines.compare.result import SHARES, CompareResult, Row, SideFigures
from pipelines.compare.sample import Sample, take_sample
from pipelines.dataset.version import open_version
from pipelines.storage import locate

FEWEST = 4
"""Values of each dataset without which no distance is given."""


def run(config: CompareConfig) -> CompareResult:
    """Measure both, write the page. Raises UserError for versions that cannot be measured."""
    root = locate(config.root)
    versions = [open_version(root, reference) for reference in config.datasets]
    samples = [take_sample(version, config) for version in versions]
    rows = tuple(_row(name, samples[0], samples[1], config.seed) for name in QUANTITIES)
    if config.output is not None:
        folder = locate(config.output)
    else:
        folder = root.child("_comparisons", "--".join(version.reference for version in versions))
    first, second = (side_figures(sample) for sample in samples)
    result = CompareResult(
        datasets=(first, second),
        shares=SHARES,
        rows=rows,
        page=folder.child("index.html").url,
        output=folder.url,
    )
    page = comparison_page(result, (samples[0], samples[1]))
    folder.child("index.html").write_bytes(page.encode())
    text = json.dumps(dataclasses.asdict(result), indent=1, allow_nan=False)
    folder.child("result.json").write_bytes(text.encode())
    return result


def side_figures(sample: Sample) -> SideFigures:
    """Sum up one dataset."""
    signed = sample.all_of("signed_radius_share")
    truths = np.concatenate([pair.radius_over_truth for pair in sample.pairs])
    sides = np.concatenate([pair.side_is_true for pair in sample.pairs])
    leftovers = {name: sample.left_over(name) for name in FAMILIES}
    return SideFigures(
        reference=sample.reference,
        pairs=len(sample.pairs),
        skipped=sample.skipped,
        patches=sum(pair.patches for pair in sample.pairs),
        clean=sum(pair.clean for pair in sample.pairs),
        beyond=sum(pair.beyond for pair in sample.pairs),
        near=float((signed > 0.0).mean()) if len(signed) else None,
        left_over={name: float(np.median(v)) for name, v in leftovers.items() if len(v)},
        radius_over_truth=(
            [float(value) for value in np.quantile(truths, [0.25, 0.5, 0.75])]
            if len(truths)
            else None
        ),
        side_is_true=float(sides.mean()) if len(sides) else None,
    )


def _row(name: str, first: Sample, second: Sample, seed: int) -> Row:
    one, other = first.all_of(name), second.all_of(name)
    enough = min(len(one), len(other)) >= FEWEST
    return Row(
        name=name,
        title=QUANTITIES[name].title,
        unit=QUANTITIES[name].unit,
        counts=(len(one), len(other)),
        quantiles=(_quantiles(one), _quantiles(other)),
        distance=distance(one, other) if enough else None,
        chance=_finite(chance(first.of(name), second.of(name), seed)) if enough else None,
    )


def _quantiles(values: Any) -> list[float]:
    return [float(value) for value in np.quantile(values, SHARES)] if len(values) else []


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
