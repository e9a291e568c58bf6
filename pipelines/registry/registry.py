"""Registered models in MLflow: register a version, find one, list them.

A version carries its weights (safetensors), the code of its network and a signature for any
picture size. Names of our tags start with ``k3dn.``.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import StepConfig
from pipelines.environment import prepare_environment
from pipelines.errors import UserError
from pipelines.mlflow_store import (
    database_of,
    ensure_experiment,
    ensure_store,
    is_missing,
    resolve_tracking_uri,
)
from pipelines.moved_store import readable_copy
from pipelines.registry.packaging import log_servable
from pipelines.registry.source_code import stage_code

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"

_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version."""

    name: str
    version: str
    run_id: str | None
    """The training run that it comes from."""
    created: str
    """UTC, ISO 8601."""
    aliases: tuple[str, ...]
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        """The reference that always means this version."""
        return f"models:/{self.name}/{self.version}"


def open_store(config: StepConfig) -> str:
    """Return the tracking URI of a store that a step looks into.

    Raises UserError where it does not answer, and where there is none: none is made by looking.
    """
    tracking_uri = resolve_tracking_uri(config)
    if is_missing(tracking_uri):
        raise UserError(
            f"no registered model, there is no MLflow store at {tracking_uri}; 'k3dn train' "
            "registers one, and model=box:nano needs none"
        )
    ensure_store(tracking_uri)
    path = database_of(tracking_uri)
    copy = readable_copy(path) if path else None
    return f"sqlite:///{copy}" if copy else tracking_uri


def client_of(tracking_uri: str) -> "MlflowClient":
    """Return a client of one MLflow store, without touching MLflow's global settings."""
    prepare_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def set_despite_race(write: Callable[..., object], *arguments: str) -> None:
    """Set a tag or an alias by a method of an MLflow client, though others may set it too.

    MLflow's store looks whether there is one and then adds it: of several processes that find none
    at the same moment all but one are refused. When they try again it is there, and is changed.
    """
    from mlflow.exceptions import MlflowException

    try:
        write(*arguments)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write(*arguments)


