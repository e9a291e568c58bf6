"""What comes after a search: the command that trains the best in full."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.config import as_dict, value_text
from pipelines.next_steps import command
from pipelines.training.config import TrainConfig

_SET_BY_SEARCH = ("name", "steps", "val_every", "register")


def full_training(train: TrainConfig, trial: TrainConfig) -> TrainConfig:
    """Return the training of what ``trial`` tried, as long as ``train`` says, and registered."""
    kept = {key: getattr(train, key) for key in _SET_BY_SEARCH}
    return dataclasses.replace(trial, **kept)


def train_command(train: TrainConfig, trial: TrainConfig) -> str:
    """Return the command of ``full_training``."""
    full = full_training(train, trial)
    keys = {"root": full.root, **dict(_changed(as_dict(full), as_dict(TrainConfig())))}
    return command("train", **keys)


def _changed(
    values: Mapping[str, Any], defaults: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the keys that have another value than their default, dotted, as they are typed."""
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, Mapping):
            yield from _changed(value, default or {}, f"{above}{key}.")
        elif key not in defaults or value != default:
            yield above + key, value_text(value)
