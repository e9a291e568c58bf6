"""Which pairs the page shows, from the worst to the best, and what each method makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.version import open_version
from pipelines.evaluation.config import EvaluateConfig
from pipelines.registry.loading import SettledModel
from pipelines.registry.model_process import ModelProcess
from pipelines.scores import PairScore, mean_view, to_unit
from pipelines.storage import locate

Picture = NDArray[np.float32]
_MOST_PX = 1200
"""Larger pictures are shown by their middle: a page must load."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One pair with what every method makes of it; pictures ``(H, W, 3)`` in [0, 1]."""

    dataset: str
    pair_id: str
    place: str
    """Where the pair stands among those of its dataset, such as ``worst``."""
    input: Picture
    outputs: Mapping[str, Picture]
    """By label of the method."""
    target: Picture
    psnr: Mapping[str, float]
    """Of each method on the whole picture, dB."""
    input_psnr: float


def chosen(scores: Sequence[PairScore], count: int) -> list[tuple[str, PairScore]]:
    """Return so many pairs of each dataset, evenly from the worst gain to the best, with names."""
    found = []
    for dataset in dict.fromkeys(score.dataset for score in scores):
        here = [score for score in scores if score.dataset == dataset]
        order = sorted(here, key=lambda score: score.output.psnr - score.input.psnr)
        picks = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))) + 1e-9)
        if count == 1:
            picks = np.array([(len(order) - 1) // 2])
        for pick in picks.astype(int):
            found.append((_place(int(pick), len(order)), order[pick]))
    return found


def _place(rank: int, count: int) -> str:
    if count == 1:
        return "the only one"
    names = {(count - 1) // 2: "median gain", 0: "worst gain", count - 1: "best gain"}
    return names.get(rank, f"{100 * rank / (count - 1):.0f} % of gains are smaller")


def restored(
    config: EvaluateConfig,
    picks: Sequence[tuple[str, PairScore]],
    processes: Mapping[str, tuple[SettledModel, ModelProcess]],
    scores: Mapping[str, Sequence[PairScore]],
) -> list[Shown]:
    """Restore the chosen pairs by each method.

    processes: by label. Raises UserError where a model fails.
    """
    root = locate(config.root)
    settings = {"tile_px": config.tile_px, "halo_px": config.halo_px, "precision": config.precision}
    found = []
    for place, score in picks:
        version = open_version(root, score.dataset)
        index = version.pair_ids(config.split).index(score.pair_id)
        pair = version.read_pair(config.split, index)
        assert pair.target is not None
        left, right, target = (to_unit(image) for image in (pair.left, pair.right, pair.target))
        outputs = {
            label: np.asarray(process.predict(left, right, settings), np.float32)
            for label, (_, process) in processes.items()
        }
        psnr = {
            label: other.output.psnr
            for label, of_method in scores.items()
            for other in of_method
            if (other.dataset, other.pair_id) == (score.dataset, score.pair_id)
        }
        found.append(
            Shown(
                dataset=score.dataset,
                pair_id=score.pair_id,
                place=place,
                input=middle(mean_view(left, right), _MOST_PX),
                outputs={label: middle(output, _MOST_PX) for label, output in outputs.items()},
                target=middle(target, _MOST_PX),
                psnr=psnr,
                input_psnr=score.input.psnr,
            )
        )
    return found


def middle(picture: Picture, most_px: int) -> Picture:
    """Return a picture, or its middle where it is larger."""
    height, width = picture.shape[:2]
    top, left = max(height - most_px, 0) // 2, max(width - most_px, 0) // 2
    return picture[top : top + most_px, left : left + most_px]
