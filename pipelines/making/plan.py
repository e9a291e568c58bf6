"""The plan of a dataset version: which pair goes to which shard, in which order.

A pure function of inputs and configuration: it knows neither workers nor time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
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
    counted = [asdict(reject) for reject in rejects if reject.stage != LEFT_OUT]
    whole = _DigestOfUnits({**common, "rejects": counted})
    parts: dict[str, list[_Part]] = {split: [] for split in SPLITS}
    text_of = _text_of()
    # In one pass, for there may be millions, and the text of each is wanted twice.
    for unit in units:
        text = text_of(unit)
        whole.add(text)
        if (there := parts.get(unit.split)) is None:
            continue
        if not there or len(there[-1].units) == pairs_per_shard:
            there.append(_Part(_DigestOfUnits(common)))
        there[-1].units.append(unit)
        there[-1].digest.add(text)
    items = [
        PlanItem(
            name=f"split={split}/{number:05d}.parquet",
            split=split,
            units=tuple(part.units),
            digest=part.digest.hex(),
        )
        for split in SPLITS
        for number, part in enumerate(parts[split])
    ]
    return Plan(
        dataset=dataset,
        version=version,
        items=tuple(items),
        rejects=tuple(rejects),
        digest=whole.hex(),
    )


def digest_of(value: object) -> str:
    """Return the sha256 (hex) of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class _DigestOfUnits:
    """``digest_of`` some values and ``units``, without the text of all units at once."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Of the keys, which are sorted, ``units`` must be the last."""
        assert max(values) < "units"
        self._found = hashlib.sha256(json.dumps(values, sort_keys=True)[:-1].encode())
        self._found.update(b', "units": [')
        self._between = ""

    def add(self, text: str) -> None:
        """Take in the JSON of the next unit."""
        self._found.update((self._between + text).encode())
        self._between = ", "

    def hex(self) -> str:
        """Return the digest; nothing can be added any more."""
        self._found.update(b"]}")
        return self._found.hexdigest()


@dataclass(frozen=True, slots=True)
class _Part:
    """A shard that is being filled."""

    digest: _DigestOfUnits
    units: list[Any] = field(default_factory=list)


def _text_of() -> Callable[[Any], str]:
    """Return what gives a unit as JSON, as ``asdict`` has it, without a copy of what a field
    holds."""
    names: dict[type, list[str]] = {}
    encoder = json.JSONEncoder(sort_keys=True, default=asdict)

    def text_of(unit: Any) -> str:
        if type(unit) not in names:
            names[type(unit)] = [each.name for each in fields(unit)]
        return encoder.encode({name: getattr(unit, name) for name in names[type(unit)]})

    return text_of
