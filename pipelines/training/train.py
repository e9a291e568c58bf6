"""The training step: data versions in, a registered network out. The driver's side."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cluster import ray_cluster
from pipelines.config import settings_of, without_password
from pipelines.environment import prepare_environment
from pipelines.errors import AwayError, UnavailableError, UserError
from pipelines.failures import Terminated
from pipelines.mlflow_store import (
    folder_tag,
    resolve_tracking_uri,
    shared_url,
)
from pipelines.next_steps import command
from pipelines.progress import say
from pipelines.retry import pauses_s
from pipelines.storage import Location
from pipelines.tracking import Tracker
from pipelines.training.attempts import train_with_restarts
from pipelines.training.checkpoint import complete_steps
from pipelines.training.config import TrainConfig
from pipelines.training.elastic import Elastic
from pipelines.training.failure import kind_of, mendable_reason
from pipelines.training.follow import shown_progress
from pipelines.training.groups import owned
from pipelines.training.keeper import OUTCOME, WEIGHTS
from pipelines.training.loop import Outcome, read_outcome
from pipelines.training.plan import RunPlan, claim, plan_run, steps_of
from pipelines.training.record import read_rows
from pipelines.training.start import bring_start, learning_parts
from pipelines.training.stopping import stopping_in_order
from pipelines.training.validation import PICTURES

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer
    from torch import nn

RESULT = "result.json"
_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a training run gave."""

    run: str
    """Name of the run."""
    folder: str
    """Where its checkpoints, record and weights lie."""
    steps: int
    losses: dict[str, float]
    """Means over the last recorded steps."""
    validation: dict[str, float]
    """On whole held-out pictures; empty where the datasets have none."""
    weights: str
    """The weights file, safetensors."""
    tracking_uri: str
    run_id: str
    """The run in MLflow."""
    model: str | None
    """Name of the registered model."""
    model_version: str | None
    """Its new version, now the challenger."""
    root: str

    def describe(self) -> str:
        """Return the result in words."""
        lines = [f"trained {self.run}: {self.steps} steps, loss {self.losses['loss']:.4f}"]
        if self.validation:
            gain = self.validation["val_psnr"] - self.validation["val_psnr_input"]
            lines.append(
                f"  validation {self.validation['val_psnr']:.2f} dB, {gain:+.2f} dB against the "
                f"mean of the views, SSIM {self.validation['val_ssim']:.4f}"
            )
        if self.model_version:
            lines.append(f"  registered as models:/{self.model}/{self.model_version} (challenger)")
        lines.append(f"  MLflow run {self.run_id} at {self.tracking_uri}")
        lines.append(f"  weights at {self.weights}")
        return "\n".join(lines)

    def next_steps(self) -> list[str]:
        """Return what to run next."""
        if not self.model_version:
            return [command("evaluate", model=self.weights)]
        uri = f"models:/{self.model}/{self.model_version}"
        return [command("evaluate", model=uri), command("promote", name=self.model)]


def run(config: TrainConfig) -> TrainResult:
    """Train, record in MLflow and register. The same command goes on where it stopped.

    Raises UserError for what the user can mend, among it a run that diverged, and BusyError where
    another command trains it.
    """
    prepare_environment()
    plan = plan_run(config)
    model = _check(config)
    tracking_uri = resolve_tracking_uri(config)
    claim(plan)
    with owned(plan.folder) as owner:
        bring_start(plan, model, tracking_uri)
        return _run_owned(plan, owner, tracking_uri)


def _run_owned(plan: RunPlan, owner: int, tracking_uri: str) -> TrainResult:
    config = plan.config
    outcome = read_outcome(plan.folder)
    tracker = _open_tracker(plan, tracking_uri)
    say(f"train: run {plan.name}, {_data_line(plan)}, at {plan.folder}")
    try:
        if outcome is None or outcome.status != "done":
            tracker.follow()
            outcome = _train(plan, owner)
        else:
            say(f"train: run {plan.name} is trained already")
            result = plan.folder.child(RESULT)
            if not tracker.run_id and result.exists():  # and MLflow was told
                return TrainResult(**json.loads(result.read_bytes()))
        if outcome.status == "diverged":
            raise UserError(
                f"run {plan.name}: the loss is not finite after step {outcome.step}; the network "
                f"diverged. Try a smaller lr (it was {config.lr}) or precision=fp32"
            )
        return _publish_patiently(plan, outcome, tracker, tracking_uri)
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | Terminated)
        tracker.stop("KILLED" if killed else "FAILED")
        raise


