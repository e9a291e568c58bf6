"""What is known of a model: from the box, its training run, its datasets and evaluations."""

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from k3dn.box import Data, Entry, Facts
from k3dn.box import entry as box_entry
from k3dn.box.entry import Value, parse_entry, parse_facts
from k3dn.box.shelf import describe, file_sha256
from k3dn.factory import names_factory
from k3dn.weights import stored_network
from pipelines.cards.figures import figures_of_scores
from pipelines.config import StepConfig, value_text
from pipelines.errors import UserError
from pipelines.mlflow_store import tagged_folder
from pipelines.registry.loading import (
    BOX,
    SettledModel,
    local_weights,
    model_of,
    open_weights,
    settle,
)
from pipelines.registry.registry import ModelVersion, client_of, open_store
from pipelines.scores import score_of
from pipelines.storage import Location, locate

_SHOWN_ELSEWHERE = ("datasets", "model", "network", "seed", "steps")
"""Keys of training that a card has in other places."""
_MADE_OF = ("source", "textures", "kernels", "renderer", "size", "max_coc_px", "preset", "layout")
_NOTICES = ("NOTICE*", "LICENSE*", "LICENCE*")
_MAX_NOTICE_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A model and what is known of it."""

    reference: str
    entry: Entry
    """Its weights, with the facts."""
    options: dict[str, Any]
    """Of the network."""
    bytes: int
    version: ModelVersion | None
    """None for a file and for weights in the box."""


def known_of(reference: str, config: StepConfig) -> Known:
    """Gather what is known of a model.

    reference: as ``settle`` takes it. The root of the configuration is where evaluations are
    looked for. No code of a model runs: of a network that is not K3DN the numbers in its file are
    counted. Raises UserError where there is no such model or its file is damaged.
    """
    tracking_uri = open_store(config) if reference.startswith("models:/") else ""
    settled = _settled(reference, tracking_uri)
    facts = _facts_of(reference, settled, tracking_uri, locate(config.root))
    with open_weights(settled.reference, tracking_uri) as path:
        try:
            entry = _entry_of(path, facts)
            options = stored_network(path).options
        except ValueError as error:
            raise UserError(str(error).replace(str(path), reference)) from error
        size = path.stat().st_size
    measured = _evaluations(locate(config.root), settled)
    if measured:
        facts = replace(facts, figures=(*facts.figures, *measured))
    return Known(
        reference=settled.reference,
        entry=replace(entry, facts=facts),
        options=options,
        bytes=size,
        version=settled.version,
    )


def read_facts(location: Location) -> dict[str, Any]:
    """A YAML or JSON file of facts as plain values. Raises UserError where it is neither."""
    import yaml

    try:
        values = yaml.safe_load(location.read_bytes())
        parse_facts(values)
    except FileNotFoundError as error:
        raise UserError(f"there are no facts at {location}; check the path") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{location}: {' '.join(str(error).split())}") from error
    return dict(values)


def with_more(facts: Facts, more: dict[str, Any]) -> Facts:
    """Facts with others put over them; sets of data of one name are put together."""
    told = parse_facts(more)
    given = {key: getattr(told, key) for key in more}
    if "data" in more:
        known = {data.name: data for data in facts.data}
        for values in more["data"]:
            name = values["name"]
            known[name] = replace(known.get(name, Data(name=name)), **values)
        given["data"] = tuple(known.values())
    return replace(facts, **given)


def _settled(reference: str, tracking_uri: str) -> SettledModel:
    """As ``settle``, but a file for a network that is not K3DN may name it: nothing of it runs."""
    if reference.startswith(("models:/", BOX)):
        return settle(reference, tracking_uri)
    with local_weights(reference) as path:
        model = model_of(path, reference)
    if not names_factory(model):
        return settle(reference, tracking_uri)
    try:
        return settle(reference, tracking_uri, model)
    except UserError:  # its code is not here: which evaluations are its own, nobody knows
        location = locate(reference)
        return SettledModel(location.url, location.name, "", None, model)


def _entry_of(path: Path, facts: Facts) -> Entry:
    stored = stored_network(path)
    name, file_name = "weights", "weights.safetensors"
    if not names_factory(stored.model):
        return describe(path, name=name, file=file_name, facts=facts)
    return Entry(
        name=name,
        file=file_name,
        sha256=file_sha256(path),
        model=stored.model,
        parameters=stored.numbers,
        stored=" and ".join(stored.types),
        facts=facts,
    )


def _facts_of(reference: str, settled: SettledModel, tracking_uri: str, root: Location) -> Facts:
    if reference.startswith(BOX):
        return box_entry(reference).facts
    if settled.version is None:
        weights = Location(settled.reference)
        beside = _entry_beside(weights)
        folder = weights.url.rpartition("/")[0]
        return beside.facts if beside else facts_of_run(Location(folder))
    source = settled.version.tags.get("k3dn.source", "")
    if source.startswith(BOX):
        try:
            entry = box_entry(source)
        except ValueError:  # of another user, or removed since
            return Facts()
        same = entry.sha256 == settled.version.tags.get("k3dn.weights_sha256")
        return entry.facts if same else Facts()
    if settled.version.run_id is None:
        return Facts()
    run = client_of(tracking_uri).get_run(settled.version.run_id)
    place = run.data.tags.get("k3dn.folder")
    return facts_of_run(tagged_folder(root, place)) if place else Facts()


def _entry_beside(weights: Location) -> Entry | None:
    """The entry that lies beside a weights file and is for it."""
    try:
        text = Location(weights.url.removesuffix(".safetensors") + ".json").read_bytes().decode()
        entry = parse_entry(text)
    except (OSError, ValueError):
        return None
    return entry if entry.sha256 == weights.sha256() else None


def facts_of_run(folder: Location) -> Facts:
    """What a training run recorded in its folder; nothing where there is no run."""
    from pipelines.training.config import NOT_IN_DIGEST
    from pipelines.training.plan import PLAN, root_of_run
    from pipelines.training.record import read_rows

    try:
        plan: dict[str, Any] = json.loads(folder.child(PLAN).read_bytes())
        rows = read_rows(folder)
    except (OSError, ValueError):
        return Facts()
    config = {key: value for key, value in plan["config"].items() if value not in (None, [])}
    left_out = (*NOT_IN_DIGEST, *_SHOWN_ELSEWHERE)
    seconds, done = 0.0, 0
    for row in rows:
        if "s_per_step" in row:
            seconds += row["s_per_step"] * max(row["step"] - done, 0)
            done = max(row["step"], done)
    devices = dict.fromkeys(row["device"] for row in rows if "device" in row)
    root = root_of_run(folder, plan)
    repeats = {f"{s['name']}@{s['version']}": s["repeat"] for s in plan["datasets"]}
    return Facts(
        steps=done or None,
        seeds=(config["seed"],),
        hours=round(seconds / 3600, 3) if seconds else None,
        device=", ".join(devices) or None,
        configuration={
            **{
                k: _plain(v) for k, v in config.items() if k not in left_out and v not in (None, [])
            },
            **{f"repeat of {name}": times for name, times in repeats.items() if times != 1},
        },
        data=tuple(_data(root, source) for source in plan["datasets"]),
    )


def _data(root: Location, source: dict[str, Any]) -> Data:
    from pipelines.dataset.version import read_manifest

    name = f"{source['name']}@{source['version']}"
    try:
        manifest = read_manifest(root.child(source["name"], source["version"]))
    except UserError:
        manifest = None
    config: dict[str, Any] = (manifest or {}).get("config", {})
    made = [f"{key} {_plain(config[key])}" for key in _MADE_OF if config.get(key)]
    folders = [config[key] for key in ("source", "textures") if isinstance(config.get(key), str)]
    notices = [text for folder in dict.fromkeys(folders) for text in _notices(folder)]
    return Data(
        name=name,
        pairs=source["rows"] or None,  # none are counted that are made while training
        made=", ".join(made) or None,
        notice="\n\n".join(notices) or None,
    )


def _notices(folder: str) -> list[str]:
    """The texts of notices in a local folder."""
    path = Location(folder).local_path()
    if path is None or not path.is_absolute():
        return []  # a word such as procedural, or a bucket
    files = sorted(found for pattern in _NOTICES for found in path.glob(pattern))
    return [
        f"{path.name}/{file.name}\n\n{file.read_text(encoding='utf-8', errors='replace').strip()}"
        for file in files
        if file.is_file() and file.stat().st_size <= _MAX_NOTICE_BYTES
    ]


def _plain(value: Any) -> Value:
    """A value as a card has it; of a local path the name alone, which means something elsewhere."""
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value_text(value)


def _evaluations(root: Location, settled: SettledModel) -> tuple[Any, ...]:
    """The figures of evaluations of this model that the root keeps."""
    folder = root.child("_evaluations")
    found = []
    for name in folder.list():
        try:
            result = json.loads(folder.child(name, "result.json").read_bytes())
            if result["identity"] != settled.identity:
                continue
            scores = [score_of(score) for score in result["scores"]]
            split = result["config"]["split"]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # not whole, or of another version of the program
        found += [
            dataclasses.replace(figure, data=f"{figure.data}, {split}")
            for figure in figures_of_scores(scores)
        ]
    return tuple(dict.fromkeys(found))
