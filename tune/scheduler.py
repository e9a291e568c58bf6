"""ASHA for Ray Tune, by rungs that the trials' records hold."""

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.chooser import Chooser
from tune.halving import Rungs
from tune.trial import RUNG


class RungScheduler(FIFOScheduler):
    """Stops a trial that is behind at a rung, and every trial when the time is up."""

    def __init__(self, rungs: Rungs, chooser: Chooser, metric: str) -> None:
        super().__init__()
        self._rungs, self._chooser, self._of = rungs, chooser, metric

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called by Ray Tune with each validation; the last has no rung, and stops nothing."""
        if RUNG not in result:
            return str(TrialScheduler.CONTINUE)
        index, step = trial.config["index"], int(result[RUNG])
        goes_on = self._rungs.goes_on(index, step, result[self._of])
        stops = self._chooser.is_over or not goes_on
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)