def train_with_callbacks(config: TrainConfig, callbacks: Sequence[Any]) -> Outcome | None:
    """Train the run that ``config`` means, without a record in MLflow; return how it ended.

    Needs a connection to Ray. callbacks: Ray Train's, e.g. the one that reports to Ray Tune; they
    get ``step``, the losses (``loss``, ``deblur``, ``reblur``, ``disparity``) and ``val_psnr``,
    ``val_ssim``, ``val_mae``, ``val_psnr_input`` at each validation.
    """
    plan = plan_run(config)
    model = _check(config)
    claim(plan)
    with owned(plan.folder) as owner:
        bring_start(plan, model, resolve_tracking_uri(config))
        with _told_in_one_line(plan):
            train_with_restarts(plan, lambda: _trainer(plan, owner, callbacks))
        return read_outcome(plan.folder)


def _train(plan: RunPlan, owner: int) -> Outcome:
    # What an earlier attempt left is not the outcome of this one.
    plan.folder.child(OUTCOME).delete()
    with ray_cluster(plan.config.ray_address), _told_in_one_line(plan):
        with (
            shown_progress(plan.folder, steps_of(plan.config)),
            stopping_in_order(plan.folder, plan.config.stop_grace_s) as stopper,
        ):
            elastic = _elastic(plan)
            train_with_restarts(
                plan,
                lambda: _trainer(plan, owner, (), elastic),
                stopper.raise_if_asked,
                elastic,
            )
        stopper.raise_if_asked()
    outcome = read_outcome(plan.folder)
    if outcome is None or outcome.status == "stopped":
        raise UserError(
            f"run {plan.name} was stopped before its end; the same command goes on from "
            f"{_newest(plan.folder)}"
        )
    return outcome


@contextmanager
def _told_in_one_line(plan: RunPlan) -> Iterator[None]:
    """Raise a UserError in the place of a training's failure that is no bug."""
    from ray.train import TrainingFailedError

    try:
        yield
    except (TrainingFailedError, AwayError) as error:
        go_on = f"the same command goes on from {_newest(plan.folder)}"
        reason = mendable_reason(error)
        if reason is None:  # a bug, perhaps in the user's own network: keep its traceback
            say(f"train: run {plan.name} failed; when that is mended, {go_on}")
            raise
        raise kind_of(error)(
            f"run {plan.name}: training failed: {reason}; when that is mended, {go_on}"
        ) from error


def _elastic(plan: RunPlan) -> Elastic | None:
    """What finds out how many workers there is room for; None where their number is fixed."""
    from pipelines.training.room import WORKERS_WITHOUT_GPU, layout_of

    config = plan.config
    if config.min_workers is None:
        return None
    # With as few as it may be, the run knows whether it trains on GPUs.
    layout = layout_of(replace(config, num_workers=config.min_workers))
    most = config.batch_size if layout.use_gpu else max(WORKERS_WITHOUT_GPU, config.min_workers)
    if config.num_workers != "auto":
        most = config.num_workers
    return Elastic(config, plan.folder, most=most, use_gpu=layout.use_gpu)


def _trainer(
    plan: RunPlan, owner: int, callbacks: Sequence[Any], elastic: Elastic | None = None
) -> "TorchTrainer":
    # A worker's first start imports torch from a cold disk: a minute is not always enough.
    os.environ.setdefault(_START_TIMEOUT, "300")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from pipelines.training.room import Layout, check_room, label_selector, layout_of
    from pipelines.training.worker import train_worker

    class Trainer(TorchTrainer):
        def _register_sigint_handler(self, controller: Any) -> None:
            """Leave Ctrl-C to Python: Ray's own would end the process with 0, half trained."""

    config = plan.config
    if elastic is None:
        layout = layout_of(config)
        check_room(config, layout.workers)
    else:
        layout = Layout(elastic.take(), elastic.use_gpu)
    use_gpu = layout.use_gpu
    resources = {"CPU": config.cpus_per_worker}
    resources |= {"GPU": config.gpus_per_worker} if use_gpu else {}
    return Trainer(
        train_worker,
        train_loop_config={"plan": plan, "owner": owner},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=layout.workers,
            use_gpu=use_gpu,
            resources_per_worker=resources,
            placement_strategy=config.placement.upper(),
            label_selector=label_selector(  # type: ignore[call-arg]  # typed as Train v1's
                config.reader_label, without=True
            ),
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=plan.folder.url,
            failure_config=FailureConfig(max_failures=0),  # see train_with_restarts
            callbacks=list(callbacks),
        ),
    )


