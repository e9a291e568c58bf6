"""A command of k3dn whose processes do not wait for a storage that is away, nor keep pictures."""

import sys
from dataclasses import fields

from pipelines import retry
from pipelines.cli import run_command_line
from pipelines.training import reader, train
from pipelines.training.config import TrainConfig
from pipelines.training.plan import RunPlan, plan_run


class Impatient(RunPlan):
    """A plan that takes its patience from every process in which it arrives."""

    __slots__ = ()

    def check_arrived(self) -> None:
        """Called by workers and readers before all else."""
        retry.PATIENCE_S, reader.CACHE_BYTES = 0.0, 0
        RunPlan.check_arrived(self)


def _impatiently(config: TrainConfig) -> RunPlan:
    plan = plan_run(config)
    return Impatient(**{field.name: getattr(plan, field.name) for field in fields(plan)})


def main() -> None:
    retry.PATIENCE_S = 0.0
    train.plan_run = _impatiently
    sys.exit(run_command_line(sys.argv[1:]))
