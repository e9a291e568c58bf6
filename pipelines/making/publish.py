"""Make a version from its plan and publish it: all shards first, the manifest last.

Killed at any moment, the same command goes on: shards that are there are skipped, and nothing
that a reader can open is ever half there.
"""

import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS, Pair
from pipelines.dataset.version import (
    MANIFEST,
    PREVIEW,
    SCHEMA_VERSION,
    DatasetVersion,
    check_name,
    open_version,
    read_manifest,
    set_latest,
)
from pipelines.errors import BusyError, UserError
from pipelines.making.plan import LEFT_OUT, Plan, Reject, digest_of
from pipelines.making.preview import contact_sheet
from pipelines.making.provenance import describe_code
from pipelines.making.run_plan import run_plan
from pipelines.making.shards import (
    CHEAP_BYTES,
    PLAN,
    Claim,
    Producer,
    ShardResult,
    is_building,
    sources_of,
)
from pipelines.next_steps import command
from pipelines.storage import Location

REJECTED = "_rejected.parquet"
FINDINGS = "_findings.parquet"
_PREVIEW_PAIRS = 6
_LEFTOVER_AGE_S = 3600.0
_REJECT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("pair_id", "split", "path", "reason", "stage")]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What a look at the pairs of a version came to."""

    table: bytes
    """Content of ``_findings.parquet``."""
    count: int
    """Findings about single pairs, faults and doubts."""
    doubts: Mapping[str, str]
    """By pair_id what is doubtful about a pair that is in the version, for the contact sheet."""
    faults: Sequence[str]
    """Pairs that are not in it and why, a line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionResult:
    """What ingest, synth and regenerate return."""

    dataset: str
    version: str
    location: str
    digest: str
    rows: dict[str, int]
    """Pairs by split."""
    rejected: int
    findings: int = 0
    """Things that were found about pairs by looking at their pictures."""
    bytes: int
    seconds: float
    existed: bool
    """True where the version was published before and nothing had to be done."""
    inputs_read: bool = True
    """False where the inputs of a version that existed were compared by name and size only."""
    latest: bool
    """True where 'latest' points to it now."""
    root: str

    def describe(self) -> str:
        """Return the text for a human."""
        splits = ", ".join(f"{count} {split}" for split, count in self.rows.items())
        lines = [
            f"{self.dataset}@{self.version}: {splits} pairs, {self.bytes / 1e6:.1f} MB"
            + (self._existed() if self.existed else f", made in {self.seconds:.1f} s")
        ]
        if self.rejected:
            lines.append(f"{self.rejected} inputs rejected; reasons: {self.location}/{REJECTED}")
        if self.findings:
            lines.append(f"{self.findings} findings about pairs: {self.location}/{FINDINGS}")
        lines.append(f"contact sheet: {self.location}/{PREVIEW}")
        lines.append(f"dataset version: {self.location}")
        return "\n".join(lines)

    def _existed(self) -> str:
        how = "" if self.inputs_read else "; its inputs were compared by name and size only"
        return f" (was there already{how})"

    def next_steps(self) -> list[str]:
        """Return command lines that one may run next."""
        reference = f"{self.dataset}@{self.version}"
        return [
            command("datasets", name=reference),
            command("train", datasets=reference),
        ]


