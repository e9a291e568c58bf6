"""The step ``regenerate``: the next version of a synthetic dataset, verified before it is latest.

Meant to run on a schedule: run twice for one stamp it makes one version, killed it goes on, and
``latest`` never points to anything that was not read back.
"""

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

from pipelines.config import SHARED_KEYS, as_dict, settings_of
from pipelines.dataset.record import SPLITS
from pipelines.dataset.verify import problems_of
from pipelines.dataset.version import (
    DatasetVersion,
    check_name,
    open_version,
    published_versions,
    read_latest,
    read_manifest,
    set_latest,
)
from pipelines.errors import UserError
from pipelines.lease import lease
from pipelines.making.logged import log_version
from pipelines.making.publish import VersionResult
from pipelines.storage import Location, locate
from pipelines.synthesis import synthesize
from pipelines.synthesis.config import PUBLISHED_PRESETS, RegenerateConfig, SynthConfig

RECIPE = "_recipe.json"


def run(config: RegenerateConfig) -> VersionResult:
    """Make the next version, verify it, move 'latest' and log it to MLflow. Raises UserError."""
    result = make(config)
    log_version(config, result)
    return result


def make(config: RegenerateConfig) -> VersionResult:
    """Make, verify and publish the next version, then move 'latest'. Raises UserError."""
    root = locate(config.root)
    check_name(config.dataset, what="dataset")
    with lease(root.child("_locks", f"regenerate-{config.dataset}"), work=f"{config.dataset}"):
        recipe = _recipe(root, config)
        version = config.stamp or _next_version(root, config.dataset)
        check_name(version, what="version (stamp)")
        # A published set is what it is: nothing of it is drawn.
        new_seed = config.new_seed and recipe.preset not in PUBLISHED_PRESETS
        settings = replace(
            recipe,
            root=config.root,
            ray_address=config.ray_address,
            dataset=config.dataset,
            version=version,
            seed=_seed(recipe.seed, version) if new_seed else recipe.seed,
            set_latest=False,
        )
        manifest = read_manifest(root.child(config.dataset, version))
        if manifest is not None:
            # Made for this stamp before: what the recipe says today does not matter to it.
            settings = _settings(manifest["config"], settings)
        result = synthesize.make(settings)
        opened = open_version(root, f"{config.dataset}@{version}")
        problems = verify(opened, ray_address=config.ray_address)
        if problems:
            raise UserError(
                f"{opened.reference} was made but does not verify: {problems[0]}"
                f"{f' and {len(problems) - 1} more' if problems[1:] else ''}; "
                "'latest' was left where it was"
            )
        if config.synth is not None:
            # Last: settings that make nothing must not take the place of those that did.
            _store_recipe(root, config.dataset, recipe)
        moved = _is_newest(root, opened)
        if moved:
            set_latest(root, config.dataset, version)
    return replace(result, latest=moved)


def verify(version: DatasetVersion, *, ray_address: str | None = None) -> list[str]:
    """Read a version back; return what is wrong, one line each.

    Every file against its checksum, the first and last pair of each split decoded, no pair twice
    and no scene in two splits.
    """
    problems = problems_of(version, ray_address=ray_address)
    if problems:
        return problems
    ids: set[str] = set()
    for split in SPLITS:
        found = version.pair_ids(split)
        if len(found) != version.manifest["rows"][split]:
            problems.append(f"{split}: {len(found)} pairs, not {version.manifest['rows'][split]}")
        problems += [f"pair {pair_id} appears twice" for pair_id in sorted(ids & set(found))]
        ids |= set(found)
        for index in {0, len(found) - 1} if found else ():
            try:
                pair = version.read_pair(split, index)
            except (ValueError, OSError) as error:
                problems.append(f"{split} pair {index}: {error}")
                continue
            if pair.split != split or pair.pair_id != found[index]:
                problems.append(f"{split} pair {index} says that it is {pair.pair_id}")
    scenes = {split: set(version.column(split, "scene_id")) for split in SPLITS}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(scenes[one] & scenes[other])
        problems += [f"scene {scene} is in both {one} and {other}" for scene in shared]
    return problems


def _recipe(root: Location, config: RegenerateConfig) -> SynthConfig:
    """Return the settings to use: those given now, stored, or of 'latest'."""
    location = root.child(config.dataset, RECIPE)
    if config.synth is not None:
        return synthesize.with_absolute_paths(config.synth)
    if location.exists():
        try:
            return _settings(json.loads(location.read_bytes()), SynthConfig())
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{location}: not a recipe ({error}); store one, e.g. with "
                "'k3dn regenerate synth.pairs=200'"
            ) from error
    if read_latest(root, config.dataset) is not None:
        manifest = open_version(root, config.dataset).manifest
        if "kernels" in manifest["config"]:
            return _settings(manifest["config"], SynthConfig())
    raise UserError(
        f"dataset {config.dataset} at {root} has no recipe; give the settings once, e.g. "
        f"'k3dn regenerate dataset={config.dataset} synth.pairs=200'"
    )


def _store_recipe(root: Location, dataset: str, recipe: SynthConfig) -> None:
    values = settings_of(recipe)
    values["dataset"] = dataset
    text = json.dumps(values, indent=1, sort_keys=True) + "\n"
    root.child(dataset, RECIPE).write_bytes(text.encode())


def _settings(values: dict[str, Any], base: SynthConfig) -> SynthConfig:
    from pydantic import TypeAdapter

    known = {field.name for field in fields(SynthConfig)} - set(SHARED_KEYS)
    kept = {key: value for key, value in values.items() if key in known}
    return TypeAdapter(SynthConfig).validate_python({**as_dict(base), **kept})


def _next_version(root: Location, dataset: str) -> str:
    versions = published_versions(root, dataset)
    numbers = [int(v[1:]) for v in versions if v.startswith("v") and v[1:].isdigit()]
    return f"v{max(numbers, default=0) + 1}"


def _seed(seed: int, version: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {version}".encode()).digest()[:4], "big")


def _is_newest(root: Location, version: DatasetVersion) -> bool:
    """Tell whether 'latest' may move here: an old stamp run again must not turn time back."""
    latest = read_latest(root, version.name)
    if latest is None or latest == version.version:
        return True
    manifest = read_manifest(root.child(version.name, latest))
    return manifest is None or manifest["created_utc"] <= version.manifest["created_utc"]
