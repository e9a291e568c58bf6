"""The scores of one row over its seeds: each picture's mean, and each seed's own."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from pipelines.scores import PairScore, Quality, Region


def mean_score(scores: Sequence[Sequence[PairScore]]) -> tuple[PairScore, ...]:
    """Return one score a picture, the mean over networks that were trained with other seeds.

    So a picture counts once however many seeds there are, and the bootstrap by scene is that of
    one model. Errors by region are pooled. Raises ValueError where the pictures are not the same.
    """
    found = []
    for of_pair in zip(*scores, strict=True):
        first = of_pair[0]
        if {(score.dataset, score.pair_id) for score in of_pair} != {
            (first.dataset, first.pair_id)
        }:
            raise ValueError("the seeds were not measured on the same pictures")
        regions = zip(*(score.regions for score in of_pair), strict=True)
        found.append(
            dataclasses.replace(
                first,
                output=_mean_quality([score.output for score in of_pair]),
                regions=tuple(_pooled(list(of_seeds)) for of_seeds in regions),
            )
        )
    return tuple(found)


def by_seed(scores: Sequence[Sequence[PairScore]], dataset: str) -> tuple[float, ...]:
    """Return the mean PSNR in dB on a dataset of the network of each seed."""
    return tuple(
        _mean([score.output.psnr for score in of_seed if score.dataset == dataset])
        for of_seed in scores
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_quality(qualities: Sequence[Quality]) -> Quality:
    def mean(of: Callable[[Quality], float]) -> float:
        return _mean([of(quality) for quality in qualities])

    return Quality(
        psnr=mean(lambda quality: quality.psnr),
        ssim=mean(lambda quality: quality.ssim),
        mae=mean(lambda quality: quality.mae),
        rmse=mean(lambda quality: quality.rmse),
    )


def _pooled(regions: Sequence[Region]) -> Region:
    counts = zip(*(region.output_counts for region in regions), strict=True)
    return dataclasses.replace(
        regions[0],
        output_mse=_mean([region.output_mse for region in regions]),
        input_counts=tuple(count * len(regions) for count in regions[0].input_counts),
        output_counts=tuple(map(sum, counts)),
    )
