"""The training loop. It knows a worker's context and a source of batches, not Ray."""

import io
import json
import logging
import math
import platform
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pipelines.making.provenance import processor_kind
from pipelines.storage import Location
from pipelines.training.batch import Batch, BatchSource
from pipelines.training.checkpoint import State, load_checkpoint, newest_checkpoint, snapshot
from pipelines.training.context import Metrics, WorkerContext
from pipelines.training.keeper import OUTCOME, Keeper
from pipelines.training.learner import LOSSES, Learner, as_values, learning_rate
from pipelines.training.order import rank_slice, seed_of, step_samples
from pipelines.training.plan import RunPlan, steps_of
from pipelines.training.spent import Spent
from pipelines.training.start import read_start
from pipelines.training.step_times import StepTimes
from pipelines.training.stopping import StopWatch
from pipelines.training.utilization import Utilization
from pipelines.training.validation import Validation

log = logging.getLogger(__name__)

NAN = "nan"
"""Steps whose loss or gradient was not finite: their pairs, seeds and pictures, for torch.load."""
_MOST_DUMPS = 4
_MOST_SKIPPED = 20
"""Steps in a row; a network that gives no number so often has none to give any more."""


Status = Literal["done", "diverged", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How the training of a network ended."""

    status: Status
    """'diverged' where the loss or the gradient was not finite, 'stopped' where somebody asked."""
    step: int
    """Steps done."""
    losses: Metrics = field(default_factory=dict)
    """The last recorded losses: loss, deblur, reblur, disparity."""
    validation: Metrics = field(default_factory=dict)
    """The last validation; empty where there are no held-out pairs."""


def fit(
    plan: RunPlan, context: WorkerContext, batches_of: BatchSource, owner: int | None = None
) -> Outcome:
    """Train from the newest complete checkpoint to the last step, and write the weights.

    Every worker of the run calls it. Rank 0 writes checkpoints, the record of losses and
    samples, the weights, and last the outcome. owner: the number of the lease that the command
    holds on the run. Raises BusyError where another command has taken the run over.
    """
    return _Fit(plan, context, owner).run(batches_of)


def read_outcome(run: Location) -> Outcome | None:
    """Return how a run ended; None where it did not end yet."""
    try:
        return Outcome(**json.loads(run.child(OUTCOME).read_bytes()))
    except FileNotFoundError:
        return None


class _Fit:
    def __init__(self, plan: RunPlan, context: WorkerContext, owner: int | None) -> None:
        self._plan, self._context = plan, context
        self._config, self._run = plan.config, plan.folder
        self._step, state = self._restore()
        begins = state is None and plan.config.start_from is not None
        start = read_start(plan.folder) if begins else None
        self._learner = Learner(plan.config, context, state, start)
        self._validation = Validation(plan, context)
        self._keeper = Keeper(plan, self._step, owner) if context.rank == 0 else None
        self._stop_watch = StopWatch(self._run if context.rank == 0 else None)
        self._utilization = Utilization(context.device, context.node_rank, context.local_rank)
        self._spent = Spent(plan.config, state.get("spent_s", 0.0) if state else 0.0)
        self._saved_step = self._step
        self._pending: list[_Made] = []
        self._times = StepTimes()
        self._window = _Window()
        self._skipped = 0
        self._samples: list[tuple[int, str]] = []
        self._losses: Metrics = state["losses"] if state else {}
        self._measured: Metrics = {}
        self._measured_step = -1

    def run(self, batches_of: BatchSource) -> Outcome:
        try:
            return self._run_to_the_end(batches_of)
        finally:
            self._stop_watch.close()
            self._utilization.close()
            if self._keeper:
                self._keeper.close()

    def _run_to_the_end(self, batches_of: BatchSource) -> Outcome:
        config, context = self._config, self._context
        device = processor_kind(str(context.device))
        of = steps_of(config)
        names = sorted(set(context.gather((context.node_rank, platform.node()))))
        start = {"workers": context.world_size, "of": of, "device": device}
        self._add(event="start", **start, nodes=[name for _, name in names])
        if self._step == 0 and config.start_from is not None:
            self._measure()  # the best weights are never worse than those that it begins with
        with closing(batches_of(self._plan, context.rank, context.world_size, self._step, of)) as b:
            ended = self._steps(b)
        if ended != "done":
            return self._finish(Outcome(status=ended, step=self._step))
        if self._measured_step != self._step:
            self._measure()
        return self._finish(
            Outcome(
                status="done",
                step=self._step,
                losses=self._losses,
                validation=self._measured,
            )
        )

    def _steps(self, batches: Iterator[Batch]) -> Status:
        """Make the steps that are left; return how that ended."""
        config = self._config
        self._window = _Window()
        while not self._is_over():
            if self._keeper:
                self._keeper.check()
            asked_s = time.perf_counter()
            batch = next(batches)
            waited_s = time.perf_counter() - asked_s
            self._check_due(batch)
            share = self._spent.share(self._step)
            values = self._learner.step(
                self._step,
                batch,
                share=share,
                stop=self._stop_watch.requested,
                spent_s=self._spent.seconds if self._context.rank == 0 else 0.0,
            )
            rate = learning_rate(self._step, config, share)
            self._pending.append(_Made(self._step, batch, values, rate, waited_s))
            self._step += 1
            self._samples += zip(batch.index, batch.pair_id, strict=True)
            # A GPU is waited for where something is to be told or kept, and nowhere else.
            every = (config.log_every, config.checkpoint_every, config.val_every)
            looks = self._context.device.type == "cpu" or any(map(self._is_due, every))
            asked_to_stop = False
            if looks:
                done, asked_to_stop = self._read()
                if not done:
                    return "diverged"
            if self._is_due(config.log_every):
                self._log()
            stops = asked_to_stop and not self._is_over()
            validated_s = 0.0
            # Before the checkpoint: who goes on from there has the validation behind him.
            if self._is_due(config.val_every) and not stops:
                validated_s = self._measure()
            if self._is_due(config.checkpoint_every) or stops:
                self._checkpoint()
            if stops:
                return "stopped"
            self._window.leave_out(validated_s)
            self._times.add(time.perf_counter() - asked_s - validated_s)
        return "done"

    def _is_over(self) -> bool:
        return self._spent.share(self._step) >= 1.0

    def _read(self) -> tuple[bool, bool]:
        """Look at what the last steps gave: whether to go on, and whether somebody said stop."""
        pending, self._pending = self._pending, []
        stop = False
        for made in pending:
            values = as_values(made.values)
            stop = values.pop("stop") > 0 or stop
            self._spent.agree(values.pop("spent_s"))
            if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
                if not self._leave_out(made, values):
                    self._step = made.step
                    return False, stop
                continue
            self._skipped = 0
            values["lr"] = made.rate
            self._window.add(values, made.waited_s)
        if self._context.world_size == 1:
            self._spent.agree(self._spent.seconds)
        return True, stop

    def _leave_out(self, made: "_Made", values: Metrics) -> bool:
        """Keep what a step came from that gave no number; whether the run goes on without it."""
        self._skipped += 1
        self._dump(made, values)
        going_on = self._config.on_nan == "skip" and self._skipped < _MOST_SKIPPED
        if going_on:
            self._add(event="skipped", at=made.step)
            log.warning("step %d gave no finite loss or gradient, and is left out", made.step)
        return going_on

    def _dump(self, made: "_Made", values: Metrics) -> None:
        folder, batch, config = self._run.child(NAN), made.batch, self._config
        name = f"step-{made.step:08d}-{self._context.rank}.pt"
        if name not in folder.list() and len(folder.list()) >= _MOST_DUMPS:
            return
        held = {"left": batch.left, "right": batch.right, "target": batch.target, "coc": batch.coc}
        found = {
            "step": made.step,
            "index": batch.index,
            "pair_id": batch.pair_id,
            "seeds": [seed_of(config.seed, "augment", index) for index in batch.index],
            "values": values,
            "batch": {k: None if v is None else v.cpu() for k, v in held.items()},
        }
        buffer = io.BytesIO()
        torch.save(found, buffer)
        try:
            folder.child(name).write_bytes(buffer.getvalue())
        except Exception as error:  # OSError, or what a storage's client raises
            log.warning("what step %d came from cannot be kept: %s", made.step, error)

    def _log(self) -> None:
        if not self._window.steps:
            return
        waited_s = self._keeper.waited_s if self._keeper else 0.0
        row = self._window.row(self._config.batch_size, waited_s)
        self._losses = {key: row[key] for key in LOSSES}
        self._add(
            **row, **self._of_workers(row), left_s=self._left_s(), spent_s=self._spent.seconds
        )
        self._window = _Window(waited_s)

    def _of_workers(self, row: Metrics) -> Metrics:
        """How busy each worker is; all of them take part."""
        rank, world_size = self._context.rank, self._context.world_size
        share = len(rank_slice(self._config.batch_size, rank, world_size)) / self._config.batch_size
        figures = self._utilization.figures(
            pairs_per_s=share * row["samples_per_s"], waiting_for_data=row["waiting_for_data"]
        )
        return {k: v for part in self._context.gather(figures) for k, v in part.items()}

    def _left_s(self) -> float | None:
        """How long it will go on; None where that is not known yet."""
        of = steps_of(self._config)
        if of is None:
            return self._spent.left_s()
        every = self._config.val_every
        return self._times.left_s(of - self._step, -(-of // every) - self._step // every)

    def _check_due(self, batch: Batch) -> None:
        rank, world_size = self._context.rank, self._context.world_size
        due = list(step_samples(self._step, self._config.batch_size, rank, world_size))
        if batch.index != due:
            raise RuntimeError(f"samples {batch.index} arrived where {due} were due")

    def _restore(self) -> tuple[int, State | None]:
        # Rank 0 decides: what one worker sees a moment later may be newer.
        rank = self._context.rank
        found = newest_checkpoint(self._run) if rank == 0 else None
        step = self._context.gather(found[0] if found else 0)[0]
        if step == 0:
            return 0, None
        return step, found[1] if found else load_checkpoint(self._run, step)

    def _is_due(self, every: int) -> bool:
        return self._step % every == 0 or self._is_over()

    def _checkpoint(self) -> None:
        if self._saved_step == self._step:
            return
        parts = self._context.gather(self._samples)
        if self._keeper:
            samples = [sample for part in parts for sample in part]
            self._keeper.checkpoint(self._step, samples, snapshot(self._state()))
        self._samples, self._saved_step = [], self._step

    def _state(self) -> State:
        return {
            **self._learner.state(),
            "losses": self._losses,
            "spent_s": self._spent.seconds,
        }

    def _measure(self) -> float:
        """Validate; return the seconds that it took."""
        begun_s = time.perf_counter()
        network = self._learner.network
        self._measured, strips = self._validation.measure(network)
        self._measured_step = self._step
        took_s = time.perf_counter() - begun_s
        if self._measured:
            self._times.add_validation(took_s)
            self._add(**self._measured, validation_s=took_s)
        if self._keeper and self._measured:
            learns = self._learner.estimator_learns
            self._keeper.validated(self._step, self._measured, network, learns=learns)
            self._keeper.pictures(self._step, strips)
        self._context.report({"step": float(self._step), **self._losses, **self._measured})
        return took_s

    def _add(self, **values: object) -> None:
        if self._keeper:
            self._keeper.add(self._step, **values)

    def _finish(self, outcome: Outcome) -> Outcome:
        if self._keeper:
            network = self._learner.network if outcome.status == "done" else None
            learns = self._learner.estimator_learns
            self._keeper.finish(self._step, asdict(outcome), network, learns=learns)
        self._context.gather(None)  # nobody leaves while rank 0 still writes
        return outcome


@dataclass(frozen=True, slots=True)
class _Made:
    """A step that was made and not looked at yet."""

    step: int
    batch: Batch
    values: Tensor
    rate: float
    waited_s: float


class _Window:
    """Means over the steps between two records, and the time between these, all of it but that of
    validations."""

    def __init__(self, waited_for_storage_s: float = 0.0) -> None:
        self._begun_s = time.perf_counter()
        self._storage_before_s = waited_for_storage_s
        self._waited_s = self._left_out_s = 0.0
        self._sums: Metrics = {}
        self.steps = 0

    def add(self, values: Metrics, waited_s: float) -> None:
        """Count a step: its values, and how long it waited for data."""
        self.steps += 1
        self._waited_s += waited_s
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0.0) + value

    def leave_out(self, seconds: float) -> None:
        """Count so much of the time for no step."""
        self._left_out_s += seconds

    def row(self, batch_size: int, waited_for_storage_s: float) -> Metrics:
        """Return the means, the speed, and the shares of time that data and storage were waited
        for. waited_for_storage_s: since the start of the run."""
        elapsed_s = max(time.perf_counter() - self._begun_s - self._left_out_s, 1e-9)
        row = {key: value / self.steps for key, value in self._sums.items()}
        row["s_per_step"] = elapsed_s / self.steps
        row["samples_per_s"] = batch_size * self.steps / elapsed_s
        row["waiting_for_data"] = self._waited_s / elapsed_s
        row["waiting_for_storage"] = (waited_for_storage_s - self._storage_before_s) / elapsed_s
        return row
