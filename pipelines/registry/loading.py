"""From a model reference to something that one can use: a network, or a settled identity."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.environment import prepare_environment
from pipelines.errors import UserError
from pipelines.registry.packaging import WEIGHTS_FILE
from pipelines.registry.registry import ModelVersion, mlflow_store, resolve
from pipelines.registry.source_code import stage_code
from pipelines.storage import Location, locate

if TYPE_CHECKING:
    from torch import nn

BOX = "box:"
"""Before the name of weights in the box (``k3dn.box``, which would import torch)."""
_PARTS = ("weights", "code")
_MAX_HEADER_BYTES = 2 * 2**20


@dataclass(frozen=True, slots=True)
class SettledModel:
    """A reference settled once, so that an alias moved meanwhile changes nothing."""

    reference: str
    """``models:/NAME/VERSION``, ``box:NAME``, the URL of a weights file, or a factory."""
    label: str
    """How tables call it."""
    identity: str
    """Digest of weights and code: the same identity gives the same pictures."""
    version: ModelVersion | None
    """The registered version, None for a file."""
    factory: str | None = None
    """What builds the network of a file that is not for K3DN, as the user named it."""


def settle(reference: str, tracking_uri: str, factory: str | None = None) -> SettledModel:
    """Settle which model a reference means now.

    factory: the ``package.module:factory`` whose code the user lets run for a weights file.
    Raises UserError where there is no such version, alias or file, and where a file is for another
    factory, or for one that the user did not name.
    """
    if reference.startswith("models:/"):
        if factory is not None:
            raise UserError(
                f"{reference} brings its own code; factory={factory} is for weights files alone"
            )
        version = resolve(reference, tracking_uri)
        digests = [version.tags.get(f"k3dn.{part}_sha256", version.uri) for part in _PARTS]
        label = f"{version.name} v{version.version}"
        return SettledModel(version.uri, label, _join(digests), version)
    if _is_factory(reference):
        with tempfile.TemporaryDirectory(prefix="k3dn-code-") as folder:
            code = stage_code(reference, Path(folder)).sha256
        return SettledModel(reference, reference, _join([reference, code]), None, reference)
    location = _weights_location(reference)
    with (
        local_weights(reference) as path,
        tempfile.TemporaryDirectory(prefix="k3dn-code-") as folder,
    ):
        model = model_of(path, reference)
        if ":" in model and factory is None:
            raise UserError(
                f"{reference} is for the network of {model[:80]!r}, whose code does not run "
                "because a file names it; if you trust that code, name it: "
                "factory=package.module:factory"
            )
        if factory not in (None, model):
            raise UserError(f"{reference} is for {model[:80]!r}, not for factory={factory}")
        code = stage_code(factory or "", Path(folder)).sha256
        digests = [Location(str(path)).sha256(), code]
    if reference.startswith(BOX):
        return SettledModel(reference, reference, _join(digests), None, factory)
    return SettledModel(location.url, _label_of(location), _join(digests), None, factory)


def _label_of(location: Location) -> str:
    """A file's name; of a run's weights, which all have one, the name of the run."""
    run = location.url.rpartition("/")[0].rpartition("/")[2]
    return run if location.name == WEIGHTS_FILE and run else location.name


def load_network(reference: str, tracking_uri: str, factory: str | None = None) -> "nn.Module":
    """Return a model's network in evaluation mode, built by the code of this process.

    reference: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``box:NAME`` or a .safetensors
    file; factory: as ``k3dn.load_weights`` takes it. For weights that name no code, and for looking
    into a network; predictions with a version's own code go through ``ModelProcess``. Raises
    UserError where there is no such model or the present code does not fit its weights.
    """
    with open_weights(reference, tracking_uri) as path:
        return _load(path, reference, factory)


@contextmanager
def open_weights(reference: str, tracking_uri: str) -> Iterator[Path]:
    """Give the weights of a registered version, in the box or of a file as a local path for the
    block.

    Raises UserError where there is no such model.
    """
    if not reference.startswith("models:/"):
        with local_weights(reference) as path:
            yield path
        return
    version = resolve(reference, tracking_uri)
    prepare_environment()
    import mlflow

    with tempfile.TemporaryDirectory(prefix="k3dn-load-") as folder:
        with mlflow_store(tracking_uri):
            local = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{version.uri}/artifacts/{WEIGHTS_FILE}", dst_path=folder
            )
        yield Path(local)


@contextmanager
def local_weights(reference: str) -> Iterator[Path]:
    """Give a weights file, in the box or of any storage, as a local path for the block.

    Raises UserError where there is none.
    """
    with local_copy(_weights_location(reference)) as path:
        yield path


@contextmanager
def local_copy(location: Location) -> Iterator[Path]:
    """Give a file of any storage as a local path for the length of the block."""
    path = location.local_path()
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="k3dn-weights-") as folder:
        path = Path(folder, WEIGHTS_FILE)
        path.write_bytes(location.read_bytes())
        yield path


def _is_factory(reference: str) -> bool:
    """Tell a ``package.module:factory`` from ``box:NAME``, a path and a URL."""
    module, colon, name = reference.partition(":")
    if not colon or reference.startswith(BOX) or not name.isidentifier():
        return False
    return all(part.isidentifier() for part in module.split("."))


def _weights_location(reference: str) -> Location:
    """Where the weights lie that ``box:NAME``, a path or a URL means; UserError where nowhere."""
    if reference.startswith(BOX):
        from k3dn import box

        try:
            return Location(str(box.path_of(reference)))
        except ValueError as error:
            raise UserError(str(error)) from error
    location = locate(reference)
    path = location.local_path()
    if not (path.is_file() if path is not None else location.exists()):
        raise UserError(
            f"no model at {reference!r}; give models:/NAME@ALIAS, models:/NAME/VERSION, box:NAME "
            "or the path of a .safetensors file"
        )
    return location


def _join(digests: list[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def model_of(path: Path, reference: str) -> str:
    """Return which network a weights file says that it is for.

    A look before torch is imported; whoever loads the file checks it. Raises UserError where it
    says nothing of the kind.
    """
    try:
        with path.open("rb") as file:
            length = min(int.from_bytes(file.read(8), "little"), _MAX_HEADER_BYTES)
            model = json.loads(file.read(length))["__metadata__"]["model"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        model = None
    if not isinstance(model, str):
        raise UserError(
            f"{reference}: not a weights file of this project; give one that 'k3dn train' or "
            "k3dn.save_weights wrote"
        )
    return model


def _load(path: Path, reference: str, factory: str | None) -> "nn.Module":
    import k3dn

    try:
        return k3dn.load_weights(path, factory)
    except ValueError as error:
        raise UserError(f"{reference}: {error}") from error
