"""The plan of a dataset version, and the one task that carries out one item of it.

The plan is a pure function of inputs and configuration: which pair goes to which shard, in which
order. One item is one whole shard, written under a name that the plan gives. What a shard was
made from stands in its own Parquet metadata, so a shard that exists and matches is skipped: that
is all that resuming takes.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dataset.record import PAIR_SCHEMA, SPLITS, Pair, Source, encode_pair
from pipelines.storage import Location

_STATE_KEY = b"k3dn.shard"
_STATISTICS = ["pair_id", "scene_id", "dataset", "split", "height", "width", "bit_depth"]
PLAN = "_plan.json"
"""Names the plan and the code that make a version: the last run to start owns an unfinished one."""


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


class BadInput(ValueError):  # noqa: N818 (it is the input that is at fault)
    """An input that makes no pair; it is recorded and never stops a run."""

    def __init__(
        self, reason: str, *, path: str, stage: str, sources: Sequence[Source] = ()
    ) -> None:
        """reason: one line. path: the file. stage: read, decode, check or render."""
        super().__init__(reason)
        self.reason, self.path, self.stage = reason, path, stage
        self.sources = tuple(sources)


class Producer(Protocol):
    """Makes pairs. Picklable: it travels to the workers."""

    def __call__(self, unit: Any) -> Pair:
        """Make one pair, a pure function of the unit and its input files. Raises BadInput."""
        ...

    def sources(self, unit: Any) -> tuple[Source, ...]:
        """Return the unit's input files as they are now; without decoding them."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What one task did."""

    name: str
    split: str
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    sources: str = ""
    """Digest of the input files' content."""
    rejects: tuple[Reject, ...] = ()
    skipped: bool = False
    """True where the shard was there already and matched."""
    processor: str = ""
    error: tuple[int, str] | None = None
    """(errno, message) of a write that storage refused: disk full, no permission."""
    superseded: bool = False
    """True where a run with another plan has taken the version over."""


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
    Raises ValueError for a pair_id that stands twice.
    """
    ids = [unit.pair_id for unit in units]
    if len(set(ids)) < len(ids):
        twice = sorted({pair_id for pair_id in ids if ids.count(pair_id) > 1})
        raise ValueError(f"pair_id {twice[0]} stands {ids.count(twice[0])} times in the plan")
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
            digest = digest_of({**common, "units": [_as_json(u) for u in part]})
            items.append(
                PlanItem(
                    name=f"split={split}/{number:05d}.parquet",
                    split=split,
                    units=part,
                    digest=digest,
                )
            )
    whole = {
        **common,
        "units": [_as_json(unit) for unit in units],
        "rejects": [asdict(reject) for reject in rejects],
    }
    return Plan(
        dataset=dataset,
        version=version,
        items=tuple(items),
        rejects=tuple(rejects),
        digest=digest_of(whole),
    )


def write_shard(
    version: Location, item: PlanItem, producer: Producer, *, plan_digest: str
) -> ShardResult:
    """Write one shard whole, or find that it is there already.

    A refused write comes back as ``error``, not as an exception, so that the driver can say it
    in one line; whatever was written before stays.
    """
    location = version.child(item.name)
    found = _existing(location, item, producer)
    if found is not None:
        return found
    if not is_building(version, plan_digest):
        return ShardResult(name=item.name, split=item.split, superseded=True)
    data, rows, rejects, sources = _make_shard(item, producer)
    try:
        location.write_bytes(data)
    except OSError as error:
        return ShardResult(
            name=item.name,
            split=item.split,
            error=(error.errno or 0, error.strerror or str(error)),
        )
    return ShardResult(
        name=item.name,
        split=item.split,
        rows=rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        sources=sources,
        rejects=rejects,
        processor=processor_kind(),
    )


def _make_shard(item: PlanItem, producer: Producer) -> tuple[bytes, int, tuple[Reject, ...], str]:
    sink = io.BytesIO()
    rejects: list[Reject] = []
    all_sources: list[tuple[Source, ...]] = []
    rows = 0
    with pq.ParquetWriter(
        sink,
        PAIR_SCHEMA,
        compression="none",  # pictures are compressed already
        use_dictionary=False,
        write_statistics=_STATISTICS,  # else the footer would hold whole pictures as extremes
        write_page_checksum=True,
    ) as writer:
        for unit in item.units:
            try:
                pair = producer(unit)
                row = encode_pair(pair)
            except BadInput as error:
                rejects.append(
                    Reject(
                        pair_id=unit.pair_id,
                        split=unit.split,
                        path=error.path,
                        reason=error.reason,
                        stage=error.stage,
                    )
                )
                all_sources.append(error.sources)
                continue
            all_sources.append(pair.provenance.sources)
            # One row a group: a reader that wants one pair fetches one pair.
            writer.write_table(pa.Table.from_pylist([row], schema=PAIR_SCHEMA), row_group_size=1)
            rows += 1
        sources = _sources_digest(all_sources)
        state = {
            "item": item.digest,
            "sources": sources,
            "rejects": [asdict(reject) for reject in rejects],
        }
        writer.add_key_value_metadata({_STATE_KEY: json.dumps(state, sort_keys=True).encode()})
    return sink.getvalue(), rows, tuple(rejects), sources


def _existing(location: Location, item: PlanItem, producer: Producer) -> ShardResult | None:
    """Return the result of a shard that a former run wrote, if it is what we would write."""
    try:
        data = location.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        metadata = pq.read_metadata(io.BytesIO(data))
        state = json.loads((metadata.metadata or {})[_STATE_KEY])
        # Also proves that what was written is still readable: pages carry checksums.
        pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None
    if state["item"] != item.digest:
        return None
    if state["sources"] != _sources_digest([producer.sources(unit) for unit in item.units]):
        return None
    return ShardResult(
        name=item.name,
        split=item.split,
        rows=metadata.num_rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        sources=state["sources"],
        rejects=tuple(Reject(**reject) for reject in state["rejects"]),
        skipped=True,
        processor=processor_kind(),
    )


def is_building(version: Location, plan_digest: str) -> bool:
    """Tell whether the version under construction still belongs to this plan."""
    return read_claim(version).get("plan") == plan_digest


def read_claim(version: Location) -> dict[str, str]:
    """Return which plan and code a version under construction belongs to; empty where none."""
    try:
        return dict(json.loads(version.child(PLAN).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def processor_kind() -> str:
    """Return the kind of processor, e.g. ``x86_64 Intel Xeon ...``: floats differ between kinds."""
    import platform
    from pathlib import Path

    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{platform.machine()} {model}".strip()


def digest_of(value: object) -> str:
    """Return the sha256 (hex) of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sources_digest(sources: Sequence[Sequence[Source]]) -> str:
    return digest_of([[asdict(source) for source in unit] for unit in sources])


def _as_json(unit: Any) -> dict[str, Any]:
    values: dict[str, Any] = asdict(unit)
    return values
