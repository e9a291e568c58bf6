"""Score models on held-out pairs, on Ray, each model in a process of its own.

Scores of a model on one dataset version are kept in ``<root>/_evaluations``: asked for again, they
are read, not computed. Each pair is written as it is scored, ``result.json`` last: an evaluation
that was killed goes on with the pairs that are missing.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from pipelines.cluster import ray_cluster
from pipelines.config import SHARED_KEYS
from pipelines.dataset.record import Pair
from pipelines.errors import NotFiniteError, UserError
from pipelines.evaluation.config import MeasureConfig
from pipelines.evaluation.masks import digest_of, remarks
from pipelines.evaluation.scoring import SCORING, Scoring
from pipelines.progress import progress, say
from pipelines.ray_tasks import Failed, attempt, value_of
from pipelines.registry.loading import SettledModel
from pipelines.registry.source_code import digest_of_modules
from pipelines.scores import PairScore, score_of, table, to_unit
from pipelines.storage import Location, locate
from pipelines.training.room import check_worker, most

_PAIRS_WORTH_A_WORKER = 8
"""Loading a model takes seconds of a CPU: fewer pairs are done sooner by one worker."""
_PARTS = "pairs"
_Step = TypeVar("_Step", bound=MeasureConfig)
_RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out pairs of one dataset version, and where a model's scores on them are kept."""

    reference: str
    """name@version."""
    digest: str
    """The version's digest."""
    pairs: int
    """The first so many of the split."""
    folder: Location


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of one model on the configured pairs."""

    scores: tuple[PairScore, ...]
    skipped: int
    """Pairs without a target."""


def measure(config: MeasureConfig, model: SettledModel, tracking_uri: str) -> Measured:
    """Score a model on the configured pairs, or read the scores where they are kept.

    Raises UserError where no pair of a dataset has a target.
    """
    sets = plan(config, model)
    on_masks(config, sets)
    missing = [held for held in sets if not held.folder.child(_RESULT).exists()]
    if not missing:
        say(f"{model.label}: scores are kept in {config.root}/_evaluations")
    else:
        _compute(config, model, missing, tracking_uri)
    scores: list[PairScore] = []
    skipped = 0
    for held in sets:
        kept = json.loads(held.folder.child(_RESULT).read_bytes())
        scores += map(score_of, kept["scores"])
        skipped += kept["skipped"]
    return Measured(tuple(scores), skipped)


def kept_scores(config: MeasureConfig, model: SettledModel) -> tuple[PairScore, ...] | None:
    """Return the scores on the configured pairs where all are kept; computes nothing."""
    scores: list[PairScore] = []
    for held in plan(config, model):
        try:
            kept = json.loads(held.folder.child(_RESULT).read_bytes())
        except FileNotFoundError:
            return None
        scores += map(score_of, kept["scores"])
    return tuple(scores)


def pinned(config: _Step) -> _Step:
    """Return a step with its datasets as name@version, so that one published meanwhile, while
    models are measured one after another, changes nothing.

    Raises UserError for a dataset that is not there.
    """
    from pipelines.dataset.version import open_version

    root = locate(config.root)
    names = [open_version(root, name).reference for name in config.datasets]
    return dataclasses.replace(config, datasets=names)


def plan(config: MeasureConfig, model: SettledModel) -> tuple[HeldOut, ...]:
    """Return the pairs to measure on, and the folders that keep the scores on them.

    Raises UserError for a dataset that is not there or has no pairs in the split.
    """
    from pipelines.dataset.version import open_version

    root = locate(config.root)
    found = []
    for name in config.datasets:
        version = open_version(root, name)
        rows = version.rows(config.split)
        if rows == 0:
            raise UserError(
                f"dataset {version.reference} has no {config.split} pairs; "
                "choose another split or dataset"
            )
        count = rows if config.max_pairs is None else min(rows, config.max_pairs)
        key = _key(config, model, version.reference, version.digest, count)
        folder = root.child("_evaluations", key)
        found.append(HeldOut(version.reference, version.digest, count, folder))
    return tuple({held.reference: held for held in found}.values())


def pairs_of(config: MeasureConfig, sets: Sequence[HeldOut]) -> dict[str, list[str]]:
    """Return the pair_ids to measure on by dataset, name@version."""
    from pipelines.dataset.version import open_version

    root = locate(config.root)
    ids = {held: open_version(root, held.reference).pair_ids(config.split) for held in sets}
    return {held.reference: found[: held.pairs] for held, found in ids.items()}


def on_masks(config: MeasureConfig, sets: Sequence[HeldOut]) -> list[str]:
    """Return what a reader must know of the masks. Raises UserError where none fits a pair."""
    if config.masks is None:
        return []
    return remarks(locate(config.masks), pairs_of(config, sets))


def keep(
    config: MeasureConfig,
    model: SettledModel,
    held: HeldOut,
    scores: Sequence[PairScore],
    skipped: int,
) -> None:
    """Write scores on one dataset to where ``measure`` looks for them."""
    held.folder.child("pairs.parquet").write_bytes(to_parquet({model.label: scores}))
    report = {
        "model": model.reference,
        "identity": model.identity,
        "config": {
            key: value
            for key, value in dataclasses.asdict(config).items()
            if key not in SHARED_KEYS
        }
        | {"datasets": [held.reference]},
        "skipped": skipped,
        "table": [dataclasses.asdict(row) for row in table(scores, model.label)],
        "scores": [dataclasses.asdict(score) for score in scores],
    }
    held.folder.child(_RESULT).write_bytes(json.dumps(report, indent=1).encode())


class Evaluator:
    """Scores pairs with one model; runs as a Ray actor, the model in a child of it."""

    def __init__(
        self, config: MeasureConfig, model: SettledModel, tracking_uri: str, use_gpu: bool
    ) -> None:
        from pipelines.registry.model_process import ModelProcess

        self._config = config
        self._root = locate(config.root)
        masks = None if config.masks is None else locate(config.masks)
        self._scoring = Scoring(config.register, masks)
        self._versions: dict[str, Any] = {}
        self._process = ModelProcess(
            model.reference, tracking_uri, factory=model.factory, use_gpu=use_gpu
        )

    def score(self, held: HeldOut, index: int) -> None:
        """Score one pair of a dataset version and write the score, None without a target."""
        from pipelines.dataset.version import open_version

        if held.reference not in self._versions:
            self._versions[held.reference] = open_version(self._root, held.reference)
        pair = self._versions[held.reference].read_pair(self._config.split, index)
        score = None if pair.target is None else self._score(held.reference, pair)
        content = None if score is None else dataclasses.asdict(score)
        held.folder.child(_PARTS, f"{index:06d}.json").write_bytes(json.dumps(content).encode())

    def _score(self, reference: str, pair: Pair) -> PairScore:
        settings = {
            "tile_px": self._config.tile_px,
            "halo_px": self._config.halo_px,
            "precision": self._config.precision,
        }
        try:
            restored = self._process.predict(to_unit(pair.left), to_unit(pair.right), settings)
        except NotFiniteError:  # a figure, by which the gate refuses it and replaces a champion
            nowhere = np.full(pair.left.shape, np.nan, np.float32)
            return self._scoring.score(reference, pair, nowhere, None)
        return self._scoring.score(
            reference, pair, np.asarray(restored, np.float32), self._process.cost
        )


class _EvaluatorInOwnWords:
    """An `Evaluator` that returns what it fails with; made with its first pair, as a constructor
    cannot return."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._evaluator: Evaluator | None = None

    def score(self, held: HeldOut, index: int) -> Failed | None:
        return attempt(lambda: self._score(held, index))

    def _score(self, held: HeldOut, index: int) -> None:
        if self._evaluator is None:
            self._evaluator = Evaluator(*self._arguments)
        self._evaluator.score(held, index)


