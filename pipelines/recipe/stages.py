"""What the recipe trains, for each network: patches grow and the rate falls from stage to stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One training run; each begins with the best weights of the one before."""

    steps: int
    """Optimizer steps."""
    patch: int
    """Side of the training patches, px."""
    batch_size: int
    """Pairs per step."""
    lr: float
    """Highest learning rate; it falls to zero within the stage."""


STAGES: Mapping[str, tuple[Stage, ...]] = MappingProxyType(
    {
        "nano": (
            Stage(steps=12000, patch=128, batch_size=8, lr=2e-3),
            Stage(steps=3000, patch=256, batch_size=4, lr=5e-4),
        ),
        "tiny": (
            Stage(steps=12000, patch=128, batch_size=8, lr=1e-3),
            Stage(steps=3000, patch=256, batch_size=4, lr=3e-4),
        ),
        "lightweight": (
            Stage(steps=60000, patch=128, batch_size=16, lr=6e-4),
            Stage(steps=15000, patch=256, batch_size=8, lr=2e-4),
        ),
    }
)
"""By the name of the network."""

WARMUP_STEPS = 200
"""Of a stage, or a tenth of it where that is less."""


def stages_of(model: str, effort: float) -> tuple[Stage, ...]:
    """Return the stages of a network, ``effort`` times as long."""
    return tuple(
        Stage(
            steps=max(1, round(stage.steps * effort)),
            patch=stage.patch,
            batch_size=stage.batch_size,
            lr=stage.lr,
        )
        for stage in STAGES[model]
    )
