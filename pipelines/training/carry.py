"""Take a run away from a machine that is given back, and go on with it on another one.

    python -m pipelines.training.carry out name=tiny to=FOLDER
    python -m pipelines.training.carry in folder=FOLDER

``out`` writes the best weights so far, and what going on takes (the newest checkpoint, the record
and the plan of NAME, or of its stages NAME-1, NAME-2 ...) in parts small enough to be carried.
What Adam remembers is rounded to bfloat16 for it; weights and their average are kept exactly. Best
weights that are larger than a part are rounded to float16.
"""

import io
import json
import math
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import UserError
from pipelines.plain_keys import read_keys
from pipelines.storage import Location, locate
from pipelines.training.checkpoint import (
    CHECKPOINTS,
    complete_steps,
    load_checkpoint,
    save_checkpoint,
)
from pipelines.training.groups import OWNER, newest_group
from pipelines.training.keeper import BEST, WEIGHTS, read_best
from pipelines.training.loop import read_outcome
from pipelines.training.plan import RUNS, START

_PART = "state-{:02d}.part"
_BESIDE = "carried.txt"
"""Names the file beside the parts that holds a run's best weights."""
_LEFT_OUT = (CHECKPOINTS, OWNER, "pictures", "nan", WEIGHTS, START)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutConfig:
    """What is taken away."""

    name: str
    """Of the run, or of its stages."""
    to: str
    """Folder to write to."""
    root: str = "k3dn-data"
    """Where the run lies."""
    part_mib: float = 15.0
    """Size of a part at most."""
    most_mib: float = 62.0
    """Size of all files at most: where they have more, the weights go alone, and it is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InConfig:
    """What is brought back."""

    folder: str
    """Where the parts lie."""
    root: str = "k3dn-data"
    """Where runs are to lie."""


def carry_out(config: OutConfig) -> list[Path]:
    """Write the files and return them. Raises UserError where there is no such run."""
    runs = _runs(config.root, config.name)
    if not runs:
        raise UserError(f"there is no run {config.name} at {config.root}")
    to = Path(config.to)
    to.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    best = max(runs, key=lambda run: (read_best(run) or {}).get("val_psnr", -math.inf))
    part = int(config.part_mib * 2**20)
    if best.child(BEST).exists():
        files.append(to / f"{config.name}.safetensors")
        weights = best.child(BEST).read_bytes()
        files[0].write_bytes(weights if len(weights) <= part else _halved(weights))
    data = _state_of(runs, best, config.name)
    if len(data) + sum(file.stat().st_size for file in files) > config.most_mib * 2**20:
        print(
            f"carry: going on takes {len(data) / 2**20:.0f} MiB beside the weights, all in all "
            f"more than most_mib={config.most_mib:g}: left here"
        )
        return files
    for number in range(-(-len(data) // part)):
        files.append(to / _PART.format(number))
        files[-1].write_bytes(data[number * part : (number + 1) * part])
    return files


def carry_in(config: InConfig) -> list[str]:
    """Put the runs where they were; return their names.

    Raises UserError where a part is missing or of another set.
    """
    parts = sorted(Path(config.folder).glob("state-*.part"))
    data = b"".join(part.read_bytes() for part in parts)
    root = locate(config.root)
    names: dict[str, None] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is None or ".." in Path(member.name).parts:
                    continue
                run, _, path = member.name.partition("/")
                names[run] = None
                root.child(RUNS, run, path).write_bytes(file.read())
    except tarfile.TarError as error:
        raise UserError(f"{config.folder} does not hold a complete run ({error})") from error
    for run in names:
        folder = root.child(RUNS, run)
        beside = folder.child(_BESIDE)
        if beside.exists():
            weights = Path(config.folder, beside.read_bytes().decode())
            if weights.is_file():
                folder.child(BEST).write_bytes(weights.read_bytes())
            beside.delete()
        carried = folder.child("carried.pt")
        if carried.exists():
            found = torch.load(io.BytesIO(carried.read_bytes()), weights_only=True)
            state = _widened(found["state"], torch.float32)
            step, group = int(found["step"]), newest_group(folder)
            save_checkpoint(folder, step, state, keep=None, group=group)
            carried.delete()
    return list(names)


def _runs(root: str, name: str) -> list[Location]:
    folder = locate(root).child(RUNS)
    names = [found for found in folder.list() if found == name or _is_stage(found, name)]
    return [folder.child(found) for found in sorted(names)]


def _is_stage(found: str, name: str) -> bool:
    return found.startswith(f"{name}-") and found.removeprefix(f"{name}-").isdigit()


def _halved(weights: bytes) -> bytes:
    """A weights file with its numbers in float16."""
    from safetensors.torch import load, save

    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in load(weights).items()
    }
    return bytes(save(tensors, metadata=header.get("__metadata__")))


def _state_of(runs: list[Location], best: Location, name: str) -> bytes:
    """What going on takes. best: the run whose best weights lie beside it already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for run in runs:
            path = run.local_path()
            if path is None:
                raise UserError(f"{run.url} is not on this machine")
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                inner = file.relative_to(path)
                if run == best and inner.name == BEST:
                    _add(archive, f"{run.name}/{_BESIDE}", f"{name}.safetensors".encode())
                elif inner.parts[0] not in _LEFT_OUT and not inner.name.startswith("."):
                    archive.add(file, f"{run.name}/{inner.as_posix()}")
            outcome = read_outcome(run)
            if outcome is not None and outcome.status == "done":
                continue
            steps = complete_steps(run)
            if steps:
                state = _widened(load_checkpoint(run, steps[0]), torch.bfloat16)
                held = io.BytesIO()
                torch.save({"step": steps[0], "state": state}, held)
                _add(archive, f"{run.name}/carried.pt", held.getvalue())
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _widened(state: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The state with the moments of the optimizer in a type."""
    optimizer = dict(state["optimizer"])
    optimizer["state"] = {
        number: {
            key: value.to(dtype) if key.startswith("exp_avg") else value
            for key, value in moments.items()
        }
        for number, moments in optimizer["state"].items()
    }
    return {**state, "optimizer": optimizer}


def main() -> int:
    """Run the command."""
    try:
        match sys.argv[1:2]:
            case ["out"]:
                for file in carry_out(read_keys(OutConfig, sys.argv[2:])):
                    print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")
            case ["in"]:
                names = carry_in(read_keys(InConfig, sys.argv[2:]))
                print(f"brought back: {', '.join(names)}")
            case _:
                raise UserError("carry takes out or in first")
    except UserError as error:
        print(f"k3dn: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
