"""The search's side of Ray Tune: it keeps a record of every trial and tells how far they are."""

import time
from collections import defaultdict
from typing import Any

from ray import tune as ray_tune

from pipelines.progress import say
from pipelines.training.plan import RUNS
from pipelines.training.record import read_rows
from tune.plan import SearchPlan
from tune.records import TrialRecord, merge_scores
from tune.room import remove_orphans

_LOOK_EVERY_S = 1.0


class TrialWatch(ray_tune.Callback):
    """Writes a trial's record when it ends, so that a search that is cut off does not repeat it."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._reports: dict[int, list[dict[str, float]]] = defaultdict(list)
        self._looked_s = 0.0
        self.records: dict[int, TrialRecord] = {}

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
        one = self._plan.combinations[index]
        say(
            f"trial {index + 1} of {len(self._plan.combinations)} "
            f"(lambda_1={one.lambda_1:g}, N={one.num_kernels}): "
            f"step {report['step']}, {metric} {report[metric]:.3f}"
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the record of a trial that finished or that ASHA stopped."""
        record = self._record(trial.config["index"])
        if record.scores:
            self._plan.record_of(record.combination).write_bytes(record.to_json().encode())
        self.records[record.combination.index] = record

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remember why a trial failed; no record is written, so the next start tries it again."""
        index = trial.config["index"]
        lines = [line for line in str(trial.get_error() or "").splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else "it died"
        self.records[index] = self._record(index, reason=reason)
        say(f"trial {index + 1} failed: {reason}")

    def _record(self, index: int, reason: str = "") -> TrialRecord:
        # The run's own record too: the last report may not come through before a trial ends,
        # and an earlier start of the trial reported to a search that is gone.
        metric, run = self._plan.config.metric, self._plan.trials[index].name or ""
        rows = [row for row in read_rows(self._plan.root.child(RUNS, run)) if metric in row]
        scores = merge_scores([*rows, *self._reports[index]], metric)
        whole = bool(scores) and scores[-1].step >= self._plan.config.steps
        return TrialRecord(
            combination=self._plan.combinations[index],
            run=run,
            status="failed" if reason else "finished" if whole else "stopped",
            scores=scores,
            reason=reason,
        )
