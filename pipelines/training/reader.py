"""Read, cut and augment the samples of a step. Runs in a reader process of Ray Data, or anywhere.

What it returns for a step depends on the plan, the step and the slice alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import Pixels, as_16_bit, decode_image
from pipelines.dataset.record import COLUMNS, decode_coc
from pipelines.dataset.shard import index_of, read_row
from pipelines.dataset.version import DatasetVersion, open_version
from pipelines.errors import UserError
from pipelines.failures import one_line
from pipelines.training.augment import Augmentation, Patch
from pipelines.training.order import Sample, SampleOrder, seed_of, step_samples
from pipelines.training.plan import RunPlan

CACHE_BYTES = 256 << 20
"""Decoded pictures that a reader keeps: small sets are decoded once, not once an epoch. Of
others it keeps the first that come: each has its turn once an epoch, none is better to keep."""

Columns = dict[str, NDArray[Any]]


class SampleReader:
    """A worker's samples of any step.

    Calling it with ``{"step": [s]}`` gives, in the order of the global sequence, the columns
    ``index`` (position in the sequence, int64), ``pair_id``, and ``pictures``: left, right and
    target as ``(n, 3, P, P, 3)`` uint16 (8-bit values times 257, which is exact). ``with_coc``
    also ``coc``, the signed blur radius in px, ``(n, P, P)`` float16, NaN for pairs whose radius is
    not known.
    """

    def __init__(
        self, plan: RunPlan, rank: int, world_size: int, *, with_coc: bool = False
    ) -> None:
        plan.check_arrived()
        self._plan = plan
        self._rank, self._world_size = rank, world_size
        self._order = SampleOrder(plan.sources, plan.config.seed)
        self._augment = Augmentation(
            plan.config.patch,
            plan.config.exchange_views,
            recolour=plan.config.recolour,
            same_views=plan.config.same_views,
            noise=plan.config.noise,
        )
        self._with_coc = with_coc
        self._versions = [open_version(plan.root, source.reference) for source in plan.sources]
        self._cache: dict[tuple[int, int], tuple[str, Patch]] = {}
        self._cached_bytes = 0

    def __call__(self, batch: Mapping[str, NDArray[np.int64]]) -> Columns:
        config = self._plan.config
        indices: list[int] = []
        pair_ids: list[str] = []
        pictures: list[Pixels] = []
        radii: list[NDArray[np.float16]] = []
        for step in batch["step"]:
            due = step_samples(int(step), config.batch_size, self._rank, self._world_size)
            for index in due:
                sample = self._order.sample(index)
                seed = seed_of(config.seed, "augment", index)
                pair_id, pair = self._pair(sample, seed)
                patch = self._augment(*pair, seed=seed)
                indices.append(index)
                pair_ids.append(f"{self._plan.sources[sample.source].reference}/{pair_id}")
                pictures.append(
                    np.stack([as_16_bit(p) for p in (patch.left, patch.right, patch.target)])
                )
                if patch.coc is not None:
                    radii.append(patch.coc)
        columns: Columns = {
            "index": np.array(indices, np.int64),
            "pair_id": np.array(pair_ids, dtype=object),
            "pictures": np.stack(pictures),
        }
        return columns | ({"coc": np.stack(radii)} if self._with_coc else {})

    def _pair(self, sample: Sample, seed: int) -> tuple[str, Patch]:
        """The pair of a sample, or the part of it that the seed's patch is cut from."""
        key = (sample.source, sample.row)
        if key in self._cache:
            return self._cache[key]
        version = self._versions[sample.source]
        keep = self._cached_bytes < CACHE_BYTES
        try:
            if not keep:
                return self._part(version, sample.row, seed)
            pair = read_training_pair(version, sample.row, with_coc=self._with_coc)
        except ValueError as error:  # through Ray Data's wrappings only a UserError keeps its words
            raise UserError(f"{version.reference}: {one_line(str(error))}") from error
        self._cache[key] = pair
        self._cached_bytes += sum(part.nbytes for part in pair[1] if part is not None)
        return pair

    def _part(self, version: DatasetVersion, row: int, seed: int) -> tuple[str, Patch]:
        shard, row_in_shard = version.locate_row("train", row)
        index = index_of(shard)
        if index is None:
            return read_training_pair(version, row, with_coc=self._with_coc)
        pair_id = index.pair_id(row_in_shard)
        where = f"{version.reference}/{pair_id}"
        region = self._augment.region(*index.size(row_in_shard), seed=seed)
        columns = (*COLUMNS, *(("coc",) if self._with_coc else ()))
        try:
            found = index.read(shard.location, row_in_shard, columns, region)
        except ValueError as error:
            raise ValueError(f"{where}, {error}") from error
        left, right, target = (found[column] for column in COLUMNS)
        if target is None:
            raise ValueError(_no_target(where))
        coc = found.get("coc")
        if self._with_coc and coc is None:
            coc = np.full(left.shape[:2], np.nan, np.float16)
        return pair_id, Patch(left, right, target, coc)


def read_training_pair(
    version: DatasetVersion, row: int, split: str = "train", *, with_coc: bool = False
) -> tuple[str, Patch]:
    """Return the pair_id and the three pictures of a pair, as stored.

    with_coc: also the blur radius, NaN everywhere where the pair has none.
    Raises ValueError where the pair has no target, or is damaged.
    """
    shard, row_in_shard = version.locate_row(split, row)
    columns = ("pair_id", *COLUMNS, *(("coc",) if with_coc else ()))
    record = read_row(shard, row_in_shard, columns=columns)
    pair_id = str(record["pair_id"])
    where = f"{version.reference}/{pair_id}"
    if record["target"] is None:
        raise ValueError(_no_target(where))
    left, right, target = (
        decode_image(record[column], where=f"{where}, {column}") for column in COLUMNS
    )
    if not with_coc:
        return pair_id, Patch(left, right, target)
    height, width = left.shape[:2]
    if record["coc"] is None:
        coc = np.full((height, width), np.nan, np.float16)
    else:
        coc = decode_coc(record["coc"], height=height, width=width, where=where)
    return pair_id, Patch(left, right, target, coc)


def _no_target(where: str) -> str:
    return (
        f"{where} has no target picture and cannot train a network; "
        "leave the dataset out of datasets=..."
    )
