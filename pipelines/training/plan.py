"""What a training run is: its configuration, the exact data that it means, its name and folder."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.config import as_dict, as_recorded
from pipelines.errors import UserError
from pipelines.storage import Location, locate
from pipelines.training.config import NOT_IN_DIGEST, TrainConfig
from pipelines.training.order import ORDER, SORTED_AT_MOST, Source

RUNS = "_runs"
LIVE = "synth://"
"""Begins the one entry of ``datasets`` that names a pack, whose pairs are made in training."""
PLAN = "plan.json"
START = "start.safetensors"
"""What a run begins with, in its folder: an alias may mean other weights when the run goes on."""
_REFERENCE = re.compile(r"(?P<version>[^*]+?)(?:\*(?P<repeat>[1-9]\d*))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """A training run. Picklable: workers and readers get it as it is."""

    config: TrainConfig
    name: str
    digest: str
    """sha256 of all that decides the result: configuration and dataset contents."""
    root: Location
    sources: tuple[Source, ...]
    """The training splits, 'latest' resolved."""
    val_sources: tuple[Source, ...]
    """The validation splits of the same versions; those without pairs are left out."""

    @property
    def folder(self) -> Location:
        """Where everything of this run lies."""
        return self.root.child(RUNS, self.name)

    @property
    def makes_pairs(self) -> bool:
        """Whether pairs are made while it trains, not read from versions."""
        return pack_of(self.config) is not None

    def check_arrived(self) -> None:
        """Raise RuntimeError unless this process reads the plan as the driver wrote it.

        Pickled dataclasses travel by position: with another version of the program on the other
        side a learning rate could arrive as a seed.
        """
        if _digest(self.config, self.sources) != self.digest:
            raise RuntimeError(
                f"run {self.name}: the driver and this process run different versions of this "
                "program; deploy one version to all nodes"
            )


def root_of_run(folder: Location, recorded: Mapping[str, Any]) -> Location:
    """Return the root that a run lies in now, also where it was moved since it was planned.

    recorded: the run's plan, whose root holds for a run that lies elsewhere.
    """
    above, _, name = folder.url.rstrip("/").rpartition(f"/{RUNS}/")
    moved = bool(above) and "/" not in name
    return Location(above) if moved else locate(str(recorded["config"]["root"]))


def plan_run(config: TrainConfig) -> RunPlan:
    """Resolve a configuration. Reads manifests only; writes nothing.

    Raises UserError for a dataset that is not there or has no training pairs, and for a storage
    that the processes of a run could not share.
    """
    root = locate(config.root)
    if root.scheme == "memory":
        raise UserError("root memory:// lives in one process; training has several: use a folder")
    sources, val_sources = [], []
    pack = pack_of(config)
    if pack is not None:
        sources = val_sources = [_live_source(pack)]
    for reference in () if pack is not None else config.datasets:
        train, val = _sources_of(root, reference)
        sources.append(train)
        if val.rows:
            val_sources.append(val)
    digest = _digest(config, sources)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", config.model).strip("-._") or "model"
    name = config.name or f"{stem}-{digest[:10]}"
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name={name!r} is not a valid name: use letters, digits, dots, hyphens, underscores"
        )
    return RunPlan(
        config=config,
        name=name,
        digest=digest,
        root=root,
        sources=tuple(sources),
        val_sources=tuple(val_sources),
    )


def pack_of(config: TrainConfig) -> str | None:
    """Return the path of the pack whose scenes a run makes its pairs of; None where it reads them.

    Raises UserError where versions are named beside it.
    """
    if not any(reference.startswith(LIVE) for reference in config.datasets):
        return None
    if len(config.datasets) > 1:
        raise UserError(
            f"datasets: {LIVE}PACK stands alone; train on pairs made in the loop or on versions"
        )
    return config.datasets[0].removeprefix(LIVE)


def steps_of(config: TrainConfig) -> int | None:
    """Return how many steps a run has; None where it ends by the clock."""
    return config.steps if config.seconds is None else None


def claim(plan: RunPlan) -> None:
    """Write down what the run is, or check that it is what was written down before.

    Raises UserError where another configuration already has this name, and where the run goes on
    in another order of samples than it began.
    """
    record = {
        "digest": plan.digest,
        "order": ORDER,
        "config": as_recorded(plan.config),
        "datasets": [asdict(source) for source in plan.sources],
    }
    location = plan.folder.child(PLAN)
    if location.put_if_absent(json.dumps(record, indent=2, default=str).encode()):
        return
    before = json.loads(location.read_bytes())
    if before["digest"] == plan.digest:
        epoch = sum(source.rows * source.repeat for source in plan.sources)
        if before.get("order", 1) != ORDER and epoch > SORTED_AT_MOST:
            raise UserError(
                f"run {plan.name!r} at {plan.folder} was started by another version of this "
                f"program, which takes the {epoch} samples of an epoch in another order; go on "
                "with that version, or give another name=..."
            )
        return
    changed = [
        f"{key}={before['config'].get(key)!r}"
        for key, value in json.loads(json.dumps(as_dict(plan.config), default=str)).items()
        if key not in NOT_IN_DIGEST and before["config"].get(key) != value
    ]
    versions = ", ".join(f"{d['name']}@{d['version']}" for d in before["datasets"])
    raise UserError(
        f"run {plan.name!r} at {plan.folder} was started with "
        f"{', '.join(changed) or 'other data'} (on {versions}); "
        "give another name=..., or the same settings to go on with it"
    )


def _digest(config: TrainConfig, sources: Sequence[Source]) -> str:
    decides = {k: v for k, v in as_dict(config).items() if k not in NOT_IN_DIGEST}
    decides["datasets"] = [asdict(source) for source in sources]
    if pack_of(config) is None:
        del decides["live"]
    if config.seconds is None:
        del decides["seconds"]
    if config.schedule != "step":
        del decides["step_at"], decides["step_factor"]
    if config.schedule == "cosine":  # as all runs had it before there were others
        del decides["schedule"]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def _live_source(pack: str) -> Source:
    location = locate(pack)
    try:
        digest = location.sha256()
    except OSError as error:
        raise UserError(
            f"datasets: there is no pack of scenes at {location.url}; "
            "python -m pipelines.training.live.make_pack makes one"
        ) from error
    return Source(name="synth", version=f"live-{digest[:10]}", digest=digest, rows=0)


def _sources_of(root: Location, reference: str) -> tuple[Source, Source]:
    from pipelines.dataset.version import open_version

    match = _REFERENCE.fullmatch(reference.strip())
    if match is None:
        raise UserError(f"datasets: {reference!r} is not name, name@version or name@version*repeat")
    version = open_version(root, match["version"])
    train = Source(
        name=version.name,
        version=version.version,
        digest=version.digest,
        rows=version.rows("train"),
        repeat=int(match["repeat"] or 1),
    )
    if train.rows == 0:
        raise UserError(
            f"dataset {version.reference} has no training pairs (split 'train'); "
            "leave it out of datasets=... or make a version that has some"
        )
    return train, replace(train, rows=version.rows("val"), repeat=1)
