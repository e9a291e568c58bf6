"""Figures of a model card: means over pictures, with their intervals and the worst picture."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from k3dn.box import Figure
from pipelines.errors import UserError
from pipelines.scores import PairScore
from pipelines.storage import Location

# 97.5 % quantiles of Student's t for 2, 3, ... 30 degrees of freedom.
_T = (
    *(4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160),
    *(2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056),
    *(2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.96
_SWAPPED = " swapped"
_UNCHANGED = ("sharp",)
"""Sets of tests/benchmarks/real_pictures.py that shall come back as they are."""


def figure(
    data: str,
    values_db: Mapping[str, float],
    *,
    side: str | None = None,
    measure: Literal["gain", "unchanged"] = "gain",
) -> Figure:
    """The figure of one set.

    values_db: by name of the picture, at least one. The interval is Student's, of the mean over
    pictures drawn as these were; one or two pictures have none.
    """
    values = list(values_db.values())
    count, mean = len(values), math.fsum(values) / len(values)
    reach: float | None = None
    if count > 2:
        deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
        reach = _quantile(count - 1) * deviation / math.sqrt(count)
    worst = min(values_db, key=lambda name: values_db[name])
    return Figure(
        data=data,
        side=side,
        measure=measure,
        pictures=count,
        mean_db=round(mean, 3),
        low_db=None if reach is None else round(mean - reach, 3),
        high_db=None if reach is None else round(mean + reach, 3),
        worst_db=round(values_db[worst], 3),
        worst=worst,
    )


def _quantile(freedom: int) -> float:
    if freedom - 2 < len(_T):
        return _T[freedom - 2]
    return _NORMAL + (_NORMAL**3 + _NORMAL) / (4 * freedom)  # Cornish-Fisher, first term


def figures_of_scores(scores: Sequence[PairScore]) -> tuple[Figure, ...]:
    """The figures of an evaluation, one a dataset: PSNR over the mean of the views."""
    by_dataset: dict[str, dict[str, float]] = {}
    for score in scores:
        gain = score.output.psnr - score.input.psnr
        by_dataset.setdefault(score.dataset, {})[score.pair_id] = gain
    return tuple(figure(dataset, gains) for dataset, gains in by_dataset.items())


def read_benchmark(location: Location, name: str) -> tuple[Figure, ...]:
    """The figures in a JSON file of tests/benchmarks/real_pictures.py.

    name: of the weights file, where several were measured at once. Raises UserError where the
    file is none of its kind or has no such weights.
    """
    try:
        results: Any = json.loads(location.read_bytes())
        name = name if len(results) > 1 else next(iter(results), name)
        if name not in results:
            raise UserError(f"{location}: it has figures of {', '.join(results)}, not of {name!r}")
        return tuple(_of_set(title, values) for title, values in results[name].items())
    except FileNotFoundError as error:
        raise UserError(f"there are no figures at {location}; check the path") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{location}: no figures of tests/benchmarks/real_pictures.py ({error})"
        ) from error


def _of_set(title: str, values: Mapping[str, float]) -> Figure:
    if title in _UNCHANGED:
        return figure(title, values, measure="unchanged")
    side = "views exchanged" if title.endswith(_SWAPPED) else "views as taken"
    return figure(title.removesuffix(_SWAPPED), values, side=side)
