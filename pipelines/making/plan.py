"""The plan of a dataset version: which pair goes to which shard, in which order.

A pure function of inputs and configuration: it knows neither workers nor time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from pipelines.dataset.names import escaped
from pipelines.dataset.record import PAIR_SCHEMA, SPLITS

LEFT_OUT = "left out"
"""Stage of a file that is not an input, hidden or not a picture: listed, and not counted."""


class Unit(Protocol):
    """What one pair is made from: a dataclass whose fields are JSON-able."""

    @property
    def pair_id(self) -> str:
        """Unique in the dataset."""
        ...

    @property
    def split(self) -> str:
        """train, val or test."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """A row of ``_rejected.parquet``."""

    pair_id: str
    split: str
    path: str
    reason: str
    stage: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanItem:
    """One shard to write."""

    name: str
    """Path below the version, e.g. ``split=train/00003.parquet``."""
    split: str
    units: tuple[Any, ...]
    digest: str
    """Of all that decides the shard's bytes, except the content of the input files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All shards of one dataset version."""

    dataset: str
    version: str
    items: tuple[PlanItem, ...]
    rejects: tuple[Reject, ...]
    """What discovery could not pair up."""
    digest: str
    """Of the configuration and the units, as every item's is."""

    @property
    def num_units(self) -> int:
        """Number of pairs planned."""
        return sum(len(item.units) for item in self.items)


def make_plan(
    *,
    dataset: str,
    version: str,
    units: Sequence[Unit],
    rejects: Sequence[Reject],
    content_config: Mapping[str, Any],
    pairs_per_shard: int,
) -> Plan:
    """Cut the units into shards, split by split, in the order given.

    content_config: the settings that decide the pixels.
    Raises ValueError for a pair_id that appears twice.
    """
    if len({escaped(unit.pair_id) for unit in units}) < len(units):
        ids = Counter(escaped(unit.pair_id) for unit in units)
        pair_id, count = max(ids.items(), key=lambda item: item[1])
        raise ValueError(f"pair_id {pair_id} appears {count} times in the plan")
    common = {
        "schema": str(PAIR_SCHEMA),
        "dataset": dataset,
        "config": dict(content_config),
        "pairs_per_shard": pairs_per_shard,
    }
    items: list[PlanItem] = []
    for split in SPLITS:
        chosen = [unit for unit in units if unit.split == split]
        for number, start in enumerate(range(0, len(chosen), pairs_per_shard)):
            part = tuple(chosen[start : start + pairs_per_shard])
            digest = _digest_with_units(common, part)
            items.append(
                PlanItem(
                    name=f"split={split}/{number:05d}.parquet",
                    split=split,
                    units=part,
                    digest=digest,
                )
            )
    counted = [asdict(reject) for reject in rejects if reject.stage != LEFT_OUT]
    return Plan(
        dataset=dataset,
        version=version,
        items=tuple(items),
        rejects=tuple(rejects),
        digest=_digest_with_units({**common, "rejects": counted}, units),
    )


def digest_of(value: object) -> str:
    """Return the sha256 (hex) of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest_with_units(values: Mapping[str, Any], units: Sequence[Any]) -> str:
    """Return ``digest_of`` the values and ``units``, without the text of all units at once.

    ``units`` must be the last of the keys, which are sorted.
    """
    assert max(values) < "units"
    found = hashlib.sha256(json.dumps(values, sort_keys=True)[:-1].encode())
    found.update(b', "units": [')
    for number, unit in enumerate(units):
        text = json.dumps(_shallow(unit), sort_keys=True, default=asdict)
        found.update(text.encode() if number == 0 else f", {text}".encode())
    found.update(b"]}")
    return found.hexdigest()


def _shallow(unit: Any) -> dict[str, Any]:
    """As ``asdict`` for JSON, without a copy of what a field holds."""
    return {field.name: getattr(unit, field.name) for field in fields(unit)}
