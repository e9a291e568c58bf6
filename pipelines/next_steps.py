"""The commands that a step prints to be run next: typed as they stand, in any shell, they run."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.config import StepConfig

_DEFAULT_ROOT = "k3dn-data"


def command(step: str, *words: str, **keys: object) -> str:
    """Return ``k3dn STEP WORD... key=value...``, each quoted as a shell needs it.

    words: what stands without a key, such as a model. The place of the data is not among the keys:
    the command line adds it (``with_place``) where it is not the default one.
    """
    given = [f"{key}={value}" for key, value in keys.items()]
    return shlex.join(["k3dn", step, *words, *given])


def with_place(line: str, config: "StepConfig") -> str:
    """Return a command with the root and the MLflow store of the step that it follows.

    They stay out where they are the defaults, and where the line names its own or is none of k3dn.
    """
    words = shlex.split(line)
    if words[:1] != ["k3dn"]:
        return line
    named = {word.removeprefix("--").partition("=")[0].replace("-", "_") for word in words}
    place: dict[str, str] = {}
    if config.root != str(Path(_DEFAULT_ROOT).absolute()):
        place["root"] = config.root
    if config.tracking_uri is not None:
        place["tracking_uri"] = config.tracking_uri
    added = [f"{key}={value}" for key, value in place.items() if key not in named]
    return f"{line} {shlex.join(added)}" if added else line
