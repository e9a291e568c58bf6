"""What a model has seen of the pairs that it is measured on.

A pair is known by its scene, within one dataset, by the files that it was made from, anywhere, and
by its sharp picture, of which a copy may have been trained on (``content.copies``). What a model
was trained on is in the plan of its run, which lies with it in storage.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipelines.content.copies import Grey, copies
from pipelines.dataset.version import DatasetVersion, open_version
from pipelines.errors import UserError
from pipelines.evaluation.config import INPUT_MODEL, MeasureConfig
from pipelines.evaluation.traces import MOST, traces_of
from pipelines.mlflow_store import tagged_folder
from pipelines.registry.loading import BOX, SettledModel, local_weights, settle
from pipelines.registry.registry import client_of, versions
from pipelines.storage import Location, locate
from pipelines.training.plan import PLAN, START, root_of_run

_NOT_SEEN_BY = ("kernels", "texture")
"""Roles of files that show nothing of a scene: a texture lies on other things in each of them."""
_MOST_STARTS = 8
"""Trainings that began with each other's weights."""


TRAINED_ON = "k3dn.trained_on"
"""Tag of a version that was copied from another registry: what its training had seen there."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a model was trained on, as far as it is known."""

    sets: tuple[tuple[str, str], ...]
    """Root and reference, name@version, of each dataset; with ``start_from``, of those before."""
    unknown: str
    """What is not known, one clause; empty where all is."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """What was found."""

    seen: Mapping[str, str]
    """By dataset, name@version, what the model has seen of it, in words; only where it has."""
    unknown: str


def find_leakage(
    config: MeasureConfig, model: SettledModel, tracking_uri: str, *, keep: bool = True
) -> Leakage:
    """Compare the pairs to measure on with those that a model was trained on.

    Looks at the pictures of each split once; keep: what is needed of them again is kept below root.
    Raises UserError for a dataset that is not there.
    """
    root = locate(config.root)
    training = trained_on(model, tracking_uri, root)
    names: dict[str, set[str]] = {}
    files: set[str] = set()
    shown: list[Grey | None] = []
    unknown = training.unknown
    for place, reference in dict.fromkeys(training.sets):
        try:
            version = open_version(Location(place), reference)
        except UserError:
            unknown = unknown or f"{reference}, on which it was trained, is not there any more"
            continue
        names.setdefault(version.name, set()).update(version.column("train", "scene_id"))
        files |= set().union(*_files_of(version, "train"), set())
        shown += traces_of(version, "train", root, keep=keep)
        if version.rows("train") > MOST:
            unknown = unknown or f"copies were looked for in {MOST} pairs of {reference} alone"
    seen = {}
    for reference in config.datasets:
        version = open_version(root, reference)
        count = version.rows(config.split)
        count = count if config.max_pairs is None else min(count, config.max_pairs)
        scenes = version.column(config.split, "scene_id")[:count]
        known = names.get(version.name, set())
        same = [scene in known for scene in scenes]
        if files:
            same = [
                here or bool(sources & files)
                for here, sources in zip(same, _files_of(version, config.split), strict=False)
            ]
        if found := _in_words(same, _copied(version, config.split, same, shown, root, keep)):
            seen[version.reference] = found
    return Leakage(seen, unknown)


def _copied(
    version: DatasetVersion,
    split: str,
    same: Sequence[bool],
    shown: Sequence[Grey | None],
    root: Location,
    keep: bool,
) -> int:
    """How many pairs beside those that are known already show a copy of what was trained on."""
    if not shown or all(same):
        return 0
    here = traces_of(version, split, root, keep=keep, most=len(same))
    return len(copies([None if s else g for s, g in zip(same, here, strict=True)], shown))


def _in_words(same: Sequence[bool], copied: int) -> str:
    """What was seen of so many pairs; '' where it is none."""
    parts = [f"the scenes of {sum(same)}"] if any(same) else []
    parts += [f"copies of {copied}"] if copied else []
    return f"{' and '.join(parts)} of its {len(same)} pairs" if parts else ""


def trained_on(model: SettledModel, tracking_uri: str, root: Location) -> Training:
    """Return what a model was trained on, and what is not known of that."""
    return _trained_on(model, tracking_uri, root, _MOST_STARTS)


def _trained_on(model: SettledModel, tracking_uri: str, root: Location, depth: int) -> Training:
    if model.reference == INPUT_MODEL:
        return Training((), "")
    if model.reference.startswith(BOX):
        return Training((), f"the scenes that {model.reference} was trained on are not recorded")
    folder = _run_folder(model, tracking_uri, root)
    recorded = _plan_in(folder) if folder else None
    if folder is None or recorded is None:
        of_version = _of_version(model, root)
        return of_version or Training((), f"what {model.label} was trained on is not recorded")
    place = root_of_run(folder, recorded).url
    sets = tuple((place, f"{d['name']}@{d['version']}") for d in recorded["datasets"])
    start = recorded["config"].get("start_from")
    if not start:
        return Training(sets, "")
    named = start if start.startswith(("models:/", BOX)) else Location(start).name
    earlier = Training((), f"what {named}, with which its training began, has seen is not known")
    if depth > 0:
        with suppress(UserError):
            begun = _begun_with(folder, start, tracking_uri)
            earlier = _trained_on(begun, tracking_uri, root, depth - 1)
    return Training((*sets, *earlier.sets), earlier.unknown)


def _begun_with(folder: Location, start: str, tracking_uri: str) -> SettledModel:
    """The model that a run in a folder began with, by the weights that it took then: an alias may
    mean another version by now, and a file may have been written anew.

    Raises UserError where it is not there any more.
    """
    model = settle(start, tracking_uri)
    try:
        taken = folder.child(START).sha256()
    except FileNotFoundError:  # of a run from before they were kept
        return model
    if model.version is None:
        with local_weights(start) as path:
            if Location(str(path)).sha256() == taken:
                return model
    else:
        for version in (model.version, *versions(model.version.name, tracking_uri)):
            if version.tags.get("k3dn.weights_sha256") == taken:
                return settle(version.uri, tracking_uri)
    raise UserError(f"{start} has other weights than its training began with")


def _run_folder(model: SettledModel, tracking_uri: str, root: Location) -> Location | None:
    """Where the run that made a model lies, as far as that is recorded."""
    if model.version is None:
        folder = model.reference.rpartition("/")[0]
        return Location(folder) if folder else None
    if model.version.run_id is None:
        return None
    run = client_of(tracking_uri).get_run(model.version.run_id)
    tag = run.data.tags.get("k3dn.folder")
    return tagged_folder(root, tag) if tag else None


def _plan_in(folder: Location) -> dict[str, Any] | None:
    """The plan of the run in a folder; None where it is not there."""
    try:
        plan: dict[str, Any] = json.loads(folder.child(PLAN).read_bytes())
    except (OSError, ValueError):
        return None
    return plan


def _of_version(model: SettledModel, root: Location) -> Training | None:
    """What the version itself says, where its run is not at hand: names of datasets."""
    if model.version is None:
        return None
    if told := model.version.tags.get(TRAINED_ON):
        return _as_told(json.loads(told), root)
    source = model.version.tags.get("k3dn.source", "")
    if source.startswith(BOX):
        return Training((), f"the scenes that {source} was trained on are not recorded")
    named = model.version.tags.get("k3dn.datasets")
    if not named:
        return None
    return Training(tuple((root.url, name) for name in named.split(",")), "")


def _as_told(told: Mapping[str, Any], root: Location) -> Training:
    """What a copied version says: each set where it lies for all, else the same one below root."""
    sets, unknown = [], told["unknown"]
    for seen in told["sets"]:
        place, reference = seen["root"] or root.url, seen["dataset"]
        try:
            here = open_version(Location(place), reference).digest
        except UserError:
            here = None  # whoever looks into it says so
        if here is not None and here != seen.get("digest", here):
            unknown = unknown or f"{reference}, on which it was trained, is another one here"
            continue
        sets.append((place, reference))
    return Training(tuple(sets), unknown)


def _files_of(version: DatasetVersion, split: str) -> Sequence[frozenset[str]]:
    """The files that each pair was made from: their checksums, or names where none is kept, as of
    pictures that come with a package."""
    return [
        frozenset(_identities(origin["sources"])) for origin in version.column(split, "provenance")
    ]


def _identities(sources: Iterable[Mapping[str, str]]) -> Iterable[str]:
    return (
        source["sha256"] or source["file"]
        for source in sources
        if source["role"] not in _NOT_SEEN_BY
    )
