"""What the page of a search shows of each trial: quality, cost of its network, time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.picture_keys import parse_size
from pipelines.training.config import TrainConfig
from pipelines.training.plan import RUNS
from pipelines.training.record import read_rows
from tune.plan import SearchPlan
from tune.records import TrialRecord

COST_SIZE = "512x768"
"""Height and width that multiply-adds are counted at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialFigures:
    """One trial."""

    record: TrialRecord
    quality: Mapping[str, float]
    """Of its newest validation: val_psnr in dB, val_ssim, val_mae; empty before its first."""
    seconds: float
    """That its steps took, validations and pauses left out."""
    parameters: int | None
    """Of its network; None where that cannot be counted without running it."""
    macs: int | None
    """Multiply-adds of one pair of COST_SIZE."""


def figures_of(plan: SearchPlan, records: Sequence[TrialRecord]) -> list[TrialFigures]:
    """Read what the trials' own records hold, and count their networks."""
    counted: dict[str, tuple[int, int] | None] = {}
    found = []
    for record in records:
        training = plan.trial(record.combination)
        network = f"{training.model} {sorted(training.network.items())}"
        if network not in counted:
            counted[network] = _cost(training)
        parameters, macs = counted[network] or (None, None)
        rows = read_rows(plan.root.child(RUNS, record.run))
        found.append(
            TrialFigures(
                record=record,
                quality=_newest(rows),
                seconds=seconds_of(rows),
                parameters=parameters,
                macs=macs,
            )
        )
    return found


def seconds_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the time of a run's steps, from the mean of each record since the one before."""
    timed = {int(row["step"]): float(row["s_per_step"]) for row in rows if "s_per_step" in row}
    total, before = 0.0, 0
    for step, seconds in sorted(timed.items()):
        total += (step - before) * seconds
        before = step
    return total


def _newest(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    validations = [row for row in rows if "val_psnr" in row]
    if not validations:
        return {}
    newest = max(validations, key=lambda row: row["step"])
    return {key: float(newest[key]) for key in ("val_psnr", "val_ssim", "val_mae")}


def _cost(training: TrainConfig) -> tuple[int, int] | None:
    import k3dn
    from k3dn.summary import summarize

    try:
        summary = summarize(
            k3dn.build_model(training.model, training.network), *parse_size(COST_SIZE)
        )
    except Exception:  # a network of the user's own need not run without values
        return None
    return summary.parameters, summary.macs
