"""What a search is: its space, the training that it varies, and the folder of its records."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.config import as_recorded, keys_aside, value_text
from pipelines.config_loader import load_config
from pipelines.errors import UserError
from pipelines.storage import Location
from pipelines.training.config import FEATURES_PER_WIDTH, TrainConfig
from pipelines.training.plan import RunPlan, plan_run
from tune.config import NUM_KERNELS, TuneConfig
from tune.records import TrialRecord
from tune.space import Axis, Choice, Combination, grid, space_of, train_keys

SEARCHES = "_tune"
_PLAN = "search.json"
_RESULT = "result.json"
PAGE = "index.html"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SET_BY_SEARCH = ("datasets", "seconds", "steps", "train_only")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """A search."""

    config: TuneConfig
    name: str
    digest: str
    """sha256 of all that decides the result: the training, its data, the space, the rules."""
    root: Location
    space: Mapping[str, Axis]
    base: TrainConfig
    """The training that the trials vary, its dataset versions pinned."""

    @property
    def folder(self) -> Location:
        """Where the search's records lie."""
        return self.root.child(SEARCHES, self.name)

    @property
    def result(self) -> Location:
        """The file with the result."""
        return self.folder.child(_RESULT)

    def trial(self, combination: Combination) -> TrainConfig:
        """Return the training of a combination. Raises ValueError for one that cannot be."""
        name = f"{self.name}-{combination.index:02d}"
        return replace(with_keys(self.base, train_keys(combination.values)), name=name)

    def begin(self, combination: Combination) -> None:
        """Write down a combination before it is tried."""
        data = json.dumps(dataclasses.asdict(combination), indent=2).encode()
        self._place(combination.index, ".plan").put_if_absent(data)

    def combinations(self) -> dict[int, Combination]:
        """Return the combinations that were begun in this or an earlier start, by number."""
        found = {}
        for name in self.folder.list():
            if name.endswith(".plan.json"):
                one = Combination(**json.loads(self.folder.child(name).read_bytes()))
                found[one.index] = one
        return dict(sorted(found.items()))

    def record_of(self, combination: Combination) -> Location:
        """Where the record of a trial that ended lies."""
        return self._place(combination.index, "")

    def records(self) -> dict[int, TrialRecord]:
        """Return the records of the trials that ended in this or an earlier start."""
        found = {}
        for index, combination in self.combinations().items():
            location = self.record_of(combination)
            if location.exists():
                found[index] = TrialRecord.from_json(location.read_bytes())
        return found

    def _place(self, index: int, kind: str) -> Location:
        return self.folder.child(f"trial-{index:02d}{kind}.json")


def plan_search(config: TuneConfig) -> SearchPlan:
    """Resolve a search: what it tries, on which data. Reads manifests only; writes nothing.

    Raises UserError for data that is not there, for a search without validation pairs, and for
    a space that training does not have.
    """
    space = checked_space(config)
    run = plan_run(_training(config))
    if not run.val_sources or config.train.max_val_pairs == 0:
        raise UserError(
            f"tune compares trials by {config.metric} on the val split, and there is none: "
            "choose datasets with val pairs (synth val_fraction=0.1) and train.max_val_pairs > 0"
        )
    rules = [config.metric, config.val_every, config.reduction_factor, config.sampler, config.seed]
    if config.sampler == "spread":  # its points lie as many as there are
        rules.append(config.trials)
    decides = json.dumps([run.digest, {key: str(axis) for key, axis in space.items()}, rules])
    digest = hashlib.sha256(decides.encode()).hexdigest()
    name = config.name or f"tune-{digest[:10]}"
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name={name!r} is not a valid name: use letters, digits, dots, hyphens, underscores"
        )
    return SearchPlan(
        config=config, name=name, digest=digest, root=run.root, space=space, base=_pinned(run)
    )


def checked_space(config: TuneConfig) -> dict[str, Axis]:
    """Return the axes, their values as train reads them. Raises UserError for what it refuses."""
    try:
        space = {key: _typed(key, axis) for key, axis in space_of(config).items()}
        if config.sampler == "grid":
            grid(space)
    except ValueError as error:
        raise UserError(str(error)) from error
    if ":" in config.train.model and not space.keys().isdisjoint(("lambda_1", NUM_KERNELS)):
        raise UserError(
            f"train.model={config.train.model} has neither lambda_1 nor N, which tune searches: "
            "take nano, tiny, lightweight or large, or name other keys in space"
        )
    return space


