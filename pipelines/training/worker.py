"""What runs in a training process of Ray Train."""

import sys
from typing import Any

import torch

from pipelines.environment import prepare_environment
from pipelines.ray_tasks import in_own_words
from pipelines.training.context import RayContext
from pipelines.training.loader import ray_batches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan

GIL_SWITCH_S = 1e-4
"""Ray Data plans its reading in a thread of this process, and each of the network's some thousand
operations takes the interpreter's lock again: with Python's 5 ms it mostly waited for it."""


def train_worker(config: dict[str, Any]) -> None:
    """Train as one worker of the run ``config["plan"]``, whose lease has the number
    ``config["owner"]``. Ray Train calls it."""
    prepare_environment()
    plan: RunPlan = config["plan"]
    plan.check_arrived()
    sys.setswitchinterval(GIL_SWITCH_S)
    torch.set_num_threads(plan.config.threads_per_worker)
    with in_own_words():
        fit(plan, RayContext(), ray_batches, config["owner"])
