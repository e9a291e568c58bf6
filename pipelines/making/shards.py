"""The task that carries out one item of a plan: one whole shard, under the name the plan gives.

What a shard was made from stands in its own Parquet metadata, so a shard that exists and matches
is skipped: that is all that resuming takes.
"""

import errno
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dataset.record import Pair, Source
from pipelines.dataset.shard import ShardWriter
from pipelines.making.plan import PlanItem, Reject, digest_of
from pipelines.storage import Location

_STATE_KEY = b"k3dn.shard"
_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_THE_NETWORK = (ConnectionError, TimeoutError)
CHEAP_BYTES = 4 << 30
"""Local files of so much in all are read again without thinking twice: in seconds."""
PLAN = "_plan.json"
"""Names the plan and the code that make a version: the last run to start owns an unfinished one."""
Claim = Mapping[str, str]
"""What stands in that file: ``plan`` (digest) and ``code`` (fingerprint)."""


class BadInput(ValueError):
    """An input that makes no pair; it is recorded and never stops a run."""

    def __init__(
        self, reason: str, *, path: str, stage: str, sources: Sequence[Source] = ()
    ) -> None:
        """reason: one line. path: the file. stage: read, decode, check or render."""
        super().__init__(reason)
        self.reason, self.path, self.stage = reason, path, stage
        self.sources = tuple(sources)


def fault_of_input(error: Exception) -> bool:
    """Tell whether an error while a pair is read or made is its input's, not the machine's."""
    import cv2

    if isinstance(error, OSError):
        return error.errno not in _THE_MACHINE and not isinstance(error, _THE_NETWORK)
    return isinstance(error, ValueError | cv2.error)


def reason_of(error: Exception) -> str:
    """Return what goes into the table of rejects: one line, without the path."""
    if isinstance(error, FileNotFoundError):
        return "the file is gone"
    if isinstance(error, OSError):
        return f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def file_source(role: str, name: str, file: Location) -> Source:
    """Return a file with its checksum, '' for one that is gone or cannot be read."""
    try:
        digest = file.sha256()
    except OSError as error:
        if not fault_of_input(error):
            raise
        digest = ""
    return Source(role=role, file=name, sha256=digest)


class Producer(Protocol):
    """Makes pairs. Picklable: it travels to the workers."""

    def __call__(self, unit: Any) -> Pair:
        """Make one pair, a pure function of the unit and its input files. Raises BadInput."""
        ...

    def sources(self, unit: Any) -> tuple[Source, ...]:
        """Return the unit's input files as they are now; without decoding them."""
        ...

    def note(self, pair: Pair) -> Mapping[str, Any] | None:
        """Return what is to be told of a pair beside its row, JSON-able; None for nothing.

        A pure function of the pair. Raises BadInput.
        """
        ...

    def processor(self) -> str:
        """Return the kind of processor that pairs are made on: floats differ between kinds."""
        ...


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
    notes: tuple[Mapping[str, Any], ...] = ()
    """What the producer noted of its pairs."""
    skipped: bool = False
    """True where the shard was there already and matched."""
    processor: str = ""
    error: tuple[int, str] | None = None
    """(errno, message) of a write that storage refused: disk full, no permission."""
    superseded: bool = False
    """True where a run with another plan has taken the version over."""


def write_shard(
    version: Location, item: PlanItem, producer: Producer, *, claim: Claim
) -> ShardResult:
    """Write one shard whole, or find that it is there already.

    claim: what the run wrote before it started; while another stands there nothing is written.
    A refused write comes back as ``error``, not as an exception, so that the driver can say it
    in one line; whatever was written before stays.
    """
    location = version.child(item.name)
    found = _existing(location, item, producer, claim)
    if found is not None:
        return found
    superseded = ShardResult(name=item.name, split=item.split, superseded=True)
    if not is_building(version, claim):
        return superseded
    data, rows, rejects, sources, notes = _make_shard(item, producer, claim)
    if not is_building(version, claim):  # making it took a while
        return superseded
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
        notes=notes,
        processor=producer.processor(),
    )


def _make_shard(
    item: PlanItem, producer: Producer, claim: Claim
) -> tuple[bytes, int, tuple[Reject, ...], str, tuple[Mapping[str, Any], ...]]:
    sink = io.BytesIO()
    rejects: list[Reject] = []
    notes: list[Mapping[str, Any]] = []
    all_sources: list[tuple[Source, ...]] = []
    rows = 0
    with ShardWriter(sink) as writer:
        for unit in item.units:
            try:
                pair = producer(unit)
                note = producer.note(pair)
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
            if note is not None:
                notes.append(note)
            writer.write(pair)
            rows += 1
        sources = _sources_digest(all_sources)
        state = {
            "item": item.digest,
            "code": claim.get("code", ""),
            "processor": producer.processor(),
            "sources": sources,
            "rejects": [asdict(reject) for reject in rejects],
        }
        if notes:
            state["notes"] = notes
        writer.add_metadata(_STATE_KEY, json.dumps(state, sort_keys=True).encode())
    return sink.getvalue(), rows, tuple(rejects), sources, tuple(notes)


def _existing(
    location: Location, item: PlanItem, producer: Producer, claim: Claim
) -> ShardResult | None:
    """Return the result of a shard that a former run wrote, if it is what we would write."""
    try:
        data = location.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None  # and what is in the way, writing it will say
    try:
        metadata = pq.read_metadata(io.BytesIO(data))
        state = json.loads((metadata.metadata or {})[_STATE_KEY])
        # Also proves that what was written is still readable: pages carry checksums.
        pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None
    # A version is of one kind of processor, and of one code.
    code, processor = claim.get("code", ""), producer.processor()
    ours = {"item": item.digest, "code": code, "processor": processor}
    if any(state.get(key) != value for key, value in ours.items()):
        return None
    if state["sources"] != sources_of(item, producer):
        return None
    return ShardResult(
        name=item.name,
        split=item.split,
        rows=metadata.num_rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        sources=state["sources"],
        rejects=tuple(Reject(**reject) for reject in state["rejects"]),
        notes=tuple(state.get("notes", ())),
        skipped=True,
        processor=state["processor"],
    )


def is_building(version: Location, claim: Claim) -> bool:
    """Tell whether the version under construction still belongs to this plan and code."""
    return read_claim(version) == dict(claim)


def sources_of(item: PlanItem, producer: Producer) -> str:
    """Return the digest of a shard's input files as they are now."""
    return _sources_digest([producer.sources(unit) for unit in item.units])


def read_claim(version: Location) -> dict[str, str]:
    """Return which plan and code a version under construction belongs to; empty where none."""
    try:
        return dict(json.loads(version.child(PLAN).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _sources_digest(sources: Sequence[Sequence[Source]]) -> str:
    return digest_of([[asdict(source) for source in unit] for unit in sources])
