"""How far a run is: by its steps, or by the time that it has taken, over all its attempts."""

import time

from pipelines.training.config import TrainConfig


class Spent:
    """The clock of a run. What a killed attempt did behind its last checkpoint does not count."""

    def __init__(self, config: TrainConfig, before_s: float) -> None:
        """before_s: what earlier attempts took, as their last checkpoint says."""
        self._config, self._before_s = config, before_s
        self._start_s = time.monotonic()
        self._told_s = before_s

    @property
    def seconds(self) -> float:
        """What the run has taken so far, by this process."""
        return self._before_s + time.monotonic() - self._start_s

    def agree(self, seconds: float) -> None:
        """Take what all workers were told as the time, so that they do the same."""
        self._told_s = seconds

    def share(self, step: int) -> float:
        """How much of the run lies behind it before step number ``step``, 0 to 1."""
        if self._config.seconds is None:
            return min(1.0, step / self._config.steps)
        return min(1.0, self._told_s / self._config.seconds)

    def left_s(self) -> float | None:
        """How long it will go on by the clock; None where it ends by its steps."""
        if self._config.seconds is None:
            return None
        return max(0.0, self._config.seconds - self._told_s)