def publish(
    plan: Plan,
    root: Location,
    producer: Producer,
    *,
    config: Mapping[str, Any],
    code: str,
    max_rejected: float,
    inputs: int | None = None,
    move_latest: bool,
    ray_address: str | None,
    read_inputs: bool = True,
    device: str = "cpu",
    conclude: Callable[[Sequence[ShardResult]], Conclusion] | None = None,
) -> VersionResult:
    """Make the version that the plan describes, or find it there, and return where it is.

    config: resolved configuration, for the manifest. max_rejected: largest share, 0 to 1, of
    planned pairs that cannot be made and of inputs that discovery finds unusable, together. inputs:
    how many there are to discover; None: each planned pair is one.
    read_inputs: compare the inputs' content with that of a version that exists.
    device: torch's name of what pairs are made on.
    conclude: what was found about the pairs, from what the tasks noted.
    Raises UserError: the version exists and is another one, too many rejects, another run took
    the version over. Raises OSError where storage refuses a write; what was written stays.
    """
    started_s = time.monotonic()
    check_name(plan.dataset, what="dataset")
    check_name(plan.version, what="version")
    version = root.child(plan.dataset, plan.version)
    claim = {"plan": plan.digest, "code": code}
    existed = _published_already(version, plan, config)
    if not existed:
        if plan.num_units == 0:
            raise UserError(_nothing_to_do(plan))
        # Nothing is deleted: shards of other settings or code do not match and are written over.
        version.child(PLAN).write_bytes(json.dumps(claim).encode() + b"\n")
        # A run that is ending publishes and then looks at the claim; we claim and then look
        # whether it has published. So at least one of the two sees the other and gives way.
        existed = _published_already(version, plan, config)
    if not existed:
        results = run_plan(plan, version, producer, ray_address, claim=claim, device=device)
        _check_ours(version, claim)
        failed = [reject for result in results for reject in result.rejects]
        rejects = _each_once([*plan.rejects, *failed])
        rejected_data = _rejects_file(rejects)
        version.child(REJECTED).write_bytes(rejected_data)
        found = [reject for reject in plan.rejects if reject.stage != LEFT_OUT]
        if inputs is None:
            lost = [(len(found) + len(failed), plan.num_units + len(found), "inputs")]
        else:
            lost = [(len(found), inputs, "inputs"), (len(failed), plan.num_units, "pairs")]
        if sum(count / total for count, total, _ in lost) > max_rejected:
            named = [f"{count} of {total} {what}" for count, total, what in lost if count]
            counts = " and ".join(named)
            raise UserError(_too_many([*found, *failed], counts, max_rejected, version))
        found_out = None if conclude is None else conclude(results)
        _finish(plan, version, results, rejects, rejected_data, config, claim, device, found_out)
    elif read_inputs:
        _check_inputs(version, plan, producer)
    version.remove_leftovers(older_than_s=_LEFTOVER_AGE_S)
    if move_latest:
        set_latest(root, plan.dataset, plan.version)
    opened = open_version(root, f"{plan.dataset}@{plan.version}")
    return VersionResult(
        dataset=plan.dataset,
        version=plan.version,
        location=version.url,
        digest=opened.digest,
        rows={split: opened.rows(split) for split in SPLITS if opened.rows(split)},
        rejected=opened.manifest["rejected"],
        findings=opened.manifest.get("findings", 0),
        bytes=opened.manifest["bytes"],
        seconds=round(time.monotonic() - started_s, 3),
        existed=existed,
        inputs_read=read_inputs or not existed,
        latest=move_latest,
        root=root.url,
    )


def _published_already(version: Location, plan: Plan, config: Mapping[str, Any]) -> bool:
    manifest = read_manifest(version)
    if manifest is None:
        return False
    if manifest["plan"] == plan.digest:
        return True
    then = manifest["config"]
    changed = [key for key in config if config[key] != then.get(key)]
    what = ", ".join(f"{key} was {then.get(key)}, is {config[key]}" for key in changed[:3])
    raise UserError(
        f"{plan.dataset}@{plan.version} at {version} is published and was made from other input "
        f"or settings ({what or 'the input files differ'}); a version never changes: "
        "give another one, e.g. version=v2"
    )


def cheap_to_read(*folders: Location | None) -> bool:
    """Tell whether all files of the folders can be read again without thinking twice."""
    if any(folder is not None and folder.local_path() is None for folder in folders):
        return False
    return sum(sum(f.walk().values()) for f in folders if f is not None) <= CHEAP_BYTES


def _check_inputs(version: Location, plan: Plan, producer: Producer) -> None:
    """Raise UserError where an input was replaced by one of the same name and size."""
    manifest = read_manifest(version)
    now = digest_of([sources_of(item, producer) for item in plan.items])
    if manifest is not None and manifest["inputs"] != now:
        raise UserError(
            f"{plan.dataset}@{plan.version} at {version} is published and the content of its "
            "input files has changed since; a version never changes: give another one, "
            "e.g. version=v2"
        )


def _check_ours(version: Location, claim: Claim) -> None:
    if not is_building(version, claim):
        raise BusyError(
            f"another run with other settings or code took {version} over; "
            "run again with another version, e.g. version=v2"
        )


