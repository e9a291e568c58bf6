"""Training in this process alone: no Ray, no MLflow, the same loop and the same result.

    python -m pipelines.training.bare datasets=synth://k3dn-data/pack model=tiny seconds=1200

takes the keys of ``k3dn train``, with the recipe's defaults, and three of its own: ``stages``,
``threads`` and ``stop_after``. With pairs made while training it needs torch, numpy and
safetensors alone, as on a lent GPU.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

import k3dn
from pipelines.errors import UserError
from pipelines.failures import Terminated, explain_failure
from pipelines.plain_keys import read_keys
from pipelines.progress import say
from pipelines.storage import Location, locate
from pipelines.training.batch import BatchSource
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.follow import shown_progress
from pipelines.training.for_pictures import (
    EMA,
    EXCHANGE_VIEWS,
    GRAD_CLIP,
    NOISE,
    RECOLOUR,
    SAME_VIEWS,
)
from pipelines.training.groups import owned
from pipelines.training.keeper import BEST, WEIGHTS, read_best
from pipelines.training.live.config import PooledLiveConfig
from pipelines.training.loop import Outcome, fit, read_outcome
from pipelines.training.plan import RUNS, RunPlan, claim, plan_run, steps_of
from pipelines.training.start import bring_start
from pipelines.training.stopping import stopping_in_order


@dataclass(frozen=True, kw_only=True, slots=True)
class BareConfig(TrainConfig):
    """``k3dn train`` without Ray, by default as the recipe trains weights for pictures."""

    num_workers: int = 1
    """One: this process."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Arithmetic of the network in training; the weights themselves stay float32."""
    grad_clip: float = GRAD_CLIP
    """Largest norm of the gradient; 0 does not clip."""
    ema: float = EMA
    """Decay of the moving average of the weights; where it is above 0, the average is kept."""
    lambda_1: float = 0.0
    """Weight of the reblurring loss (Eq. 18)."""
    exchange_views: float = EXCHANGE_VIEWS
    """Probability that a patch's views change places, which shows near for far."""
    recolour: float = RECOLOUR
    """Probability that a patch is turned grey or has its channels in another order."""
    same_views: float = SAME_VIEWS
    """Probability that a patch's views are one picture that is to come back unchanged."""
    noise: float = NOISE
    """Greatest standard deviation of noise added to the views of half of the patches; white is
    1."""
    live: PooledLiveConfig = field(default_factory=PooledLiveConfig)
    """Which pairs synth://PACK makes."""
    on_nan: Literal["stop", "skip"] = "skip"
    """What a step whose loss or gradient is not finite does: end the run, or be left out."""
    checkpoint_every: int = 500
    """Steps between two checkpoints: what a kill can cost at most."""
    val_every: int = 500
    """Steps between two validations; the best weights by them are kept."""
    max_val_pairs: int = 24
    """Held-out pairs of a validation."""
    stages: list[str] = field(default_factory=list)
    """PATCHxBATCH:SHARE:LR, one after the other, as 128x16:0.7:1e-3,256x8:0.3:3e-4: shares of the
    steps or seconds; each a run of its own that begins with the best weights of the one before."""
    threads: int | None = None
    """Threads of torch. None: as many as it takes by itself."""
    stop_after: float | None = None
    """Seconds after which this command stops behind a checkpoint, as by SIGTERM; the same command
    goes on."""


def train_here(
    config: TrainConfig, *, threads: int | None = 1, device: torch.device | None = None
) -> Location:
    """Train, or go on, and return the weights file.

    device: None takes the GPU where there is one, unless use_gpu=false. Raises UserError where the
    loss is not finite, KeyboardInterrupt or Terminated where a signal stopped it, behind a
    checkpoint.
    """
    plan = plan_run(config)
    claim(plan)
    with owned(plan.folder) as owner:
        outcome = _train_owned(plan, owner, threads, device)
    if outcome.status == "diverged":
        raise UserError(
            f"run {plan.name}: the loss is not finite after step {outcome.step}; the network "
            f"diverged. Try a smaller lr (it was {config.lr}) or precision=fp32"
        )
    return plan.folder.child(WEIGHTS)


