"""What runs in a training process of Ray Train."""

from typing import Any

import torch

from pipelines.environment import prepare_environment
from pipelines.training.context import RayContext
from pipelines.training.loader import ray_batches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan


def train_worker(config: dict[str, Any]) -> None:
    """Train as one worker of the run ``config["plan"]``. Ray Train calls it."""
    prepare_environment()
    plan: RunPlan = config["plan"]
    plan.check_arrived()
    torch.set_num_threads(plan.config.threads_per_worker)
    fit(plan, RayContext(), ray_batches)
