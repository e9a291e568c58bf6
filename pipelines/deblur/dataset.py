"""The pairs of a dataset version, sharpened over the cluster: ``k3dn deblur NAME@VERSION``."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pipelines.cluster import ray_cluster
from pipelines.dataset.export import file_name_of
from pipelines.dataset.record import COLUMNS, PAIR_SCHEMA, SPLITS, decode_pair
from pipelines.dataset.shard import ShardInfo, read_row
from pipelines.dataset.version import DatasetVersion, open_version, published_versions
from pipelines.deblur import output as outputs
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.jobs import folder_for_many
from pipelines.deblur.metadata import Metadata
from pipelines.deblur.restore import ModelUnusable, Sharpener, by_process
from pipelines.deblur.result import DeblurResult, Failed, Seconds, Sharpened
from pipelines.errors import UserError
from pipelines.failures import explain_failure
from pipelines.picture_keys import ANY_BOX
from pipelines.progress import progress
from pipelines.ray_tasks import each_on_ray
from pipelines.registry.loading import BOX, settle
from pipelines.registry.registry import open_store
from pipelines.storage import Location, locate
from pipelines.training.room import most

_PAIRS_A_TASK = 8
"""Loading a model takes seconds: a task that is lost costs so many pictures at most."""
_NOT_SHARPENED = {*COLUMNS, "combined", "coc"} - {"left", "right"}
_READ = [name for name in PAIR_SCHEMA.names if name not in _NOT_SHARPENED]


@dataclass(frozen=True, slots=True)
class _Task:
    """Some pairs of one shard."""

    shard: ShardInfo
    rows: range


Outcome = Sharpened | Failed | str
"""Of a pair: what was made, why it was not, or where it lay already."""


def dataset_of(config: DeblurConfig) -> DatasetVersion | None:
    """Return the version that ``left`` names; None where there is no dataset of a bare name.

    Raises UserError for a NAME@VERSION that is not there.
    """
    root, (name, at, _) = locate(config.root), config.left.partition("@")
    if not at and not published_versions(root, name):
        return None
    return open_version(root, config.left)


def sharpen_dataset(config: DeblurConfig, version: DatasetVersion) -> DeblurResult:
    """Write ``SPLIT/PAIR_ID.png`` of each pair, in its depth, as its pictures lie in the version.

    What is there stays without ``overwrite``, so the same command goes on. Raises UserError for an
    output that is no folder, a model that is not there, and keys that are for files.
    """
    for key, given in (("show", config.show), ("devices", bool(config.devices))):
        if given:
            raise UserError(f"{key}= is for files, and {version.reference} is a dataset")
    output = folder_for_many(config)
    output.child("a.png").check_writable()
    if (path := output.local_path()) is not None:
        for split in SPLITS:
            outputs.remove_unfinished(path / split)
    config = _settled(config)
    tasks = list(_tasks(version))

    def work(task: _Task) -> list[Outcome]:
        return _sharpen(config, task, output)

    with (
        ray_cluster(config.ray_address),
        closing(each_on_ray(tasks, work, gpus=int(most("GPU") >= 1))) as done,
    ):
        told = progress(done, total=len(tasks), label=version.reference, unit="tasks")
        outcomes = [outcome for of_task in told for outcome in of_task]
    return _result(outcomes, output)


def _settled(config: DeblurConfig) -> DeblurConfig:
    """The same for all tasks, wherever they run: an alias that is moved meanwhile changes nothing,
    and paths are whole."""
    model = config.model
    if model.startswith("models:/"):
        tracking_uri = open_store(config)
        model = settle(model, tracking_uri, config.factory).reference
        return replace(config, model=model, factory=None, tracking_uri=tracking_uri)
    is_file = model != config.factory  # else the factory's own weights, of no file
    if is_file and model != ANY_BOX and not model.startswith(BOX):
        if not by_process(config) and not locate(model).exists():
            raise UserError(f"there are no weights at {model}; check the path")
        return replace(config, model=locate(model).url)
    return config


def _tasks(version: DatasetVersion) -> Iterator[_Task]:
    for split in SPLITS:
        for shard in version.shards(split):
            for first in range(0, shard.rows, _PAIRS_A_TASK):
                yield _Task(shard, range(first, min(first + _PAIRS_A_TASK, shard.rows)))


def _sharpen(config: DeblurConfig, task: _Task, output: Location) -> list[Outcome]:
    """Runs in a Ray task. Raises what no other pair would fare better with."""
    with Sharpener(config) as sharpener:
        return [_outcome(config, task.shard, row, sharpener, output) for row in task.rows]


def _outcome(
    config: DeblurConfig, shard: ShardInfo, row: int, sharpener: Sharpener, output: Location
) -> Outcome:
    name = f"pair {row + 1} of {shard.location}"
    try:
        pair_id = read_row(shard, row, ["pair_id"])["pair_id"]
        name = f"{shard.split}/{file_name_of(pair_id)}"
        place = output.child(f"{name}.png")
        if not config.overwrite and place.exists():
            return place.url
        return _made(shard, row, sharpener, place, overwrite=config.overwrite)
    except outputs.AlreadyThere:
        return place.url
    except (ModelUnusable, outputs.NoRoom):
        raise
    except MemoryError:
        return Failed(name, "there is too little memory for this picture")
    except (UserError, OSError, ValueError) as error:
        of_system = isinstance(error, OSError) and error.errno is not None  # Parquet's have none
        return Failed(name, explain_failure(error).message if of_system else str(error))


def _made(
    shard: ShardInfo, row: int, sharpener: Sharpener, place: Location, *, overwrite: bool
) -> Sharpened:
    times = [time.perf_counter()]
    pair = decode_pair(read_row(shard, row, _READ))
    times.append(time.perf_counter())
    label = sharpener.load(pair.left, pair.right)
    sharp = sharpener(pair.left, pair.right)
    times.append(time.perf_counter())
    if (path := place.local_path()) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    outputs.write_photograph(place, sharp, Metadata(format="png"), overwrite=overwrite)
    times.append(time.perf_counter())
    read, sharpened, written = (
        round(after - before, 3) for before, after in itertools.pairwise(times)
    )
    return Sharpened(
        output=place.url,
        model=label,
        height=sharp.shape[0],
        width=sharp.shape[1],
        bit_depth=sharp.itemsize * 8,
        notices=(),
        lost=(),
        seconds=Seconds(read=read, look=0.0, sharpen=sharpened, write=written),
    )


def _result(outcomes: Sequence[Outcome], output: Location) -> DeblurResult:
    pictures = sorted((o for o in outcomes if isinstance(o, Sharpened)), key=lambda o: o.output)
    failed = sorted((o for o in outcomes if isinstance(o, Failed)), key=lambda o: o.name)
    kept = sorted(outcome for outcome in outcomes if isinstance(outcome, str))
    return DeblurResult(
        pictures=tuple(pictures),
        kept=tuple(kept),
        failed=tuple(failed),
        folder=output.url,
        exit_code=2 if failed else 0,
    )
