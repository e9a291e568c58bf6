"""Checkpoints of a run, in its own storage.

Ray Train learns of a checkpoint some seconds after it was written, and forgets it if a worker
dies in between. So a restart looks here: a checkpoint is complete when its marker, written last,
is there, and the marker names the state file and its checksum.
"""

import hashlib
import io
import json
import logging
import pickle
from typing import Any

import torch

from pipelines.storage import Location

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
MARKER = "complete.json"
KEEP = 2

State = dict[str, Any]


def save_checkpoint(run: Location, step: int, state: State) -> Location:
    """Write the state after ``step`` steps; then remove all but the newest ``KEEP``.

    state: tensors in dicts and lists with plain values, as ``state_dict`` gives them.
    Raises OSError where the storage refuses it; older checkpoints are then untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    folder = run.child(CHECKPOINTS, _folder_name(step))
    # The name carries the content: two writers of one step never mix their files.
    file = f"state-{digest[:16]}.pt"
    folder.child(file).write_bytes(data)
    marker = {"step": step, "file": file, "sha256": digest, "bytes": len(data)}
    folder.child(MARKER).write_bytes(json.dumps(marker).encode())
    _prune(run)
    return folder


def complete_steps(run: Location) -> list[int]:
    """Return the steps of the checkpoints whose marker is there, newest first."""
    folder = run.child(CHECKPOINTS)
    steps = [_step_of(name) for name in folder.list()]
    found = sorted((step for step in steps if step is not None), reverse=True)
    return [step for step in found if folder.child(_folder_name(step), MARKER).exists()]


def newest_checkpoint(run: Location) -> tuple[int, State] | None:
    """Return the step and the state of the newest complete checkpoint that reads as written."""
    for step in complete_steps(run):
        try:
            return step, load_checkpoint(run, step)
        except (OSError, ValueError) as error:
            log.warning("checkpoint of step %d is passed over: %s", step, error)
    return None


def load_checkpoint(run: Location, step: int) -> State:
    """Return the state of a checkpoint. Raises ValueError or OSError where it is not whole.

    Whoever wrote it: nothing but tensors and plain values is made of a checkpoint, no code runs.
    """
    folder = run.child(CHECKPOINTS, _folder_name(step))
    try:
        marker = json.loads(folder.child(MARKER).read_bytes())
        file, digest = folder.child(marker["file"]), marker["sha256"]
    except (LookupError, TypeError) as error:
        raise ValueError(f"{folder.child(MARKER)} names no file and checksum") from error
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{file} differs from its checksum")
    try:
        state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{file} holds other things than tensors and plain values") from error
    return state


def _prune(run: Location) -> None:
    """Remove what is older than the newest ``KEEP``. A failure must not stop training."""
    folder = run.child(CHECKPOINTS)
    try:
        kept = complete_steps(run)[:KEEP]
        for name in folder.list():
            step = _step_of(name)
            if step is not None and len(kept) == KEEP and step < kept[-1]:
                folder.child(name, MARKER).delete()  # first, so that no half one looks whole
                folder.child(name).delete()
    except OSError as error:
        log.warning("old checkpoints at %s stay: %s", folder, error)


def _folder_name(step: int) -> str:
    return f"step-{step:08d}"


def _step_of(name: str) -> int | None:
    number = name.removeprefix("step-")
    return int(number) if name.startswith("step-") and number.isdigit() else None
