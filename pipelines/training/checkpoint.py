"""Checkpoints of a run, in its own storage.

Ray Train learns of a checkpoint some seconds after it was written, and forgets it if a worker
dies in between. So a restart looks here: a checkpoint is complete when its marker, written last,
is there, and the marker names the state file and its checksum. The marker's name has the number of
the group that wrote it, by which one from before is passed over.
"""

import hashlib
import io
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import torch

from pipelines.storage import Location
from pipelines.training.groups import read_beginnings

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
MARKER = "complete.json"
"""Of group 0, which is nobody's; that of group 3 is ``complete-3.json``."""

State = dict[str, Any]


def snapshot(state: Any) -> Any:
    """Return a copy of a state in this machine's memory, which training does not change."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: snapshot(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(snapshot(value) for value in state)
    return state


def save_checkpoint(
    run: Location,
    step: int,
    state: State,
    *,
    keep: int | None,
    group: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Location:
    """Write the state after ``step`` steps; then remove all but the newest ``keep``; None: nothing.

    state: tensors in dicts and lists with plain values, as ``state_dict`` gives them.
    group: the number of the group of workers that writes. check: raises where another has taken
    the run over; asked before the marker, so that such a group removes nothing of others either.
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
    check()
    folder.child(_marker_of(group)).write_bytes(json.dumps(marker).encode())
    if keep is not None:
        _prune(run, keep)
    return folder


def complete_steps(run: Location) -> list[int]:
    """Return the steps of the checkpoints whose marker is there and counts, newest first."""
    folder = run.child(CHECKPOINTS)
    steps = [_step_of(name) for name in folder.list()]
    found = sorted((step for step in steps if step is not None), reverse=True)
    return [step for step in found if _group_of(run, step) is not None]


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
    marker_file = folder.child(_marker_of(_group_of(run, step) or 0))
    try:
        marker = json.loads(marker_file.read_bytes())
        file, digest = folder.child(marker["file"]), marker["sha256"]
    except (LookupError, TypeError) as error:
        raise ValueError(f"{marker_file} names no file and checksum") from error
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{file} differs from its checksum")
    try:
        state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{file} holds other things than tensors and plain values") from error
    return state


def _prune(run: Location, keep: int) -> None:
    """Remove what is older than the newest ``keep``. A failure must not stop training."""
    folder = run.child(CHECKPOINTS)
    try:
        kept = complete_steps(run)[:keep]
        for name in folder.list():
            step = _step_of(name)
            if step is not None and len(kept) == keep and step < kept[-1]:
                for file in folder.child(name).list():
                    if _number_in(file) is not None:  # first, so that no half one looks whole
                        folder.child(name, file).delete()
                folder.child(name).delete()
    except Exception as error:  # OSError, or what a storage's client raises
        log.warning("old checkpoints at %s stay: %s", folder, error)


def _group_of(run: Location, step: int) -> int | None:
    """Return the last group whose marker of a step is there and counts."""
    beginnings = read_beginnings(run)
    files = run.child(CHECKPOINTS, _folder_name(step)).list()
    numbers = [number for file in files if (number := _number_in(file)) is not None]
    counting = [number for number in numbers if step <= beginnings.limit(number)]
    return max(counting, default=None)


def _marker_of(group: int) -> str:
    return MARKER if group == 0 else f"complete-{group}.json"


def _number_in(file: str) -> int | None:
    """Return the group whose marker a file is."""
    if file == MARKER:
        return 0
    number = file.removeprefix("complete-").removesuffix(".json")
    return int(number) if number.isdigit() and _marker_of(int(number)) == file else None


def _folder_name(step: int) -> str:
    return f"step-{step:08d}"


def _step_of(name: str) -> int | None:
    number = name.removeprefix("step-")
    return int(number) if name.startswith("step-") and number.isdigit() else None
