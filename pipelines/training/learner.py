"""The network with its optimizer and moving average: one optimizer step, and what to save of it."""

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from k3dn import Loss, TrainingObjective, build_model
from pipelines.training.checkpoint import State
from pipelines.training.config import TrainConfig
from pipelines.training.context import WorkerContext
from pipelines.training.loader import Batch
from pipelines.training.order import seed_of
from pipelines.training.start import freeze_statistics, learning_parts


class Learner:
    """Train one network on one worker, in step with the other workers.

    The gradient is that of the mean over the global batch, also where the workers' slices of it
    differ in length.
    """

    def __init__(
        self,
        config: TrainConfig,
        context: WorkerContext,
        state: State | None,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """state: what a checkpoint holds. start: weights to begin with where there is none."""
        self._config, self._context = config, context
        torch.manual_seed(seed_of(config.seed, "weights"))
        self._model = build_model(config.model, config.network).to(context.device)
        if state is not None:
            self._model.load_state_dict(state["model"])
        elif start is not None:
            self._model.load_state_dict(start, strict=not config.train_only)
        learning = learning_parts(self._model, config.train_only)
        self._average = copy.deepcopy(self._model).requires_grad_(False) if config.ema else None
        objective = TrainingObjective(
            self._model,
            config.lambda_1,
            deblur_loss=config.deblur_loss,
            reblur_loss=config.reblur_loss,
        )
        self._objective = context.wrap(objective)
        self._optimizer = torch.optim.AdamW(
            learning, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        if state is not None:
            self._optimizer.load_state_dict(state["optimizer"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])

    @property
    def network(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one."""
        return self._model if self._average is None else self._average

    def state(self) -> State:
        """Return what a checkpoint holds."""
        state: State = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        if self._average is not None:
            state["average"] = self._average.state_dict()
        return state

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Make optimizer step number ``step`` (from 0) on this worker's part of the batch.

        Returns loss, deblur and reblur of the global batch, the norm of the gradient and the
        learning rate. Where one of them is not finite, no worker changes its weights.
        """
        config, context = self._config, self._context
        self._objective.train()
        freeze_statistics(self._model, config.train_only)
        torch.manual_seed(seed_of(config.seed, "step", step, context.rank))  # e.g. for dropout
        left, right, target = (
            picture.to(context.device, non_blocking=True)
            for picture in (batch.left, batch.right, batch.target)
        )
        with self._precision():
            loss: Loss = self._objective(
                left, right, target, reblur=step % config.reblur_every == 0
            )
        share = len(batch.index) / config.batch_size
        self._optimizer.zero_grad(set_to_none=True)
        (loss.total * share * context.world_size).backward()  # data-parallel divides by the latter
        losses = context.sum(torch.stack([term.detach().float() for term in loss]) * share)
        norm = self._clip()
        rate = learning_rate(step, config)
        total, deblur, reblur = (float(term) for term in losses)
        if math.isfinite(total) and math.isfinite(norm):
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._update_average(step)
        return {
            "loss": total,
            "deblur": deblur,
            "reblur": reblur,
            "grad_norm": norm,
            "lr": rate,
        }

    def _clip(self) -> float:
        limit = self._config.grad_clip or math.inf
        norm: Tensor = nn.utils.clip_grad_norm_(self._model.parameters(), limit)
        return float(norm)

    def _precision(self) -> AbstractContextManager[object]:
        if self._config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._context.device.type, dtype=torch.bfloat16)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        if self._average is None:
            return
        # Shorter at first: the first weights are noise that a long average would keep.
        decay = min(self._config.ema, (1 + step) / (10 + step))
        current = self._model.state_dict()
        for key, value in self._average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[key], 1 - decay)
            else:
                value.copy_(current[key])


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate of a step (from 0): a linear rise, then a cosine to zero at the end."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * config.lr * (1 + math.cos(math.pi * done))
