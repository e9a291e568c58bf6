"""One trial: the training step, reporting its validations to Ray Tune."""

from typing import Any

from ray.tune.integration.ray_train import TuneReportCallback

from pipelines.environment import prepare_environment
from pipelines.ray_tasks import in_own_words
from pipelines.training.config import TrainConfig
from pipelines.training.train import train_with_callbacks

RUNG = "rung_step"
"""What ASHA counts. The last validation has none: a trial that came so far ends by itself, or
its weights and its outcome would not be written."""


class ValidationReports(TuneReportCallback):
    """Hands the reports that hold the metric on to Ray Tune."""

    def __init__(self, metric: str, steps: int) -> None:
        super().__init__()
        self._metric, self._steps = metric, steps

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """Called by Ray Train when all workers have reported."""
        report = metrics[0]
        if self._metric not in report:
            return
        if report["step"] < self._steps:
            report = {**report, RUNG: report["step"]}
        super().after_report(run_context, [report], checkpoint)


def run_trial(config: TrainConfig, metric: str) -> None:
    """Train as ``config`` says; goes on where an earlier start of this trial was cut off.

    That a network diverged is in the outcome of its run: no other try would end otherwise.
    """
    prepare_environment()
    with in_own_words():
        train_with_callbacks(config, [ValidationReports(metric, config.steps)])
