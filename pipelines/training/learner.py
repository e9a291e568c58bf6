"""The network with its optimizer and moving average: one optimizer step, and what to save of it."""

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from k3dn import Loss, TrainingObjective, build_model
from k3dn.network.model import as_k3dn
from pipelines.training.checkpoint import State
from pipelines.training.config import TrainConfig
from pipelines.training.context import WorkerContext
from pipelines.training.loader import Batch
from pipelines.training.order import seed_of
from pipelines.training.start import freeze_statistics, learning_parts

LOSSES = ("loss", "deblur", "reblur", "disparity")
"""Names in the record for the terms of ``k3dn.Loss``."""


class Learner:
    """Train one network on one worker, in step with the other workers.

    The gradient is that of the mean over the global batch, also where the workers' slices of it,
    or the parts that a slice is accumulated in, differ in length: each counts by its pairs. That
    holds for networks whose answer for a pair depends on no other pair of the batch.
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
        self._format = _memory_format(config)
        _lay_out(self._model, self._format)
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
            disparity_loss=config.disparity_loss,
        )
        self._objective = context.wrap(
            cast(nn.Module, torch.compile(objective)) if config.compile else objective,
            accumulates=config.accumulate > 1,
        )
        self._optimizer = torch.optim.AdamW(
            learning, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        if state is not None:
            self._optimizer.load_state_dict(state["optimizer"])
            self._lay_out_moments()
            if self._average is not None:
                self._average.load_state_dict(state["average"])

    @property
    def network(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one."""
        return self._model if self._average is None else self._average

    @property
    def estimator_learns(self) -> bool:
        """Whether the network is a K3DN whose disparity estimator is not frozen."""
        network = as_k3dn(self._model)
        if network is None or network.disparity is None:
            return False
        return any(parameter.requires_grad for parameter in network.disparity.parameters())

    def state(self) -> State:
        """Return what a checkpoint holds."""
        state: State = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        if self._average is not None:
            state["average"] = self._average.state_dict()
        return state

    def step(self, step: int, batch: Batch, *, stop: bool = False) -> dict[str, float]:
        """Make optimizer step number ``step`` (from 0) on this worker's part of the batch.

        Returns loss, deblur, reblur and disparity of the global batch, the norm of the gradient,
        the learning rate, and ``stop``: how many workers said so. Where the loss or the norm is not
        finite, no worker changes its weights.
        """
        config, context = self._config, self._context
        self._objective.train()
        freeze_statistics(self._model, config.train_only)
        torch.manual_seed(seed_of(config.seed, "step", step, context.rank))  # e.g. for dropout
        self._optimizer.zero_grad(set_to_none=True)
        losses = self._accumulate(batch, reblur=step % config.reblur_every == 0)
        sums = context.sum(torch.cat((losses, losses.new_tensor([float(stop)]))))
        norm = self._clip()
        rate = learning_rate(step, config)
        values = dict(zip((*LOSSES, "stop"), sums.tolist(), strict=True))
        if math.isfinite(values["loss"]) and math.isfinite(norm):
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._update_average(step)
        return values | {"grad_norm": norm, "lr": rate}

    def _accumulate(self, batch: Batch, *, reblur: bool) -> Tensor:
        """Add up the gradient of the worker's pairs by parts; return its share of the losses."""
        config, context = self._config, self._context
        pairs = len(batch.index)
        parts = min(config.accumulate, pairs)
        total = torch.zeros(len(Loss._fields), device=context.device)
        for number in range(parts):
            part = slice(number * pairs // parts, (number + 1) * pairs // parts)
            share = (part.stop - part.start) / config.batch_size
            last = number + 1 == parts
            with nullcontext() if last else context.apart(self._objective):
                with self._precision():
                    loss: Loss = self._objective(*self._inputs(batch, part), reblur=reblur)
                # Data-parallel divides by the number of workers.
                (loss.total * share * context.world_size).backward()
            total += torch.stack([term.detach().float() for term in loss]) * share
        return total

    def _inputs(self, batch: Batch, part: slice) -> list[Tensor]:
        given = [batch.left, batch.right, batch.target, batch.coc]
        return [
            values[part].to(self._context.device, non_blocking=True, memory_format=self._format)
            for values in given
            if values is not None
        ]

    def _clip(self) -> float:
        limit = self._config.grad_clip or math.inf
        norm: Tensor = nn.utils.clip_grad_norm_(self._model.parameters(), limit)
        return float(norm)

    def _lay_out_moments(self) -> None:
        """Bring what the optimizer remembers into its parameters' layout: its fused form goes
        through both as they lie in memory, and a checkpoint may be of another layout."""
        for parameter, moments in self._optimizer.state.items():
            for key, value in moments.items():
                if value.shape == parameter.shape:
                    moments[key] = torch.empty_like(parameter).copy_(value)

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


def _memory_format(config: TrainConfig) -> torch.memory_format:
    wanted = config.channels_last
    if wanted is None:
        wanted = config.precision == "bf16"
    return torch.channels_last if wanted else torch.contiguous_format


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay out the weights of 2-d convolutions, and nothing else: ``Module.to`` refuses those of
    3-d ones, and other parameters of four axes are no pictures."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=memory_format)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate of a step (from 0): a linear rise, then a cosine to zero at the end."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * config.lr * (1 + math.cos(math.pi * done))