def look(config: TuneConfig) -> list[str]:
    """Return the space and what the search costs at most, a line each; for a dry run."""
    space = checked_space(config)
    lines = [f"{key}: {axis}" for key, axis in space.items()]
    trials = min(config.trials, len(grid(space))) if config.sampler == "grid" else config.trials
    train = config.train
    most = trials * config.steps
    step, reached, share = config.val_every, 0, 1.0
    expected = 0.0
    while step < config.steps:
        expected += share * (step - reached)
        reached, step, share = step, step * config.reduction_factor, share / config.reduction_factor
    expected = trials * (expected + share * (config.steps - reached))
    lines.append(
        f"{trials} trials, at most {most} steps of {train.batch_size} pairs in all, about "
        f"{expected:.0f} where ASHA stops all but one in {config.reduction_factor} at each rung"
    )
    if config.budget_s is not None:
        lines.append(f"no trial is begun after {config.budget_s:g} s")
    return lines


def with_keys(train: TrainConfig, keys: Mapping[str, Any]) -> TrainConfig:
    """Return a training with dotted keys set. Raises ValueError for values that cannot be."""
    changes: dict[str, Any] = {}
    for key, value in keys.items():
        head, _, inner = key.partition(".")
        before = changes.get(head, getattr(train, head))
        if not inner:
            changes[head] = value
        elif isinstance(before, Mapping):
            changes[head] = {**before, inner: value}
        else:
            changes[head] = replace(before, **{inner: value})
    return replace(train, **changes)


def _typed(key: str, axis: Axis) -> Axis:
    """Return an axis with values as train reads them. Raises UserError or ValueError."""
    if key == NUM_KERNELS:
        values = axis.values if isinstance(axis, Choice) else ()
        if not values or any(not isinstance(n, int) or n % FEATURES_PER_WIDTH for n in values):
            raise ValueError(
                f"num_kernels must be a list of multiples of {FEATURES_PER_WIDTH}, got {axis}"
            )
        return axis
    head = key.partition(".")[0]
    if head in keys_aside(TrainConfig) or head in _SET_BY_SEARCH:
        raise ValueError(f"space.{key}: {head} decides nothing of a result, or the search sets it")
    if isinstance(axis, Choice):
        return Choice(tuple(_as_train_reads(key, value) for value in axis.values))
    low, high = (_as_train_reads(key, int(b) if axis.whole else b) for b in (axis.low, axis.high))
    return replace(axis, whole=axis.whole and isinstance(low, int) and isinstance(high, int))


def _as_train_reads(key: str, value: Any) -> Any:
    found: Any = load_config(TrainConfig, "train", overrides=[(key, value_text(value))]).config
    for part in key.split("."):
        found = found[part] if isinstance(found, Mapping) else getattr(found, part)
    return found


def _training(config: TuneConfig) -> TrainConfig:
    return replace(config.train, steps=config.steps, val_every=config.val_every, register=None)


def _pinned(run: RunPlan) -> TrainConfig:
    """Name the dataset versions exactly: 'latest' may move during a search."""
    datasets = [
        f"{source.reference}*{source.repeat}" if source.repeat > 1 else source.reference
        for source in run.sources
    ]
    return run.config if run.makes_pairs else replace(run.config, datasets=datasets)


def claim(plan: SearchPlan) -> None:
    """Write down what the search is, or check that it is what was written down before.

    Raises UserError where another search already has this name.
    """
    record = {"digest": plan.digest, "config": as_recorded(plan.config)}
    location = plan.folder.child(_PLAN)
    if location.put_if_absent(json.dumps(record, indent=2, default=str).encode()):
        return
    if json.loads(location.read_bytes())["digest"] != plan.digest:
        raise UserError(
            f"search {plan.name!r} at {plan.folder} was started with other settings or other data; "
            "give another name=..., or the same settings to go on with it"
        )
