"""Train with Ray Train, and start workers again that died: as often as there is progress.

Ray's own budget counts the failures of a run's whole life, and would try again what no second try
can mend, such as a damaged dataset.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pipelines.errors import AwayError
from pipelines.failures import EXIT_UNAVAILABLE, explain_failure, one_line, unwrap
from pipelines.progress import say
from pipelines.ray_tasks import Failed, attempt
from pipelines.retry import pauses_s
from pipelines.storage import Location
from pipelines.training.checkpoint import complete_steps
from pipelines.training.elastic import Elastic
from pipelines.training.failure import is_final, mendable_reason
from pipelines.training.loop import read_outcome
from pipelines.training.plan import RunPlan

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer


class FailureBudget:
    """How often a run may fail: so many times between two checkpoints, and where a service is
    away, as long as the patience lasts."""

    def __init__(self, max_failures: int, patience_s: float) -> None:
        """max_failures: -1 has no limit."""
        self._most = math.inf if max_failures == -1 else max_failures
        self._patience_s = patience_s
        self._step = -1
        self._count = 0
        self._away_since_s: float | None = None

    def allows(self, step: int, *, away: bool, now_s: float) -> bool:
        """Count a failure and return whether to go on.

        step: of the newest checkpoint. away: the failure is that of a service, as the storage.
        now_s: on a clock that does not go back.
        """
        if step != self._step:
            self._step, self._count, self._away_since_s = step, 0, None
        if away:
            self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
            return now_s - self._away_since_s < self._patience_s
        self._count += 1
        return self._count <= self._most


def train_with_restarts(
    plan: RunPlan,
    trainer: Callable[[], "TorchTrainer"],
    before_restart: Callable[[], None] = lambda: None,
    elastic: Elastic | None = None,
) -> None:
    """Train to the end; raises the TrainingFailedError, or AwayError, that the budget does not
    allow.

    trainer: makes one for each attempt. before_restart: may raise to end it, e.g. at a signal.
    elastic: goes on with another number of workers where nodes come or go.
    """
    from ray.exceptions import RayActorError
    from ray.train import TrainingFailedError

    config = plan.config
    budget = FailureBudget(config.max_failures, config.patience_s)
    pauses: Iterator[float] = pauses_s()
    step = -1
    while True:
        try:
            one = trainer()
            with elastic.watching() if elastic is not None else nullcontext():
                before_restart()
                one.fit()
        except Exception as raised:
            error = (
                _why_no_controller(plan, raised) if isinstance(raised, RayActorError) else raised
            )
            away = explain_failure(error).exit_code == EXIT_UNAVAILABLE
            if not away and not isinstance(error, TrainingFailedError):
                raise
            before_restart()
            newest = _newest(plan.folder, step)
            if newest != step:
                step, pauses = newest, pauses_s()
            if is_final(error) or not budget.allows(step, away=away, now_s=time.monotonic()):
                raise error from (None if error is raised else raised)
            reason = mendable_reason(error) or one_line(str([*unwrap(error)][-1]))
            say(f"train: the workers of run {plan.name} failed ({reason[:200]}); starting again")
            time.sleep(next(pauses))
            before_restart()
        else:
            outcome = read_outcome(plan.folder)
            stopped = outcome is not None and outcome.status == "stopped"
            if elastic is None or not (stopped and elastic.asked):
                return
            before_restart()


def _why_no_controller(plan: RunPlan, error: Exception) -> AwayError:
    """Why Ray Train's controller died: it writes to the run's folder as it starts, and of
    what that raised there is the text alone."""
    found = attempt(lambda: complete_steps(plan.folder))
    if isinstance(found, Failed) and isinstance(found.error, AwayError):
        return found.error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return AwayError(f"Ray Train's controller ended: {lines[-1]}")


def _newest(run: Location, known: int) -> int:
    try:
        return max(complete_steps(run), default=0)
    except Exception:  # the storage is away: no progress is known of
        return known