def _publish_patiently(
    plan: RunPlan, outcome: Outcome, tracker: Tracker, tracking_uri: str
) -> TrainResult:
    """Publish, waiting for MLflow where it is away: the night must not be for nothing."""
    end_s = time.monotonic() + plan.config.patience_s
    told = False
    for pause_s in pauses_s():
        try:
            return _publish(plan, outcome, tracker, tracking_uri)
        except UnavailableError as error:
            if time.monotonic() + pause_s > end_s:
                raise
            if not told:
                say(f"train: run {plan.name} is trained, and waits for MLflow: {error}")
            told = True
            time.sleep(pause_s)
    raise AssertionError("unreachable")


def _publish(plan: RunPlan, outcome: Outcome, tracker: Tracker, tracking_uri: str) -> TrainResult:
    """Register the weights and close the records. Every part of it may be repeated."""
    config = plan.config
    version: str | None = None
    tracker.open_now()
    weights = plan.folder.child(WEIGHTS)
    with tempfile.TemporaryDirectory(prefix="k3dn-publish-") as folder:
        local = Path(folder, WEIGHTS)
        local.write_bytes(weights.read_bytes())
        if config.register:
            from pipelines.registry.registry import register

            with tracker.told_when_away():
                version = register(
                    local,
                    name=config.register,
                    run_id=tracker.run_id,
                    tracking_uri=tracking_uri,
                    model=config.model,
                    options=config.network,
                    tags={
                        "k3dn.run": plan.name,
                        "k3dn.datasets": ",".join(source.reference for source in plan.sources),
                    },
                )
        settings = Path(folder, "config.json")
        settings.write_text(json.dumps(settings_of(config), indent=2, default=str))
        checkpoints = complete_steps(plan.folder)
        tracker.finish(
            artifacts=[(settings, "")],
            tags={
                "k3dn.weights": folder_tag(plan.root, weights),
                "k3dn.checkpoint_step": str(checkpoints[0] if checkpoints else 0),
            },
        )
    result = TrainResult(
        run=plan.name,
        folder=plan.folder.url,
        steps=outcome.step,
        losses=outcome.losses,
        validation=outcome.validation,
        weights=weights.url,
        tracking_uri=without_password(tracking_uri),
        run_id=tracker.run_id,
        model=config.register,
        model_version=version,
        root=plan.root.url,
    )
    plan.folder.child(RESULT).write_bytes(json.dumps(asdict(result), indent=2).encode())
    return result


def _open_tracker(plan: RunPlan, tracking_uri: str) -> Tracker:
    key = hashlib.sha256(f"{plan.folder.url}\n{plan.digest}".encode()).hexdigest()[:32]
    tracker = Tracker(
        tracking_uri,
        key=key,
        name=plan.name,
        rows_since=lambda step: read_rows(plan.folder, max(step, 0)),
        pictures=plan.folder.child(PICTURES),
    )
    datasets = [
        (source.reference, source.digest, shared_url(plan.root.child(source.name, source.version)))
        for source in plan.sources
    ]
    tracker.open_when_there(
        parameters=_flat(settings_of(plan.config)),
        tags={"k3dn.folder": folder_tag(plan.root, plan.folder), "k3dn.digest": plan.digest},
        datasets=datasets,
    )
    return tracker


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _check(config: TrainConfig) -> "nn.Module":
    """Build the network once, so that a wrong name is told here and not by three dead workers."""
    if config.live.repeat > 1.0:
        raise UserError(
            f"live.repeat={config.live.repeat:g} keeps its pairs in one process: leave it out, or "
            "train with python -m pipelines.training.bare"
        )
    import torch

    from k3dn import build_model

    try:
        with torch.device("meta") if ":" not in config.model else nullcontext():
            model = build_model(config.model, config.network)
            learning_parts(model, config.train_only)
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    return model


def _data_line(plan: RunPlan) -> str:
    names = ", ".join(
        f"{s.reference} ({s.rows} pairs{f' x {s.repeat}' if s.repeat > 1 else ''})"
        for s in plan.sources
    )
    length = steps_of(plan.config)
    told = f"{plan.config.seconds:g} s of steps" if length is None else f"{length} steps"
    if plan.makes_pairs:
        names = f"{plan.config.datasets[0]}, made as they are needed"
    return f"{told} of {plan.config.batch_size} pairs from {names}"


def _newest(folder: Location) -> str:
    try:
        steps = complete_steps(folder)
    except Exception:  # the storage is away
        return "its newest checkpoint"
    return f"step {steps[0]}" if steps else "the start"
