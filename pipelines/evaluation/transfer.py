"""A candidate from another registry: where both lie, and its copy with what it was trained on."""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pipelines.config import StepConfig, without_password
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.evaluation.config import PromoteConfig
from pipelines.evaluation.leakage import TRAINED_ON, trained_on
from pipelines.mlflow_store import (
    ensure_store,
    resolve_tracking_uri,
    shared_url,
    store_below,
)
from pipelines.progress import say
from pipelines.registry.copy_version import copy_version
from pipelines.registry.loading import settle
from pipelines.registry.registry import (
    CHALLENGER,
    CHAMPION,
    ModelVersion,
    open_store,
    reference_of,
    resolve,
)
from pipelines.storage import Location, locate


@dataclass(frozen=True, slots=True)
class Transfer:
    """A version that is to be copied, and where it is decided about."""

    version: ModelVersion
    source_uri: str
    """The store that it comes from."""
    source_root: Location
    """The root of that store, or that of the step where a store alone is named."""
    target: PromoteConfig
    """The step as it is done at the target."""
    target_uri: str


def foreseen(config: PromoteConfig) -> Transfer:
    """Find the version and both stores; changes nothing.

    Raises UserError where there is none, and where both stores are one.
    """
    assert config.from_ is not None
    source = _at(config.from_, config)
    target = _at(config.to, config) if config.to is not None else config
    source_uri, target_uri = open_store(source), resolve_tracking_uri(target)
    if source_uri == target_uri:
        shown = without_password(source_uri)
        raise UserError(f"from and to are one store, {shown}; leave both out to promote in it")
    version = resolve(reference_of(config.name, config.candidate or CHAMPION), source_uri)
    target = dataclasses.replace(
        config,
        root=target.root,
        tracking_uri=target.tracking_uri,
        from_=None,
        to=None,
        candidate=CHALLENGER,
    )
    return Transfer(version, source_uri, locate(source.root), target, target_uri)


def carry_over(transfer: Transfer) -> PromoteConfig:
    """Copy the version and return the step that decides about the copy, at the target."""
    version = transfer.version
    ensure_store(transfer.target_uri)
    model = settle(version.uri, transfer.source_uri)
    training = trained_on(model, transfer.source_uri, transfer.source_root)
    sets = [_described(place, reference) for place, reference in training.sets]
    seen = {"sets": sets, "unknown": training.unknown}
    number = copy_version(
        version,
        transfer.source_uri,
        transfer.target_uri,
        tags={TRAINED_ON: json.dumps(seen)},
    )
    where = without_password(transfer.target_uri)
    say(f"v{version.version} of {version.name} is v{number} in {where}")
    return dataclasses.replace(transfer.target, candidate=number)


def _at(store: str, config: StepConfig) -> StepConfig:
    """The place of a store: a root with an MLflow store below it, or such a store alone."""
    place = config.place()
    if store.startswith(("http://", "https://", "sqlite:", "postgresql", "mysql", "mssql")):
        return StepConfig(**{**place, "tracking_uri": store})
    root = locate(store)
    below = store_below(root)
    if below is None:
        raise UserError(f"{store} has no MLflow store below it; name the store itself, http://...")
    return StepConfig(**{**place, "root": root.url, "tracking_uri": below})


def _described(place: str, reference: str) -> Mapping[str, str]:
    """A dataset that was trained on, in words that mean the same in another place."""
    found = {"dataset": reference, "root": shared_url(Location(place))}
    with suppress(UserError):  # it is not there any more
        found["digest"] = open_version(Location(place), reference).digest
    return found
