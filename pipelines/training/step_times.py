"""How long steps take, for the time that is left."""

from collections import deque

import numpy as np

_START_UP = 2
"""Steps of a start that are no measure: kernels are chosen and compiled, readers start."""
_RECENT = 200
_OUTLIER = 10.0


class StepTimes:
    """Durations of the recent steps of this attempt."""

    def __init__(self) -> None:
        self._steps = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._validations: deque[float] = deque(maxlen=5)

    def add(self, seconds: float) -> None:
        """Count a step: from its beginning to that of the next, without validation."""
        self._steps += 1
        if self._steps > _START_UP:
            self._recent.append(seconds)

    def add_validation(self, seconds: float) -> None:
        """Count a validation."""
        self._validations.append(seconds)

    def left_s(self, steps: int, validations: int) -> float | None:
        """Return how long so many steps and validations take; None where nothing is known yet.

        The mean of the recent steps, since every few of them may cost more by design, and a pause
        of the machine counted as ``_OUTLIER`` usual steps at most.
        """
        if not self._recent:
            return None
        times = np.array(self._recent)
        step_s = float(np.minimum(times, _OUTLIER * np.median(times)).mean())
        validation_s = float(np.median(self._validations)) if self._validations else 0.0
        return steps * step_s + validations * validation_s
