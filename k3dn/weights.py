"""Weights on disk: one safetensors file that says which network it is for."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from k3dn.factory import build_model
from k3dn.network.config import variant
from k3dn.network.model import as_k3dn

FORMAT = "k3dn-weights-1"


def save_weights(
    path: str | Path,
    model: nn.Module,
    *,
    name: str,
    options: Mapping[str, object] | None = None,
) -> None:
    """Write a model's weights with what ``build_model`` needs to build it again.

    name, options: what ``build_model`` made it of. Of K3DN all options are written, so that a
    file means the same network when a default changes. Raises ValueError where the model is
    another one than they say.
    """
    from safetensors.torch import save_file

    network = as_k3dn(model)
    if network is not None:
        if variant(name, options or {}) != network.config:
            raise ValueError(f"the model is not what {name!r} with options {options or {}} builds")
        model, options = network, asdict(network.config)
    # Clones: tensors that share memory, as tied weights do, are refused by the format.
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in model.state_dict().items()
    }
    metadata = {"format": FORMAT, "model": name, "options": json.dumps(dict(options or {}))}
    save_file(tensors, str(path), metadata=metadata)


def load_weights(path: str | Path) -> nn.Module:
    """Build the network that a weights file is for and load it, in evaluation mode.

    Raises ValueError when the file is no weights file of ours or does not fit its network. A file
    for another network than K3DN names a factory, which is imported and called as by
    ``build_model``: load such files only from whom you would take code.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as a safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no weights file of this project: its format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r}"
        )
    try:
        name, options = metadata["model"], json.loads(metadata["options"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not say which network it is for: {error!r}") from error
    if not isinstance(options, dict):
        raise ValueError(f"{path}: options must be a JSON object, got {metadata['options']}")
    try:
        model = build_model(name, options)
    except ValueError as error:
        raise ValueError(f"{path} is for a network that cannot be built here: {error}") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path} does not fit {name!r} with {options}: {detail}") from error
    return model.eval()
