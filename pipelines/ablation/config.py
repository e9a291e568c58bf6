"""Configuration of ``k3dn ablate``. Imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Literal

from pipelines.config import aside
from pipelines.evaluation.config import MeasureConfig
from pipelines.training.config import FEATURES_PER_WIDTH, TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AblateConfig(MeasureConfig):
    """``k3dn ablate``: the paper's Table 4 or 5, or the sizes, trained and measured here."""

    table: Literal["4", "5", "sizes"] = "4"
    """4: PSF block, SRP block and reblurring left out in turn; 5: the number of kernels N; sizes:
    the variants of the network."""
    datasets: list[str] = field(default_factory=lambda: ["synth"])
    """What each network is trained on and measured on; NAME*8 counts eightfold in training."""
    model: str = "nano"
    """The variant that tables 4 and 5 change."""
    seeds: int = 3
    """How often each row is trained, with train.seed, train.seed + 1 and so on."""
    steps: int = 2000
    """Optimiser steps of each training, in place of train.steps."""
    kernels: list[int] = field(default_factory=list)
    """Table 5: the numbers of kernels N, multiples of 4. None named: in the paper's proportions,
    N/2, 3N/4, N, 5N/4 and 3N/2 of the variant's."""
    sizes: list[str] = field(default_factory=lambda: ["nano", "tiny", "lightweight", "large"])
    """sizes: the variants."""
    bare: bool = aside(False)
    """Train in this process on torch alone, without Ray and MLflow, one network after another."""
    cost_size: str = "1120x1680"
    """Size at which multiply-adds are counted, HEIGHTxWIDTH in px."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training of each row, as the section 'train' gives it."""

    def __post_init__(self) -> None:
        from pipelines.picture_keys import parse_size

        MeasureConfig.__post_init__(self)
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        wrong = [n for n in self.kernels if n < 1 or n % FEATURES_PER_WIDTH]
        if wrong:
            raise ValueError(f"kernels must be multiples of {FEATURES_PER_WIDTH}, got {wrong}")
        if not self.sizes:
            raise ValueError("sizes must name at least one variant")
        if any(":" in model for model in (self.model, *self.sizes)):
            raise ValueError("model and sizes must be variants of K3DN, such as nano or tiny")
        parse_size(self.cost_size)