def _train_owned(
    plan: RunPlan, owner: int, threads: int | None, device: torch.device | None
) -> Outcome:
    config = plan.config
    bring_start(plan, k3dn.build_model(config.model, config.network), config.tracking_uri or "")
    outcome = read_outcome(plan.folder)
    if outcome is not None and outcome.status == "done":
        return outcome
    device = device or _device_of(config)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with (
            shown_progress(plan.folder, steps_of(config)),
            stopping_in_order(plan.folder, config.stop_grace_s) as stopper,
        ):
            outcome = fit(plan, ProcessContext(device), _batches_of(plan, device), owner)
        stopper.raise_if_asked()
    finally:
        torch.set_num_threads(before)
    return outcome


def train_stages(config: TrainConfig, stages: list[str], *, threads: int | None) -> Location:
    """Train stage after stage, and return the best weights of all. Run again, it goes on.

    stages: as ``BareConfig`` says. Raises UserError for one it cannot read, and as ``train_here``.
    """
    if config.name is None:
        raise UserError("stages are runs NAME-1, NAME-2 and so on: give a name=NAME")
    runs: list[Location] = []
    for number, stage in enumerate(stages, 1):
        start = config.start_from
        if runs:  # as root is written: a run goes on below another folder, too
            start = "/".join((config.root.rstrip("/"), RUNS, runs[-1].name, BEST))
        of_it = _staged(config, stage, number, start)
        length = steps_of(of_it)
        told = f"{of_it.seconds:g} s" if length is None else f"{length} steps"
        say(
            f"train: stage {number} of {len(stages)}: {told} of {of_it.batch_size} patches of "
            f"{of_it.patch} px"
        )
        train_here(of_it, threads=threads)
        runs.append(locate(config.root).child(RUNS, str(of_it.name)))
        if read_best(runs[-1]) is None:
            raise UserError("stages choose their weights by validation; set max_val_pairs above 0")
    # Their validations are on the same pairs; the last need not be the best.
    return max(runs, key=lambda run: (read_best(run) or {})["val_psnr"]).child(BEST)


def _staged(config: TrainConfig, stage: str, number: int, start: str | None) -> TrainConfig:
    try:
        size, share_text, rate = stage.split(":")
        patch, batch = (int(part) for part in size.split("x"))
        share, lr = float(share_text), float(rate)
        if not 0.0 < share <= 1.0:
            raise ValueError
        return replace(
            config,
            name=f"{config.name}-{number}",
            patch=patch,
            batch_size=batch,
            lr=lr,
            start_from=start,
            steps=max(1, round(share * config.steps)),
            seconds=None if config.seconds is None else share * config.seconds,
        )
    except ValueError as error:
        raise UserError(
            f"stages: {stage!r} is not PATCHxBATCH:SHARE:LR, as 128x16:0.7:1e-3 {error}"
        ) from error


def _batches_of(plan: RunPlan, device: torch.device) -> BatchSource:
    if plan.makes_pairs:
        from pipelines.training.live.source import LiveBatches

        return LiveBatches(device)
    from pipelines.training.loader import local_batches

    return local_batches


def _device_of(config: TrainConfig) -> torch.device:
    if torch.cuda.is_available() and config.use_gpu is not False:
        return torch.device("cuda")
    if config.use_gpu:
        raise UserError("use_gpu=true, and torch sees no GPU here; look at nvidia-smi")
    if torch.cuda.is_available() or Path("/dev/nvidia0").exists():
        say("train: WARNING: this trains on the CPU, and the machine has a GPU")
    return torch.device("cpu")


@contextmanager
def _stopped_after(seconds: float | None) -> Iterator[None]:
    """Send this process the signal that stops it in order."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def main() -> int:
    """Run the command; return what it ends with, as ``k3dn train`` does."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        config = read_keys(BareConfig, sys.argv[1:])
        with _stopped_after(config.stop_after):
            own = {"stages", "threads", "stop_after"}
            fields = {n: getattr(config, n) for n in config.__dataclass_fields__ if n not in own}
            training = TrainConfig(**fields)
            if config.stages:
                weights = train_stages(training, config.stages, threads=config.threads)
            else:
                weights = train_here(training, threads=config.threads)
    except (UserError, KeyboardInterrupt, Terminated) as error:
        failure = explain_failure(error)
        print(f"k3dn: {failure.message}", file=sys.stderr)
        return failure.exit_code
    print(f"weights at {weights.url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
