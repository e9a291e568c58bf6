"""What a search is: its trials, resolved, and the folder that it keeps its records in."""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass

from pipelines.config import as_dict
from pipelines.errors import UserError
from pipelines.storage import Location
from pipelines.training.config import TrainConfig
from pipelines.training.plan import RunPlan, plan_run
from tune.config import TuneConfig
from tune.records import TrialRecord
from tune.space import Combination, plan

SEARCHES = "_tune"
_PLAN = "search.json"
_RESULT = "result.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """A search. Picklable: the trials get it as it is."""

    config: TuneConfig
    name: str
    digest: str
    """sha256 of all that decides the result: every trial's configuration and data, the rules."""
    root: Location
    combinations: tuple[Combination, ...]
    trials: tuple[TrainConfig, ...]
    """The training of each combination, 'latest' datasets resolved."""

    @property
    def folder(self) -> Location:
        """Where the search's records lie."""
        return self.root.child(SEARCHES, self.name)

    @property
    def result(self) -> Location:
        """The file with the result."""
        return self.folder.child(_RESULT)

    def record_of(self, combination: Combination) -> Location:
        """Where the record of a trial that ended lies."""
        return self.folder.child(f"trial-{combination.index:02d}.json")

    def records(self) -> dict[int, TrialRecord]:
        """Return the records of the trials that ended in this or an earlier start."""
        found = {}
        for combination in self.combinations:
            location = self.record_of(combination)
            if location.exists():
                found[combination.index] = TrialRecord.from_json(location.read_bytes())
        return found


def plan_search(config: TuneConfig) -> SearchPlan:
    """Resolve a search: what it tries, on which data. Reads manifests only; writes nothing.

    Raises UserError for data that is not there, for a search without validation pairs, and for
    a network that has neither lambda_1 nor N.
    """
    if ":" in config.train.model:
        raise UserError(
            f"train.model={config.train.model} has neither lambda_1 nor N, which tune searches: "
            "take nano, tiny, lightweight or large"
        )
    combinations = plan(
        trials=config.trials,
        lambda_1=config.lambda_1,
        num_kernels=config.num_kernels,
        seed=config.seed,
    )
    runs = [plan_run(_training(config, combination)) for combination in combinations]
    if not runs[0].val_sources or config.train.max_val_pairs == 0:
        raise UserError(
            f"tune compares trials by {config.metric} on the val split, and there is none: "
            "choose datasets with val pairs (synth val_fraction=0.1) and train.max_val_pairs > 0"
        )
    rules = [config.metric, config.val_every, config.reduction_factor]
    decides = json.dumps([[run.digest for run in runs], rules])
    digest = hashlib.sha256(decides.encode()).hexdigest()
    name = config.name or f"tune-{digest[:10]}"
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name={name!r} is not a valid name: use letters, digits, dots, hyphens, underscores"
        )
    return SearchPlan(
        config=config,
        name=name,
        digest=digest,
        root=runs[0].root,
        combinations=combinations,
        trials=tuple(
            _pinned(run, f"{name}-{one.index:02d}")
            for run, one in zip(runs, combinations, strict=True)
        ),
    )


def _training(config: TuneConfig, combination: Combination) -> TrainConfig:
    return dataclasses.replace(
        config.train,
        steps=config.steps,
        val_every=config.val_every,
        lambda_1=combination.lambda_1,
        network={**config.train.network, "width": combination.width},
        register=None,
    )


def _pinned(run: RunPlan, name: str) -> TrainConfig:
    """Name the run, and the dataset versions exactly: 'latest' may move during a search."""
    datasets = [
        f"{source.reference}*{source.repeat}" if source.repeat > 1 else source.reference
        for source in run.sources
    ]
    return dataclasses.replace(run.config, name=name, datasets=datasets)


def claim(plan: SearchPlan) -> None:
    """Write down what the search is, or check that it is what was written down before.

    Raises UserError where another search already has this name.
    """
    record = {"digest": plan.digest, "config": as_dict(plan.config)}
    location = plan.folder.child(_PLAN)
    if location.put_if_absent(json.dumps(record, indent=2, default=str).encode()):
        return
    if json.loads(location.read_bytes())["digest"] != plan.digest:
        raise UserError(
            f"search {plan.name!r} at {plan.folder} was started with other settings or other data; "
            "give another name=..., or the same settings to go on with it"
        )