def _compute(
    config: MeasureConfig, model: SettledModel, sets: Sequence[HeldOut], tracking_uri: str
) -> None:
    work: list[tuple[HeldOut, int]] = []
    for held in sets:
        done = set(held.folder.child(_PARTS).list())
        work += [(held, i) for i in range(held.pairs) if f"{i:06d}.json" not in done]
    if work:
        with ray_cluster(config.ray_address):
            scored = _on_ray(config, model, work, tracking_uri)
            for _ in progress(scored, total=len(work), label=f"measuring {model.label}"):
                pass
    for held in sets:
        parts = [held.folder.child(_PARTS, f"{i:06d}.json") for i in range(held.pairs)]
        values = [json.loads(part.read_bytes()) for part in parts]
        scores = [score_of(value) for value in values if value is not None]
        if not scores:
            raise UserError(
                f"no {config.split} pair of {held.reference} has a target to measure "
                "against; name a dataset with targets"
            )
        keep(config, model, held, scores, values.count(None))
        for part in parts:
            part.delete()


def _on_ray(
    config: MeasureConfig,
    model: SettledModel,
    work: list[tuple[HeldOut, int]],
    tracking_uri: str,
) -> Iterator[None]:
    import ray
    from ray.util import ActorPool

    gpus = int(most("GPU"))
    use_gpu = gpus >= 1 if config.use_gpu is None else config.use_gpu
    if use_gpu and gpus < 1:
        raise UserError("use_gpu is true, but the cluster has no GPU; set use_gpu=false or none")
    check_worker(config.cpus_per_worker, use_gpu=use_gpu)
    room = int(most("CPU") // config.cpus_per_worker)
    if use_gpu:
        room = min(room, gpus)
    remote = ray.remote(
        num_cpus=config.cpus_per_worker,
        num_gpus=1 if use_gpu else 0,
        max_restarts=2,  # a lost node; scoring a pair again changes nothing
        max_task_retries=2,
    )(_EvaluatorInOwnWords)
    count = max(1, min(config.num_workers, room, len(work) // _PAIRS_WORTH_A_WORKER))
    actors = [remote.remote(config, model, tracking_uri, use_gpu) for _ in range(count)]
    pool = ActorPool(actors)
    try:
        for found in pool.map_unordered(lambda actor, item: actor.score.remote(*item), work):
            value_of(found)
            yield
    finally:
        for actor in actors:
            ray.kill(actor)  # type: ignore[arg-type]


def _key(
    config: MeasureConfig, model: SettledModel, reference: str, digest: str, count: int
) -> str:
    parts = [
        digest_of_modules(SCORING),
        model.identity,
        config.split,
        config.register,
        config.tile_px,
        config.halo_px,
        config.precision,
        [reference, digest, count],
    ]
    if config.masks is not None:
        parts.append(digest_of(locate(config.masks)))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def to_parquet(scores: dict[str, Sequence[PairScore]]) -> bytes:
    """Return scores by model as Parquet, a row a model and picture."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for model, of_model in scores.items():
        for score in of_model:
            row: dict[str, object] = {
                "model": model,
                "dataset": score.dataset,
                "scene_id": score.scene,
                "pair_id": score.pair_id,
            }
            for side in ("input", "output"):
                figures = dataclasses.asdict(getattr(score, side))
                row |= {f"{side}_{name}": value for name, value in figures.items()}
            row["regions"] = [dataclasses.asdict(region) for region in score.regions]
            row["seconds"] = score.cost.seconds if score.cost else None
            row["peak_mib"] = score.cost.peak_mib if score.cost else None
            row["device"] = score.cost.device if score.cost else None
            rows.append(row)
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()
