"""The search's side of Ray Tune: it keeps a record of every trial and tells how far they are."""

import pickle
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ray import tune as ray_tune

from pipelines.failures import EXIT_FAILURE, EXIT_UNAVAILABLE, Failure, explain_failure
from pipelines.progress import say
from pipelines.training.loop import read_outcome
from pipelines.training.plan import RUNS
from pipelines.training.record import read_rows
from tune.plan import SearchPlan
from tune.records import Score, TrialRecord, merge_scores
from tune.room import remove_orphans
from tune.space import Combination

_LOOK_EVERY_S = 1.0


class TrialWatch(ray_tune.Callback):
    """Writes a trial's record when it ends, so that a search that is cut off does not repeat it."""

    def __init__(self, plan: SearchPlan, records: dict[int, TrialRecord]) -> None:
        """records: of the trials that ended before, by number; those that end now are added."""
        self._plan, self._records = plan, records
        self._reports: dict[int, list[dict[str, float]]] = defaultdict(list)
        self._looked_s = 0.0
        self.away = False
        """Whether a trial failed since the machine or a service gave out."""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Give back the room of stopped trials, or there may be none for the next."""
        if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            remove_orphans()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Take up a validation."""
        metric, index = self._plan.config.metric, trial.config["index"]
        if metric not in result:
            return
        report = {"step": result["step"], metric: result[metric]}
        self._reports[index].append(report)
        one = self._plan.combinations()[index]
        say(
            f"trial {index + 1} of {self._plan.config.trials} ({one}): "
            f"step {report['step']:g}, {metric} {report[metric]:.3f}"
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the record of a trial that finished, that ASHA stopped, or that diverged."""
        record = self._record(trial.config["index"])
        if record.scores or record.status == "diverged":
            self._plan.record_of(record.combination).write_bytes(record.to_json().encode())
        self._records[record.combination.index] = record
        if record.status == "diverged":
            say(f"trial {record.combination.index + 1} diverged: {record.reason}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remember why a trial failed; no record is written, so the next start tries it again."""
        index = trial.config["index"]
        failure = _failure_of(trial)
        self.away |= failure.exit_code == EXIT_UNAVAILABLE
        self._records[index] = self._record(index, reason=failure.message)
        say(f"trial {index + 1} failed: {failure.message}")

    def _record(self, index: int, reason: str = "") -> TrialRecord:
        # The run's own record too: the last report may not come through before a trial ends,
        # and an earlier start of the trial reported to a search that is gone.
        combination = self._plan.combinations()[index]
        scores = scores_of(self._plan, combination, self._reports[index])
        whole = bool(scores) and scores[-1].step >= self._plan.config.steps
        status: Literal["finished", "stopped", "diverged", "failed"]
        status = "failed" if reason else "finished" if whole else "stopped"
        outcome = read_outcome(self._plan.root.child(RUNS, self._run_of(combination)))
        if outcome is not None and outcome.status == "diverged":
            status, reason = "diverged", f"the loss is not finite after step {outcome.step}"
        return TrialRecord(
            combination=combination,
            run=self._run_of(combination),
            status=status,
            scores=scores,
            reason=reason,
        )

    def _run_of(self, combination: Combination) -> str:
        return self._plan.trial(combination).name or ""


def _failure_of(trial: Any) -> Failure:
    """What a trial ended with: Ray Tune keeps it in a file of this machine, which may be full."""
    try:
        return explain_failure(pickle.loads(Path(trial.pickled_error_file).read_bytes()))
    except Exception as unread:  # of a file that is not there, or of what a trial raised
        return Failure(f"it died, and of what cannot be read: {unread!r}", EXIT_FAILURE)


def scores_of(
    plan: SearchPlan, combination: Combination, reports: Sequence[Mapping[str, float]] = ()
) -> tuple[Score, ...]:
    """Return what a trial has reached, by its run's own record and further reports."""
    metric, run = plan.config.metric, plan.trial(combination).name or ""
    rows = [row for row in read_rows(plan.root.child(RUNS, run)) if metric in row]
    return merge_scores([*rows, *reports], metric)
