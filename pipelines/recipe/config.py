"""Configuration of the recipe. Imports nothing heavy: help is printed from it."""

import math
from dataclasses import dataclass, field
from typing import Literal

from pipelines.config import StepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeConfig(StepConfig):
    """Make weights from sharp photographs and RGB-D scenes: pairs, training in stages, figures."""

    name: str = "recipe"
    """Name of the weights, their runs and datasets. Run again with it, the recipe goes on."""
    model: Literal["nano", "tiny", "lightweight"] = "nano"
    """Network."""
    photographs: str = "skimage"
    """Sharp photographs for the surfaces of made-up scenes: a folder or URL, skimage, or none."""
    scenes: str | None = None
    """Folder or URL of RGB-D scenes (NNN_image, NNN_depth); none: made-up scenes alone."""
    datasets: list[str] = field(default_factory=list)
    """Dataset versions to train on as well, such as real pairs: name, name@version*8."""
    pairs: int = 1500
    """Pairs to make from the photographs, and as many from the scenes; 0 makes none."""
    size: str = "384x512"
    """Height x width of a pair in pixels."""
    frame_width: int = 1000
    """Width in pixels of the camera's frame that a pair is a part of; some pairs are of one 1.6
    times as wide. Blur goes by it."""
    blur: list[float] = field(default_factory=lambda: [0.003, 0.016])
    """Least and greatest blur radius of a pair's most blurred part, as shares of that width."""
    effort: float = 1.0
    """Factor on the number of steps of each stage; 0.1 tries everything out."""
    bare: bool = False
    """Train in this process, without Ray Train and MLflow; on a GPU where there is one."""
    threads: int = 2
    """Threads of torch, in this process if bare, else in the one worker."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Arithmetic of the network in training."""
    checkpoint_every: int = 100
    """Steps between two checkpoints: what a kill can cost at most."""
    val_every: int = 500
    """Steps between two validations; the best weights by them are kept."""
    max_val_pairs: int = 24
    """Held-out pairs of a validation."""
    seed: int = 0
    """Seed of the pairs, the initial weights, the order and the augmentation."""

    def __post_init__(self) -> None:
        if self.pairs < 0 or (self.pairs == 0 and not self.datasets):
            raise ValueError(
                f"pairs must be at least 1 where there are no datasets, got {self.pairs}"
            )
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive, got {self.effort:g}")
        for key in ("threads", "checkpoint_every", "val_every", "max_val_pairs"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
