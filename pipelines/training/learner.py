"""The network with its optimizer and moving average: one optimizer step, and what to save of it."""

import copy
import logging
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from k3dn import Loss, TrainingObjective, build_model
from k3dn.network.model import as_k3dn
from pipelines.training.batch import Batch, as_float
from pipelines.training.checkpoint import State
from pipelines.training.config import TrainConfig
from pipelines.training.context import WorkerContext
from pipelines.training.order import seed_of
from pipelines.training.start import freeze_statistics, learning_parts

log = logging.getLogger(__name__)

LOSSES = ("loss", "deblur", "reblur", "disparity")
"""Names in the record for the terms of ``k3dn.Loss``."""
VALUES = (*LOSSES, "stop", "spent_s", "grad_norm")
"""What a step gives, in this order."""


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
        if context.device.type == "cuda":
            torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = config.tf32
            torch.backends.cudnn.benchmark = True  # patches have one size
        torch.manual_seed(seed_of(config.seed, "weights"))
        self._model = build_model(config.model, config.network).to(context.device)
        self._format = _memory_format(config, self._model, context.device)
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
        self._plain = objective
        # A worker among several has it inside its wrapping, and cannot go back.
        self._may_go_back = config.compile and context.world_size == 1
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
        self._floats, self._others = self._averaged()

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

    def step(
        self,
        step: int,
        batch: Batch,
        *,
        share: float | None = None,
        stop: bool = False,
        spent_s: float = 0.0,
    ) -> Tensor:
        """Make optimizer step number ``step`` (from 0) on this worker's part of the batch.

        share: how much of the run lies behind it, for the rate; None: ``step / config.steps``.
        Returns ``VALUES``, on the device, of the global batch: the losses, how many workers said
        ``stop``, the sum of their ``spent_s``, and the norm of the gradient. A GPU is not waited
        for, unless somebody reads them. Where loss or norm is not finite, no worker changes its
        weights.
        """
        config, context = self._config, self._context
        self._objective.train()
        freeze_statistics(self._model, config.train_only)
        torch.manual_seed(seed_of(config.seed, "step", step, context.rank))  # e.g. for dropout
        self._optimizer.zero_grad(set_to_none=True)
        statistics = _statistics_of(self._model)
        before = [kept.clone() for kept in statistics]
        losses = self._accumulate(batch, reblur=step % config.reblur_every == 0)
        flags = [losses.new_full((1,), float(flag)) for flag in (stop, spent_s)]
        sums = context.sum(torch.cat((losses, *flags, *(kept.reshape(-1) for kept in statistics))))
        sums, of_batches = sums[: len(losses) + 2].float(), sums[len(losses) + 2 :]
        norm: Tensor = nn.utils.clip_grad_norm_(
            self._model.parameters(), config.grad_clip or math.inf
        )
        values = torch.cat((sums, norm.detach().float().reshape(1)))
        failed = 1.0 - (values[0].isfinite() & values[-1].isfinite()).float()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(step, config, share)
        # The fused optimizer leaves out a step of which this says 1, as for a scaler of gradients.
        self._optimizer.found_inf = failed  # type: ignore[attr-defined]
        self._optimizer.step()
        _settle(statistics, of_batches / context.world_size, before, failed)
        self._update_average(step, 1.0 - failed)
        return values

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
                # Data-parallel divides by the number of workers.
                weight = share * context.world_size
                loss = self._backward(self._inputs(batch, part), weight, reblur=reblur)
            total += torch.stack([term.detach().float() for term in loss]) * share
        return total

    def _backward(self, inputs: list[Tensor], weight: float, *, reblur: bool) -> Loss:
        """Make one pass, and go back to the plain network where the first cannot be compiled."""
        try:
            with self._precision():
                loss: Loss = self._objective(*inputs, reblur=reblur)
            (loss.total * weight).backward()
        except Exception as error:
            if not self._may_go_back:
                raise
            line = str(error).strip().partition("\n")[0]
            log.warning("compile=true does not work here, training goes on without: %s", line)
            self._objective, self._may_go_back = self._plain.train(), False
            self._optimizer.zero_grad(set_to_none=True)
            return self._backward(inputs, weight, reblur=reblur)
        self._may_go_back = False
        return loss

    def _inputs(self, batch: Batch, part: slice) -> list[Tensor]:
        given = [batch.left, batch.right, batch.target, batch.coc]
        return [self._on_device(values[part]) for values in given if values is not None]

    def _on_device(self, values: Tensor) -> Tensor:
        """Bring pictures to the device as they are, and make floats of them there."""
        device = self._context.device
        if device.type == "cuda" and not values.is_cuda:
            values = values.pin_memory()  # else the copy waits for what the GPU is at
        values = as_float(values.to(device, non_blocking=True))
        return values.contiguous(memory_format=self._format)

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

    def _averaged(self) -> tuple[tuple[list[Tensor], list[Tensor]], list[tuple[Tensor, Tensor]]]:
        """The numbers of the average and of the network, and pairs of what is not a number."""
        if self._average is None:
            return ([], []), []
        current = self._model.state_dict()
        pairs = [(kept, current[key]) for key, kept in self._average.state_dict().items()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        others = [pair for pair in pairs if not pair[0].is_floating_point()]
        return ([kept for kept, _ in floats], [now for _, now in floats]), others

    @torch.no_grad()
    def _update_average(self, step: int, done: Tensor) -> None:
        """done: 1, or 0 where the step was left out."""
        kept, current = self._floats
        if not kept:
            return
        # Shorter at first: the first weights are noise that a long average would keep.
        decay = min(self._config.ema, (1 + step) / (10 + step))
        moved = torch._foreach_sub(current, kept)
        torch._foreach_mul_(moved, done.double() * (1 - decay))
        torch._foreach_add_(kept, moved)
        for average, now in self._others:
            average.copy_(now)


def _statistics_of(model: nn.Module) -> list[Tensor]:
    """Return the running means and variances of layers that normalise over batches and learn."""
    batch_norm = nn.modules.batchnorm._BatchNorm
    layers = [one for one in model.modules() if isinstance(one, batch_norm) and one.training]
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    return [buffer for pair in kept for buffer in pair if buffer is not None]


def _settle(statistics: list[Tensor], means: Tensor, before: list[Tensor], failed: Tensor) -> None:
    """Let statistics be the workers' mean, or of a failed step (1) be as before.

    Each worker has seen its own pairs; the network that is validated and kept is one.
    """
    parts = means.split([kept.numel() for kept in statistics])
    for kept, mean, old in zip(statistics, parts, before, strict=True):
        kept.copy_(torch.where(failed.bool(), old, mean.reshape(kept.shape)))


def as_values(values: Tensor) -> dict[str, float]:
    """Return what a step gave by name. Waits for a GPU."""
    return dict(zip(VALUES, values.tolist(), strict=True))


def _memory_format(
    config: TrainConfig, model: nn.Module, device: torch.device
) -> torch.memory_format:
    wanted = config.channels_last
    if wanted is None:
        # A network of the user's own may not take it; what is compiled chooses by itself.
        on_cpu = device.type == "cpu" and as_k3dn(model) is not None and not config.compile
        wanted = config.precision == "bf16" or on_cpu
    return torch.channels_last if wanted else torch.contiguous_format


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay out the weights of 2-d convolutions, and nothing else: ``Module.to`` refuses those of
    3-d ones, and other parameters of four axes are not pictures."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=memory_format)


def learning_rate(step: int, config: TrainConfig, share: float | None = None) -> float:
    """Return the rate of a step (from 0): a linear rise, then what the schedule says.

    share: how much of the run lies behind the step where it ends by the clock, 0 to 1.
    """
    rising = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.seconds is not None and share is not None:
        return rising * _scheduled(config, share, share)
    if rising < 1.0 or step < config.warmup_steps:
        return config.lr * rising
    behind = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return _scheduled(config, behind, step / config.steps)


def _scheduled(config: TrainConfig, behind: float, share: float) -> float:
    """behind: share of what follows the rise. share: of the whole run."""
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "step":
        return config.lr * config.step_factor ** sum(share >= at for at in config.step_at)
    return 0.5 * config.lr * (1 + math.cos(math.pi * behind))
