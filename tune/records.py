"""What a search remembers of its trials, and which one is best. Pure: no Ray, no storage."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tune.space import Combination


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The metric at one validation."""

    step: int
    """Optimiser steps done."""
    value: float
    """The metric that the search maximises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One trial that ended."""

    combination: Combination
    """What it tried."""
    run: str
    """Its training run under <root>/_runs."""
    status: Literal["finished", "stopped", "diverged", "failed"]
    """finished: all steps; stopped: worse than the others at a rung, or the time was up; diverged:
    its loss was not finite; failed: see ``reason``."""
    scores: tuple[Score, ...]
    """Every validation, in order of steps."""
    reason: str = ""
    """Why it failed, in one line."""

    @property
    def last(self) -> Score:
        """The newest validation. Raises IndexError for a trial that failed before its first."""
        return self.scores[-1]

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> "TrialRecord":
        """Read what ``to_json`` wrote."""
        raw: dict[str, Any] = json.loads(text)
        return cls(
            combination=Combination(**raw["combination"]),
            run=raw["run"],
            status=raw["status"],
            scores=tuple(Score(**score) for score in raw["scores"]),
            reason=raw["reason"],
        )


def best_trial(records: Sequence[TrialRecord]) -> TrialRecord:
    """Return the trial with the highest metric among those that trained longest.

    Scores of different lengths of training are not compared: a stopped trial was already
    behind the others at its own length, and one that diverged gives no weights. Equal scores: the
    earlier trial.
    Raises ValueError when no trial has a score.
    """
    scored = [one for one in records if one.scores and one.status in ("finished", "stopped")]
    if not scored:
        raise ValueError("no trial has a score")
    longest = max(record.last.step for record in scored)
    complete = [record for record in scored if record.last.step == longest]
    return max(complete, key=lambda one: (one.last.value, -one.combination.index))


def merge_scores(scores: Sequence[Mapping[str, float]], metric: str) -> tuple[Score, ...]:
    """Turn the reports of a trial into scores: one a step, in order, the newest report kept.

    A worker that was restarted reports the steps after its checkpoint a second time.
    """
    by_step = {int(one["step"]): float(one[metric]) for one in scores}
    return tuple(Score(step=step, value=value) for step, value in sorted(by_step.items()))