def _finish(
    plan: Plan,
    version: Location,
    results: list[ShardResult],
    rejects: list[Reject],
    rejected_data: bytes,
    config: Mapping[str, Any],
    claim: Claim,
    device: str,
    found_out: Conclusion | None,
) -> None:
    shards = [
        {"name": r.name, "split": r.split, "rows": r.rows, "bytes": r.bytes, "sha256": r.sha256}
        for r in results
    ]
    manifest: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "dataset": plan.dataset,
        "version": plan.version,
        "digest": digest_of(shards),
        "rows": {split: sum(r.rows for r in results if r.split == split) for split in SPLITS},
        "bytes": sum(r.bytes for r in results),
        "rejected": sum(reject.stage != LEFT_OUT for reject in rejects),
        "shards": shards,
        "files": [],
        "config": dict(config),
        "plan": plan.digest,
        "inputs": digest_of([result.sources for result in results]),
        "code": describe_code(claim["code"]),
        **({} if found_out is None else {"findings": found_out.count}),
        "device": device,
        "processors": sorted({result.processor for result in results}),
        "created_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    opened = DatasetVersion(
        name=plan.dataset, version=plan.version, location=version, manifest=manifest
    )
    try:
        doubts = {} if found_out is None else found_out.doubts
        faults = () if found_out is None else found_out.faults
        sheet = contact_sheet(_preview_pairs(opened, doubts), doubts, faults)
    except FileNotFoundError:
        raise UserError(_gone(version, "a shard")) from None
    _check_ours(version, claim)
    version.child(PREVIEW).write_bytes(sheet)
    files = {REJECTED: rejected_data, PREVIEW: sheet}
    if found_out is not None:
        version.child(FINDINGS).write_bytes(found_out.table)
        files[FINDINGS] = found_out.table
    manifest["files"] = [
        {"name": name, "bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()
    ]
    there = version.walk()
    for entry in (*shards, *manifest["files"]):
        if there.get(entry["name"]) != entry["bytes"]:
            raise UserError(_gone(version, entry["name"]))
    _check_ours(version, claim)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    # If-absent: a twin of this run may have published the same version a moment ago.
    wrote = version.child(MANIFEST).put_if_absent(text.encode())
    if wrote and not is_building(version, claim):
        # Whoever claimed it may not have seen the manifest, and be writing over our shards.
        version.child(MANIFEST).delete()
        _check_ours(version, claim)
    published = read_manifest(version)
    if published is None or published["digest"] != manifest["digest"]:
        raise UserError(f"{opened.reference} was published by another run with other content")
    # From here on nobody else writes: who claims it now sees the manifest.
    _remove_strangers(version, {result.name for result in results})


def _preview_pairs(version: DatasetVersion, doubts: Mapping[str, str]) -> list[Pair]:
    """The first pairs of each split, and the first ones that something was found about."""
    pairs, doubtful = [], []
    for split in SPLITS:
        count = min(version.rows(split), _PREVIEW_PAIRS // len(SPLITS))
        pairs += [version.read_pair(split, index) for index in range(count)]
        names = version.pair_ids(split) if doubts else []
        found = [index for index, name in enumerate(names) if name in doubts and index >= count]
        doubtful += [(split, index) for index in found[:_PREVIEW_PAIRS]]
    return pairs + [version.read_pair(*place) for place in doubtful[: _PREVIEW_PAIRS // 2]]


def _remove_strangers(version: Location, named: set[str]) -> None:
    """Delete shards that an unfinished run with another plan left behind."""
    for name in version.walk():
        if name.startswith("split=") and name not in named:
            version.child(name).delete()


def _each_once(rejects: list[Reject]) -> list[Reject]:
    """Return one reject for each file and reason: a picture may be that of many pairs."""
    ordered = sorted(rejects, key=lambda reject: (reject.split, reject.pair_id, reject.path))
    first = {(reject.path, reject.reason): reject for reject in reversed(ordered)}
    return [reject for reject in ordered if first[reject.path, reject.reason] is reject]


def _rejects_file(rejects: list[Reject]) -> bytes:
    sink = io.BytesIO()
    rows = [{key: escaped(text) for key, text in asdict(reject).items()} for reject in rejects]
    table = pa.Table.from_pylist(rows, schema=_REJECT_SCHEMA)
    pq.write_table(table, sink)
    return sink.getvalue()


def _gone(version: Location, name: str) -> str:
    return (
        f"{version}: {name} is not what this run wrote, another run is probably writing it; "
        "run again, or give another version, e.g. version=v2"
    )


def _too_many(rejects: list[Reject], counts: str, allowed: float, version: Location) -> str:
    reason, count = Counter(reject.reason for reject in rejects).most_common(1)[0]
    example = escaped(next(reject.path for reject in rejects if reject.reason == reason))
    return (
        f"{counts} were rejected, more than max_rejected={allowed:g} "
        f"allows; most often: {reason} ({count} times, e.g. {example}); all reasons: "
        f"{version}/{REJECTED}; nothing was published"
    )


def _nothing_to_do(plan: Plan) -> str:
    rejects = [reject for reject in plan.rejects if reject.stage != LEFT_OUT]
    if rejects:
        first = rejects[0]
        return (
            f"no usable pair among {len(rejects)} inputs; the first: {escaped(first.path)}: "
            f"{first.reason}"
        )
    return f"there is nothing to make {plan.dataset}@{plan.version} from"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
