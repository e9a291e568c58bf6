"""What rank 0 keeps of a run in its storage, beside the steps: record, checkpoints, weights."""

import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from k3dn import K3DN, save_weights
from pipelines.dataset.images import Pixels
from pipelines.storage import Location
from pipelines.training.checkpoint import State, save_checkpoint
from pipelines.training.context import Metrics
from pipelines.training.groups import begin_group
from pipelines.training.plan import RunPlan
from pipelines.training.record import RecordWriter, read_rows, write_samples
from pipelines.training.start import start_has_drifted
from pipelines.training.validation import write_strips
from pipelines.training.writer import BackgroundWriter

OUTCOME = "outcome.json"
WEIGHTS = "weights.safetensors"
"""The network after the last step."""
BEST = "best.safetensors"
"""The network at the validation with the highest PSNR so far; there while training still runs."""
BEST_OF = "best.json"
"""Step and validation of ``BEST``, written after it."""

Samples = Sequence[tuple[int, str]]


def read_best(run: Location) -> Metrics | None:
    """Return step and validation of the best weights so far; None where there are none yet."""
    try:
        found: Metrics = json.loads(run.child(BEST_OF).read_bytes())
    except FileNotFoundError:
        return None
    return found


class Keeper:
    """Writes by threads; nothing here waits for the storage but ``finish``, and a checkpoint for
    the one before it."""

    def __init__(self, plan: RunPlan, step: int, owner: int | None) -> None:
        """step: where this group of workers begins. owner: number of the command's lease.

        Raises BusyError where another command, or group, has the run.
        """
        self._plan, self._run = plan, plan.folder
        self._group = begin_group(self._run, step, owner)
        self._writer = BackgroundWriter(plan.config.patience_s)
        self._record = RecordWriter(self._run, step, self._group.number)
        self._saved_step = step
        self._unwritten: dict[tuple[int, int], Samples] = {}
        """Samples of the steps since the last checkpoint that was written, by first and last."""
        self._written_step = step
        self._best = read_best(self._run)
        rows = read_rows(self._run) if step else []
        self._radii_known = any(row.get("disparity", 0.0) > 0 for row in rows)

    @property
    def waited_s(self) -> float:
        """How long the training has waited for the storage so far."""
        return self._writer.waited_s

    def add(self, step: int, **values: object) -> None:
        """Add a row to the record."""
        disparity = values.get("disparity")
        self._radii_known |= isinstance(disparity, float) and disparity > 0
        self._record.add(step, **values)

    def check(self) -> None:
        """Raise UnavailableError where the storage was away for too long, BusyError where the run
        was taken over."""
        self._writer.check()

    def checkpoint(self, step: int, samples: Samples, state: State) -> None:
        """Keep a state, which nobody changes any more, and what it was made of since the last."""
        for steps in [s for s in self._unwritten if s[1] <= self._written_step]:
            del self._unwritten[steps]
        self._unwritten[self._saved_step, step] = samples
        job = functools.partial(self._write_checkpoint, step, dict(self._unwritten), state)
        self._writer.submit(f"the checkpoint of run {self._plan.name}", job)
        self._record.begin_part(step)
        self._saved_step = step

    def pictures(self, step: int, strips: Sequence[Pixels]) -> None:
        """Keep pictures of a validation."""
        job = functools.partial(write_strips, self._run, step, strips)
        self._writer.submit(f"pictures of run {self._plan.name}", job)

    def validated(self, step: int, measured: Metrics, network: nn.Module, *, learns: bool) -> None:
        """Keep the weights of a validation that none before it in this run exceeds.

        learns: whether the network's estimator of the blur radius does.
        """
        best = self._best
        # One of a later step is from before a restart, and comes again.
        if best and best["step"] < step and best["val_psnr"] >= measured["val_psnr"]:
            return
        self._best = {"step": step, **measured}
        data = self._weights(network, learns=learns)
        job = functools.partial(self._write_best, data, self._best)
        self._writer.submit(f"the best weights of run {self._plan.name}", job)

    def finish(
        self, step: int, outcome: Mapping[str, object], network: nn.Module | None, *, learns: bool
    ) -> None:
        """Write what is not written, the weights where there is a network, and last the outcome.

        Raises what ``check`` raises.
        """
        data = None if network is None else self._weights(network, learns=learns)
        self.add(step, event=outcome["status"])
        job = functools.partial(self._write_end, data, json.dumps(outcome).encode())
        self._writer.submit(f"the end of run {self._plan.name}", job)
        self._writer.join()

    def close(self) -> None:
        """Write what can be written still, and end the threads."""
        self._writer.close()
        self._record.close()

    def _write_checkpoint(
        self, step: int, samples: Mapping[tuple[int, int], Samples], state: State
    ) -> None:
        self._group.check()
        for (start, stop), of_them in samples.items():
            write_samples(self._run, start, stop, of_them)
        save_checkpoint(
            self._run,
            step,
            state,
            keep=self._plan.config.keep,
            group=self._group.number,
            check=self._group.check,
        )
        self._written_step = step

    def _write_best(self, data: bytes, best: Metrics) -> None:
        self._group.check()
        self._run.child(BEST).write_bytes(data)
        self._run.child(BEST_OF).write_bytes(json.dumps(best).encode())

    def _write_end(self, weights: bytes | None, outcome: bytes) -> None:
        self._group.check()
        if weights is not None:
            self._run.child(WEIGHTS).write_bytes(weights)
        if not self._record.flush():
            raise OSError("the record of losses is behind")
        self._run.child(OUTCOME).write_bytes(outcome)

    def _weights(self, network: nn.Module, *, learns: bool) -> bytes:
        config = self._plan.config
        if isinstance(network, K3DN):
            # Samples come mixed: where some pairs of a run have known radii, they teach the
            # readout to the end; without any it is left behind by an estimator that learns.
            network.coc_drifted = not self._radii_known and (learns or self._began_drifted)
        with tempfile.TemporaryDirectory(prefix="k3dn-weights-") as folder:
            path = Path(folder, WEIGHTS)
            save_weights(path, network, name=config.model, options=config.network)
            return path.read_bytes()

    @functools.cached_property
    def _began_drifted(self) -> bool:
        return start_has_drifted(self._run)
