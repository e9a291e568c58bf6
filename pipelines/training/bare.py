"""Training in this process alone: no Ray, no MLflow, the same loop and the same result."""

import torch

import k3dn
from pipelines.errors import UserError
from pipelines.storage import Location
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.follow import shown_progress
from pipelines.training.loader import local_batches
from pipelines.training.loop import WEIGHTS, fit, read_outcome
from pipelines.training.plan import claim, plan_run
from pipelines.training.start import bring_start
from pipelines.training.stopping import stopping_in_order


def train_here(
    config: TrainConfig, *, threads: int = 1, device: torch.device | None = None
) -> Location:
    """Train, or go on, and return the weights file.

    device: None takes the GPU where there is one. Raises UserError where the loss is not finite,
    KeyboardInterrupt or Terminated where a signal stopped it, behind a checkpoint.
    """
    plan = plan_run(config)
    claim(plan)
    bring_start(plan, k3dn.build_model(config.model, config.network), config.tracking_uri or "")
    outcome = read_outcome(plan.folder)
    if outcome is None or outcome.status != "done":
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with (
                shown_progress(plan.folder, config.steps),
                stopping_in_order(plan.folder, config.stop_grace_s) as stopper,
            ):
                outcome = fit(plan, ProcessContext(device), local_batches)
            stopper.raise_if_asked()
        finally:
            torch.set_num_threads(before)
    if outcome.status == "diverged":
        raise UserError(
            f"run {plan.name}: the loss is not finite after step {outcome.step}; the network "
            f"diverged. Try a smaller lr (it was {config.lr}) or precision=fp32"
        )
    return plan.folder.child(WEIGHTS)
