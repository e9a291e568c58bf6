"""One restored pair scored. What a score is lies in the modules of ``SCORING`` alone: their content
is part of the name under which scores are kept, so that none is read that another code would give.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.dataset.record import Pair
from pipelines.errors import UserError
from pipelines.evaluation.masks import mask_of
from pipelines.evaluation.regions import Picture, focus_region, regions
from pipelines.evaluation.registration import RIM_PX, onto_truth
from pipelines.scores import Cost, PairScore, Region, mean_view, quality, to_unit
from pipelines.storage import Location

SCORING = (
    "k3dn.metrics",
    "pipelines.evaluation.masks",
    "pipelines.evaluation.regions",
    "pipelines.evaluation.registration",
    "pipelines.evaluation.scoring",
    "pipelines.scores",
)
"""The modules that make a score of a pair and what a model made of it."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How pairs are scored."""

    register: bool
    """Move pictures onto their truth before they are compared with it."""
    masks: Location | None
    """Folder of masks of what is in focus, for pairs without blur radii."""

    def score(self, reference: str, pair: Pair, restored: Picture, cost: Cost | None) -> PairScore:
        """Return the score of what a model made of a pair that has a target.

        reference: name@version of its dataset. restored: ``(H, W, 3)`` in [0, 1]. Raises UserError
        for a mask that does not fit and for a picture too small to register.
        """
        assert pair.target is not None
        left, right, target = (to_unit(image) for image in (pair.left, pair.right, pair.target))
        before, after = mean_view(left, right), np.asarray(restored, np.float32)
        rim = 0
        if self.register:
            try:
                before, _ = onto_truth(before, target)
                after, target = onto_truth(after, target)
            except ValueError as error:
                raise UserError(f"register: {pair.pair_id} of {reference}: {error}") from error
            rim = RIM_PX
        scored = tuple(slice(rim, side - rim) for side in pair.target.shape[:2])
        found: tuple[Region, ...] = ()
        if pair.coc is not None:
            found = regions(before, after, target, pair.coc[scored])
        elif self.masks is not None:
            mask = mask_of(
                self.masks, reference.partition("@")[0], pair.pair_id, pair.target.shape[:2]
            )
            found = () if mask is None else focus_region(before, after, target, mask[scored])
        return PairScore(
            dataset=reference,
            pair_id=pair.pair_id,
            scene_id=pair.scene_id,
            input=quality(before, target),
            output=quality(after, target),
            regions=found,
            cost=cost,
        )
