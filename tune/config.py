"""The configuration of ``k3dn tune``. Imports neither Ray nor torch."""

from dataclasses import dataclass
from typing import Any, Literal

from pipelines.config import StepConfig, aside, by_content, by_content_of
from pipelines.training.config import FEATURES_PER_WIDTH, TrainConfig

NUM_KERNELS = "num_kernels"
"""N, among the keys of train in a space."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig(StepConfig):
    """A search over keys of train: lambda_1 (Eq. 18) and N (Eq. 8, 9), or others."""

    name: str | None = aside(None)
    """The search's name. The same name and keys go on where a search was cut off."""
    trials: int = by_content(4)
    """How many combinations to try; of a grid, at most."""
    steps: int = by_content(400)
    """Optimiser steps of a trial that is not stopped, in place of train.steps."""
    validations: int = by_content(4)
    """Validations of a trial, spread evenly; after each one ASHA may stop it."""
    space: dict[str, Any] = by_content_of(dict)
    """Keys of train to search instead of lambda_1 and N: space.lr="1e-4..1e-2 log",
    space.batch_size=2..8, space.deblur_loss=[l1,l2], space.num_kernels=[16,32] for N."""
    sampler: Literal["spread", "random", "grid", "tpe"] = by_content("spread")
    """How combinations are drawn: evenly over each axis, at random, all of them, or where those
    before were good (Optuna's TPE)."""
    lambda_1: list[float] = by_content_of(lambda: [0.01, 1.0])
    """Lowest and highest weight of the reblurring loss; drawn evenly on a logarithmic scale."""
    num_kernels: list[int] = by_content_of(lambda: [16, 24, 32, 48])
    """The numbers of kernels N to choose from; multiples of 4, which the network's width gives."""
    metric: Literal["val_psnr", "val_ssim"] = "val_psnr"
    """The validation metric to maximise."""
    reduction_factor: int = 2
    """At each rung one trial in this many goes on (ASHA)."""
    max_concurrent: int | None = aside(None)
    """Trials at a time. None: as many as the cluster has room for."""
    retries: int = aside(1)
    """How often a trial that failed is tried again, from its newest checkpoint. One whose loss is
    not finite is not."""
    budget_s: float | None = aside(None)
    """Seconds that this command may take: then no trial is begun, and those that run end at their
    next validation. The same command goes on with the others."""
    train_best: bool = aside(False)
    """At the end train the best combination in full, as train says, and register it: it becomes
    the challenger of train.register."""
    seed: int = by_content(0)
    """Seed of the draw of combinations; train.seed is the same for all of them."""
    train: TrainConfig = by_content_of(TrainConfig)
    """The training step that is searched, as the section 'train' gives it."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}")
        if len(self.lambda_1) != 2 or not 0 < self.lambda_1[0] <= self.lambda_1[1]:
            raise ValueError(f"lambda_1 must be lowest,highest above 0, got {self.lambda_1}")
        wrong = [n for n in self.num_kernels if n < 1 or n % FEATURES_PER_WIDTH]
        if wrong or not self.num_kernels:
            raise ValueError(f"num_kernels must be multiples of {FEATURES_PER_WIDTH}, got {wrong}")
        if self.reduction_factor < 2:
            raise ValueError(f"reduction_factor must be at least 2, got {self.reduction_factor}")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, got {self.max_concurrent}")
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, got {self.retries}")
        if self.budget_s is not None and not self.budget_s > 0:
            raise ValueError(f"budget_s must be greater than 0, got {self.budget_s}")
        if not 1 <= self.validations <= self.steps:
            raise ValueError(f"validations must be within 1 and steps, got {self.validations}")

    @property
    def val_every(self) -> int:
        """Steps between two validations."""
        return self.steps // self.validations
