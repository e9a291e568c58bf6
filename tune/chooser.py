"""Which trial is next: one that was begun and not ended, or a new point of the space."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from tune.plan import SearchPlan
from tune.records import TrialRecord
from tune.space import Choice, Combination, Space, draw

_RANDOM_FIRST = 5
"""Points that are drawn at random before TPE has something to learn from."""


class Chooser(Searcher):
    """Gives Ray Tune the numbers of trials, whose combinations it writes down before."""

    def __init__(self, plan: SearchPlan, records: Mapping[int, TrialRecord]) -> None:
        """records: of the trials that ended, by number; grows while the search runs."""
        super().__init__(metric=plan.config.metric, mode="max")
        self._plan, self._records = plan, records
        self._begun = plan.combinations()
        self._due = sorted(self._begun.keys() - records.keys())
        self._end_s = time.monotonic() + (plan.config.budget_s or float("inf"))

    @property
    def is_over(self) -> bool:
        """Whether the time budget of this start is spent."""
        return time.monotonic() > self._end_s

    def suggest(self, trial_id: str) -> Any:
        """Called by Ray Tune when there is room for a trial."""
        if self.is_over:
            return Searcher.FINISHED
        if self._due:
            return {"index": self._due.pop(0)}
        index = max(self._begun, default=-1) + 1
        if index >= self._plan.config.trials:
            return Searcher.FINISHED
        found = self._next(index)
        if found is None:
            return Searcher.FINISHED
        self._plan.begin(found)
        self._begun[index] = found
        return {"index": index}

    def _next(self, index: int) -> Combination | None:
        config, space = self._plan.config, self._plan.space
        if config.sampler != "tpe":
            return draw(space, config, index)
        values = suggested(space, self._begun, self._records, config.seed + index)
        return Combination(index=index, values=values)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: what a trial came to is in its record."""

    def save(self, checkpoint_path: str) -> None:
        """Leave Ray Tune a file; the state is the search's records."""
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see ``save``."""


def suggested(
    space: Space,
    begun: Mapping[int, Combination],
    records: Mapping[int, TrialRecord],
    seed: int,
) -> dict[str, Any]:
    """Return TPE's next point, as Optuna has it; Bergstra et al., NeurIPS 2011.

    A function of its arguments: a search that was cut off suggests what it would have. Trials that
    ASHA stopped count as pruned, those that diverged as worse than any, and those that still run
    keep others from their place.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_RANDOM_FIRST
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {key: _distribution(axis) for key, axis in space.items()}
    for index, combination in sorted(begun.items()):
        record = records.get(index)
        kind: dict[str, Any] = {"state": TrialState.RUNNING}
        if record is not None and record.status == "finished":
            kind = {"state": TrialState.COMPLETE, "value": record.last.value}
        elif record is not None and record.status in ("stopped", "diverged"):
            scores = record.scores if record.status == "stopped" else ()
            reached = {score.step: score.value for score in scores}
            kind = {"state": TrialState.PRUNED, "intermediate_values": reached}
        elif record is not None:
            kind = {"state": TrialState.FAIL}
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(combination.values), distributions=distributions, **kind
            )
        )
    asked = study.ask(distributions)
    return {key: _rounded(space, key, asked.params[key]) for key in space}


def _rounded(space: Space, key: str, value: Any) -> Any:
    axis = space[key]
    if isinstance(axis, Choice) or axis.whole:
        return value
    return min(max(float(f"{value:.4g}"), axis.low), axis.high)


def _distribution(axis: Any) -> Any:
    from optuna import distributions

    if isinstance(axis, Choice):
        return distributions.CategoricalDistribution(axis.values)
    if axis.whole:
        return distributions.IntDistribution(int(axis.low), int(axis.high))
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