@contextmanager
def mlflow_store(tracking_uri: str) -> Iterator[None]:
    """Make one store MLflow's global one for the length of the block.

    For the few calls of MLflow that look there whatever client they come from.
    """
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[names[0]])  # type: ignore[arg-type]  # None unsets it
        mlflow.set_registry_uri(before[names[1]])  # type: ignore[arg-type]
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def register(
    weights: Path | str,
    *,
    name: str,
    run_id: str | None,
    tracking_uri: str,
    model: str,
    options: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Register a weights file as a new version, which becomes the challenger.

    weights: a file written by ``k3dn.save_weights``; model, options: what it was built from.
    Safe to repeat: the same weights and code of the same run give the version that exists.
    Returns the version number. Raises UserError where the file is missing.
    """
    weights = Path(weights)
    if not weights.is_file():
        raise UserError(f"no weights at {weights}; train first, or name another file")
    client = client_of(tracking_uri)
    with tempfile.TemporaryDirectory(prefix="k3dn-register-") as folder:
        code_folder = Path(folder, "code")
        code_folder.mkdir()
        code = stage_code(model, code_folder)
        all_tags = {
            **(tags or {}),
            "k3dn.model": model,
            "k3dn.options": json.dumps(dict(options or {}), sort_keys=True),
            "k3dn.weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "k3dn.code_sha256": code.sha256,
        }
        existing = _same_version(client, name, run_id, all_tags)
        if existing is None:
            experiment = experiment_of(client, run_id)
            model_id = log_servable(client, weights, model, code, run_id, experiment, Path(folder))
            existing = create_version(client, name, model_id, run_id, all_tags)
    make_challenger_if_newest(client, name, existing)
    return existing


def create_version(
    client: "MlflowClient", name: str, model_id: str, run_id: str | None, tags: Mapping[str, str]
) -> str:
    """Make a logged model a version of a registered model, which is made where it is not there."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name, description="Dual-pixel defocus deblurring: (left, right) -> sharp."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with mlflow_store(client.tracking_uri):
        created = client.create_model_version(
            name, f"models:/{model_id}", run_id=run_id, tags=dict(tags), model_id=model_id
        )
    return str(created.version)


def make_challenger_if_newest(client: "MlflowClient", name: str, version: str) -> None:
    """Point the alias to a version; an old one that is repeated pushes no newer one aside."""
    if _newest(client, name) == version:
        _make_challenger(client, name, version)


def has_models(tracking_uri: str) -> bool:
    """Tell whether a store has any registered model."""
    return bool(client_of(tracking_uri).search_registered_models(max_results=1))


def versions(name: str, tracking_uri: str) -> list[ModelVersion]:
    """Return all versions of a registered model, newest first; UserError where there is none."""
    client = client_of(tracking_uri)
    aliases = _aliases(client, name)
    found = client.search_model_versions(f"name = '{name}'")
    return sorted(
        (_described(version, aliases) for version in found), key=lambda v: -int(v.version)
    )


def resolve(reference: str, tracking_uri: str) -> ModelVersion:
    """Return the version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` means now.

    Raises UserError that names what there is instead.
    """
    from mlflow.exceptions import MlflowException

    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UserError(
            f"{reference!r} is not a model reference; write models:/NAME@ALIAS, "
            "models:/NAME/VERSION, box:NAME or the path of a .safetensors file"
        )
    client = client_of(tracking_uri)
    name, version, alias = match["name"], match["version"], match["alias"]
    aliases = _aliases(client, name)
    if alias is not None:
        if alias not in aliases:
            known = ", ".join(sorted(aliases)) or "none yet"
            hint = "'k3dn promote' makes one" if alias == CHAMPION else "'k3dn models' lists them"
            raise UserError(f"model {name!r} has no alias {alias!r} (it has: {known}); {hint}")
        version = aliases[alias]
    try:
        return _described(client.get_model_version(name, version), aliases)
    except MlflowException as error:
        raise UserError(
            f"model {name!r} has no version {version}; 'k3dn models' lists what there is"
        ) from error


def reference_of(name: str, version: str) -> str:
    """Return the reference of a version by its number or an alias."""
    return f"models:/{name}{'/' if version.isdigit() else '@'}{version}"


def logged_model_id(name: str, version: str, tracking_uri: str) -> str | None:
    """Return the id of the logged model that a version is; None where it is not one.

    A store of MLflow 3 keeps it in the version's source alone.
    """
    found = client_of(tracking_uri).get_model_version(name, version)
    source = str(found.source)
    if found.model_id:
        return str(found.model_id)
    return source.removeprefix("models:/") if source.startswith("models:/m-") else None


def is_there(name: str, version: str, tracking_uri: str) -> bool:
    """Tell whether a version is in the registry; one that was deleted is not."""
    from mlflow.exceptions import MlflowException

    try:
        client_of(tracking_uri).get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def alias_target(name: str, alias: str, tracking_uri: str) -> str | None:
    """Return the version number that an alias points to, or None."""
    return _aliases(client_of(tracking_uri), name).get(alias)


def experiment_of(client: "MlflowClient", run_id: str | None) -> str:
    """Return the id of a run's experiment; without a run that of our project."""
    if run_id:
        return str(client.get_run(run_id).info.experiment_id)
    return ensure_experiment(client.tracking_uri)


def _aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return {key: str(v) for key, v in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(model.name for model in client.search_registered_models()) or "none yet"
        raise UserError(
            f"no registered model {name!r} (there is: {known}); 'k3dn train' registers one"
        ) from error


def _described(version: Any, aliases: Mapping[str, str]) -> ModelVersion:
    number = str(version.version)
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return ModelVersion(
        name=version.name,
        version=number,
        run_id=version.run_id or None,
        created=created.isoformat(timespec="seconds"),
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == number)),
        tags=dict(version.tags),
    )


def _same_version(
    client: "MlflowClient", name: str, run_id: str | None, tags: Mapping[str, str]
) -> str | None:
    digests = ("k3dn.weights_sha256", "k3dn.code_sha256")
    for version in client.search_model_versions(f"name = '{name}'"):
        if (version.run_id or None) == run_id and all(
            version.tags.get(key) == tags[key] for key in digests
        ):
            return str(version.version)
    return None


def _newest(client: "MlflowClient", name: str) -> str:
    return str(max(int(v.version) for v in client.search_model_versions(f"name = '{name}'")))


def _make_challenger(client: "MlflowClient", name: str, version: str) -> None:
    """Point the alias to a version, and on to newer ones that were registered meanwhile."""
    while True:
        set_despite_race(client.set_registered_model_alias, name, CHALLENGER, version)
        newest = _newest(client, name)
        if newest == version:
            return
        version = newest
