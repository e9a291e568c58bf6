"""Successive halving, asynchronously (ASHA): who is behind at a rung is stopped.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020. Ray Tune's own forgets
its rungs with its process; these are made anew from what the trials' own records say.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from tune.records import Score


class Rungs:
    """What the trials had reached at each rung: ``first`` steps, times the factor each time."""

    def __init__(self, first: int, steps: int, factor: int) -> None:
        """steps: of a whole trial; at its end there is no rung."""
        self._factor = factor
        self._values: dict[int, dict[int, float]] = {}
        step = first
        while step < steps:
            self._values[step] = {}
            step *= factor

    def remember(self, scores: Mapping[int, Iterable[Score]]) -> None:
        """Take up what trials, by number, have reached before."""
        for index, of_trial in scores.items():
            for score in of_trial:
                if score.step in self._values:
                    self._values[score.step][index] = score.value

    def goes_on(self, index: int, step: int, value: float) -> bool:
        """Take up a validation; return whether the trial is among the best 1/factor of those that
        were at this rung before it, or this is none."""
        if step not in self._values:
            return True
        others = [v for trial, v in self._values[step].items() if trial != index]
        self._values[step][index] = value
        others = [v for v in others if math.isfinite(v)]
        if not others:
            return True
        return value >= float(np.percentile(others, 100 * (1 - 1 / self._factor)))
