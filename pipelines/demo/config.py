"""Configuration of the demo. Imports nothing heavy: help is printed from it."""

from dataclasses import dataclass

from pipelines.config import StepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig(StepConfig):
    """Run the whole pipeline in small: data, training, evaluation, promotion, a page."""

    samples: str | None = None
    """Folder with dpd-blur-mini/, rgbd/ and sharp/. None: K3DN_SAMPLES where it is set."""
    page: str | None = None
    """Where the page goes. None: demo.html in the root."""
    procedural_pairs: int = 200
    """Pairs from procedural scenes."""
    rgbd_pairs: int = 128
    """Pairs from the samples' RGB-D scenes, where there are samples."""
    size: str = "256x256"
    """Height x width of the synthetic pairs in px; those of the held-out scene are larger,
    up to 384x576."""
    max_coc_px: float = 8.0
    """Largest radius of the synthetic blur in px."""
    start_from: str | None = "box:nano"
    """Weights that the training begins with, as of `k3dn train`; none begins with nothing, which
    takes more steps and a higher rate: steps=2000 lr=2e-3."""
    steps: int = 600
    """Optimizer steps of the training."""
    batch_size: int = 8
    """Pairs per step."""
    patch: int = 64
    """Side of the training patches in px."""
    lr: float = 5e-4
    """Highest learning rate."""
    lambda_1: float = 0.1
    """Weight of the reblurring loss (Eq. 18)."""
    reblur_every: int = 8
    """Make the reblurring pass, half of a step's work, only in every Nth step."""
    real_repeat: int = 16
    """How often an epoch takes each real training pair, of which the samples have five."""
    shown_pairs: int = 4
    """Held-out synthetic pairs on the page."""
    seed: int = 0
    """Seed of the scenes, the initial weights and the order of the samples."""

    def __post_init__(self) -> None:
        for name in ("procedural_pairs", "rgbd_pairs", "real_repeat", "shown_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
