"""Score a model on held-out pairs, on Ray, each model in a process of its own.

Scores of a model on given pairs are kept in ``<root>/_evaluations``: asked for again, they are
read, not computed. ``result.json`` is written last, so that a killed evaluation leaves none.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.cluster import ray_cluster
from pipelines.errors import UserError
from pipelines.models.config import MeasureConfig
from pipelines.models.loading import SettledModel
from pipelines.models.scores import PairScore, Quality, mean_view, quality, table, to_unit
from pipelines.progress import progress, say
from pipelines.storage import Location, locate
from pipelines.training.room import check_worker, most

DEFINITION = "psnr, ssim, mae of float pictures in [0, 1]; input: mean of the views; 1"
"""Part of the key of kept scores: change it whenever a figure would come out differently."""

_PAIRS_WORTH_A_WORKER = 8
"""Loading a model takes seconds of a CPU: fewer pairs are done sooner by one worker."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The held-out pairs of one dataset version."""

    reference: str
    """name@version."""
    digest: str
    """The version's digest."""
    indices: tuple[int, ...]
    """Positions in the split; the first ``max_pairs``."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of one model on the configured pairs, and where they are kept."""

    scores: tuple[PairScore, ...]
    skipped: int
    """Pairs without a target."""
    folder: Location


def measure(config: MeasureConfig, model: SettledModel, tracking_uri: str) -> Measured:
    """Score a model on the configured pairs, or read the scores where they are kept."""
    sets, folder = plan(config, model)
    result = folder.child("result.json")
    if result.exists():
        kept = json.loads(result.read_bytes())
        say(f"{model.label}: scores are kept in {folder.url}")
        return Measured(tuple(score_of(s) for s in kept["scores"]), kept["skipped"], folder)
    measured = Measured(*_compute(config, model, sets, tracking_uri), folder)
    if not measured.scores:
        raise UserError(
            f"no {config.split} pair of {', '.join(config.datasets)} has a target to measure "
            "against; name a dataset with targets"
        )
    keep(config, model, measured)
    return measured


def plan(config: MeasureConfig, model: SettledModel) -> tuple[list[Pairs], Location]:
    """Return the pairs to measure on and the folder that keeps the scores on them."""
    root = locate(config.root)
    sets = [held_out(root, name, config.split, config.max_pairs) for name in config.datasets]
    return sets, root.child("_evaluations", _key(model, sets, config))


def keep(config: MeasureConfig, model: SettledModel, measured: Measured) -> None:
    """Write scores to where ``measure`` looks for them; the file that it looks for is last."""
    measured.folder.child("pairs.parquet").write_bytes(_parquet(measured.scores))
    report = {
        "model": model.reference,
        "identity": model.identity,
        "config": dataclasses.asdict(config),
        "skipped": measured.skipped,
        "table": [dataclasses.asdict(row) for row in table(measured.scores, model.label)],
        "scores": [dataclasses.asdict(score) for score in measured.scores],
    }
    result = measured.folder.child("result.json")
    result.write_bytes(json.dumps(report, indent=1).encode())


def held_out(root: Location, reference: str, split: str, max_pairs: int | None) -> Pairs:
    """Settle a dataset reference and which of its pairs are measured; UserError if none."""
    from pipelines.dataset.version import open_version

    version = open_version(root, reference)
    rows = version.rows(split)
    if rows == 0:
        raise UserError(
            f"dataset {version.name}@{version.version} has no {split} pairs; "
            "choose another split or dataset"
        )
    chosen = range(rows if max_pairs is None else min(rows, max_pairs))
    return Pairs(f"{version.name}@{version.version}", version.digest, tuple(chosen))


class Evaluator:
    """Scores pairs with one model; runs as a Ray actor, the model in a child of it."""

    def __init__(
        self, config: MeasureConfig, model: SettledModel, tracking_uri: str, use_gpu: bool
    ) -> None:
        from pipelines.models.model_process import ModelProcess

        self._config = config
        self._root = locate(config.root)
        self._versions: dict[str, Any] = {}
        self._process = ModelProcess(
            model.reference, tracking_uri, factory=model.factory, use_gpu=use_gpu
        )

    def score(self, reference: str, index: int) -> PairScore | None:
        """Score one pair of a dataset version; None where it has no target."""
        from pipelines.dataset.version import open_version

        if reference not in self._versions:
            self._versions[reference] = open_version(self._root, reference)
        pair = self._versions[reference].read_pair(self._config.split, index)
        if pair.target is None:
            return None
        left, right, target = (to_unit(image) for image in (pair.left, pair.right, pair.target))
        restored = self._process.predict(
            left,
            right,
            {
                "tile_px": self._config.tile_px,
                "halo_px": self._config.halo_px,
                "precision": self._config.precision,
            },
        )
        return PairScore(
            dataset=reference,
            pair_id=pair.pair_id,
            input=quality(mean_view(left, right), target),
            output=quality(np.asarray(restored, np.float32), target),
        )


def _compute(
    config: MeasureConfig, model: SettledModel, sets: list[Pairs], tracking_uri: str
) -> tuple[tuple[PairScore, ...], int]:
    work = [(pairs.reference, index) for pairs in sets for index in pairs.indices]
    found: list[PairScore] = []
    skipped = 0
    with ray_cluster(config.ray_address):
        scores = _on_ray(config, model, work, tracking_uri)
        for score in progress(scores, total=len(work), label=f"measuring {model.label}"):
            if score is None:
                skipped += 1
            else:
                found.append(score)
    return tuple(found), skipped


def _on_ray(
    config: MeasureConfig, model: SettledModel, work: list[tuple[str, int]], tracking_uri: str
) -> Iterator[PairScore | None]:
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
    )(Evaluator)
    count = max(1, min(config.num_workers, room, len(work) // _PAIRS_WORTH_A_WORKER))
    actors = [remote.remote(config, model, tracking_uri, use_gpu) for _ in range(count)]
    pool = ActorPool(actors)
    try:
        yield from pool.map(lambda actor, item: actor.score.remote(*item), work)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    finally:
        for actor in actors:
            ray.kill(actor)  # type: ignore[arg-type]


def _key(model: SettledModel, sets: list[Pairs], config: MeasureConfig) -> str:
    parts = [
        DEFINITION,
        model.identity,
        config.split,
        config.tile_px,
        config.halo_px,
        config.precision,
        [(pairs.reference, pairs.digest, len(pairs.indices)) for pairs in sets],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def score_of(values: dict[str, Any]) -> PairScore:
    """A score as ``result.json`` keeps it."""
    return PairScore(
        dataset=values["dataset"],
        pair_id=values["pair_id"],
        input=Quality(**values["input"]),
        output=Quality(**values["output"]),
    )


def _parquet(scores: tuple[PairScore, ...]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for score in scores:
        row: dict[str, object] = {"dataset": score.dataset, "pair_id": score.pair_id}
        for side in ("input", "output"):
            figures = dataclasses.asdict(getattr(score, side))
            row |= {f"{side}_{name}": value for name, value in figures.items()}
        rows.append(row)
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()
