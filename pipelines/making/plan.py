"""The plan of a dataset version: which pair goes to which shard, in which order.

A pure function of inputs and configuration: it knows neither workers nor time.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from pipelines.dataset.names import escaped
from pipelines.dataset.record import PAIR_SCHEMA, SPLITS
from pipelines.listing import Computed

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


class PlanItems(Computed[PlanItem]):
    """The shards of a plan; a unit may be a view of something that is known in a few bytes."""

    def __init__(self, units: Sequence[Any], shards: Sequence["_Shard"]) -> None:
        """shards: by the places of their units."""
        self._units, self._shards = units, shards

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._shards)

    def some(self, start: int, stop: int) -> Iterator[PlanItem]:
        """Yield the shards at these places."""
        for shard in self._shards[start:stop]:
            places = shard.places
            if places[-1] - places[0] == len(places) - 1:  # as most are
                units = self._units[places[0] : places[-1] + 1]
            else:
                units = [self._units[place] for place in places]
            yield PlanItem(
                name=f"split={shard.split}/{shard.number:05d}.parquet",
                split=shard.split,
                units=tuple(units),
                digest=shard.digest.hex(),
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All shards of one dataset version."""

    dataset: str
    version: str
    items: Sequence[PlanItem]
    rejects: tuple[Reject, ...]
    """What discovery could not pair up."""
    num_units: int
    """Number of pairs planned."""
    digest: str
    """Of the configuration and the units, as every item's is."""


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
    common = {
        "schema": str(PAIR_SCHEMA),
        "dataset": dataset,
        "config": dict(content_config),
        "pairs_per_shard": pairs_per_shard,
    }
    counted = [asdict(reject) for reject in rejects if reject.stage != LEFT_OUT]
    whole = _DigestOfUnits({**common, "rejects": counted})
    shards: dict[str, list[_Shard]] = {split: [] for split in SPLITS}
    filled: dict[str, _DigestOfUnits] = {}
    text_of = _text_of()
    hashes = array("q")
    # In one pass, for there may be millions, and the text of each is wanted twice.
    for place, unit in enumerate(units):
        hashes.append(hash(escaped(unit.pair_id)))
        text = text_of(unit)
        whole.add(text)
        if (there := shards.get(unit.split)) is None:
            continue
        if not there or len(there[-1].places) == pairs_per_shard:
            if there:
                there[-1].digest = filled[unit.split].digest()
            there.append(_Shard(unit.split, len(there)))
            filled[unit.split] = _DigestOfUnits(common)
        there[-1].places.append(place)
        filled[unit.split].add(text)
    for split, digest in filled.items():
        shards[split][-1].digest = digest.digest()
    _check_each_once(units, hashes)
    return Plan(
        dataset=dataset,
        version=version,
        items=PlanItems(units, [shard for split in SPLITS for shard in shards[split]]),
        rejects=tuple(rejects),
        num_units=sum(len(shard.places) for split in SPLITS for shard in shards[split]),
        digest=whole.digest().hex(),
    )


def _check_each_once(units: Iterable[Unit], hashes: "array[int]") -> None:
    """Raise ValueError for a pair_id that appears twice. hashes: of all of them."""
    found, counts = np.unique(np.array(hashes), return_counts=True)
    if len(found) == len(hashes):
        return
    again = set(found[counts > 1].tolist())
    ids = Counter(name for unit in units if hash(name := escaped(unit.pair_id)) in again)
    pair_id, count = max(ids.items(), key=lambda item: item[1])
    if count > 1:
        raise ValueError(f"pair_id {pair_id} appears {count} times in the plan")


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

    def digest(self) -> bytes:
        """Return the digest; nothing can be added any more."""
        self._found.update(b"]}")
        return self._found.digest()


@dataclass(slots=True)
class _Shard:
    """A shard by the places of its units."""

    split: str
    number: int
    """In its split."""
    places: "array[int]" = field(default_factory=lambda: array("q"))
    digest: bytes = b""


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
