"""The step ``ingest``: a folder of real dual-pixel pairs becomes a dataset version."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from pipelines.config import settings_of
from pipelines.content.findings import Finding
from pipelines.dataset.images import Pixels, bit_depth_of, decode_as_sensor
from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS, Pair, Provenance, Source
from pipelines.dataset.version import read_manifest
from pipelines.errors import UserError
from pipelines.ingest.compare_pairs import Shown
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.findings import DOUBT, FAULT, NOTE, Row, as_lines, as_parquet, row_of
from pipelines.ingest.layouts import discover
from pipelines.ingest.layouts.files import Discovery, PairFiles
from pipelines.ingest.looking import (
    SetLook,
    look_at_set,
    note_of,
    of_hashes,
    shape_of,
)
from pipelines.ingest.source_files import SourceFiles, checked_source, open_source
from pipelines.making.logged import log_version
from pipelines.making.plan import LEFT_OUT, Plan, Reject, make_plan
from pipelines.making.preview import contact_sheet
from pipelines.making.provenance import code_fingerprint, processor_kind
from pipelines.making.publish import Conclusion, VersionResult, publish
from pipelines.making.shards import BadInput, ShardResult, fault_of_input, reason_of
from pipelines.progress import say
from pipelines.storage import locate

_ROLES = ("left", "right", "target", "combined", "target_right")
_CODE = (
    *("pipelines.dataset", "pipelines.making", "pipelines.ingest", "pipelines.content"),
    "synth.pictures",
)
_SHEET = 6
"""Pairs on the sheet of a dry run."""
# Exif's Orientation to the counter-clockwise turn that takes what a viewer shows to what the sensor
# saw, whose parallax is horizontal.
_TURNED = {1: 0, 3: 180, 6: 90, 8: 270}


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPairs:
    """Reads real pairs from their files."""

    source: SourceFiles
    dataset: str
    layout: str
    check: bool = True
    """Look from afar at each pair that is made."""
    turned: tuple[str, ...] = ()
    """Shapes whose pictures have vertical parallax: portrait, landscape, square."""

    def __call__(self, unit: PairFiles) -> Pair:
        """Read, decode and check one pair. Raises BadInput."""
        if unit.fault:
            raise BadInput(
                unit.fault, path=unit.left[0], stage="content", sources=self.sources(unit)
            )
        pair = self.as_stored(unit)
        vertical = unit.turned
        if vertical is None:
            vertical = shape_of(*pair.left.shape[:2]) in self.turned
        return _turned(pair) if vertical else pair

    def as_stored(self, unit: PairFiles) -> Pair:
        """Read, decode and check one pair, whatever its parallax. Raises BadInput."""
        sources: list[Source] = []
        pictures: dict[str, Pixels] = {}
        turns: dict[str, int] = {}
        bad: BadInput | None = None
        for role, path in _files(unit):
            try:
                data = self.source.read(path)
            except OSError as error:
                if not fault_of_input(error):
                    raise
                sources.append(Source(role=role, file=path, sha256=""))
                bad = bad or BadInput(reason_of(error), path=path, stage="read")
                continue
            sources.append(checked_source(role, path, data))
            try:
                pictures[role], turns[role] = decode_as_sensor(data, where=path)
            except ValueError as error:
                reason = str(error).removeprefix(f"{path}: ")
                bad = bad or BadInput(reason, path=path, stage="decode")
        try:
            if bad is not None:
                raise bad
            if len(set(turns.values())) > 1:
                named = ", ".join(f"{role} {turn}" for role, turn in turns.items())
                raise BadInput(
                    f"pictures of one pair are turned differently (Orientation: {named})",
                    path=unit.left[0],
                    stage="check",
                )
            if np.array_equal(pictures["left"], pictures["right"]):
                raise BadInput(
                    "left and right are the same picture", path=unit.right[0], stage="check"
                )
            if (second := pictures.get("target_right")) is not None:
                pictures["target"] = _mean(pictures["target"], second)
            return Pair(
                pair_id=unit.pair_id,
                scene_id=unit.scene_id,
                dataset=self.dataset,
                split=unit.split,
                left=pictures["left"],
                right=pictures["right"],
                target=pictures.get("target"),
                combined=pictures.get("combined"),
                provenance=Provenance(
                    sources=tuple(sources),
                    layout=self.layout,
                    turned_degrees=_TURNED[turns["left"]],
                ),
            )
        except BadInput as error:
            error.sources = tuple(sources)
            raise
        except ValueError as error:
            raise BadInput(str(error), path=unit.left[0], stage="check", sources=sources) from error

    def note(self, pair: Pair) -> dict[str, Any] | None:
        """Return what shows from afar of a pair. Raises BadInput for what makes no pair."""
        return note_of(pair) if self.check else None

    def processor(self) -> str:
        """Pictures are copied, not computed; the manifest names the machine all the same."""
        return processor_kind()

    def sources(self, unit: PairFiles) -> tuple[Source, ...]:
        """Return the files of the pair with their checksums, '' for one that cannot be read."""
        return tuple(self.source.source(role, path) for role, path in _files(unit))


def run(config: IngestConfig) -> VersionResult:
    """Make the dataset version and log it to MLflow. Raises UserError."""
    result = make(config)
    log_version(config, result)
    return result


def make(config: IngestConfig) -> VersionResult:
    """Make the dataset version, or find it there. Raises UserError."""
    root = locate(config.root)
    source, (_, size), layout, found = _discovered(config)
    left_out = [reject for reject in found.rejects if reject.stage == LEFT_OUT]
    for line in _by_reason(left_out):
        say(f"{config.dataset}: left out, {line}")
    code = code_fingerprint(_CODE)
    producer = RealPairs(
        source=source, dataset=config.dataset, layout=layout, check=config.check != "none"
    )

    def plan_of(units: Sequence[PairFiles], turned: tuple[str, ...] = ()) -> Plan:
        return make_plan(
            dataset=config.dataset,
            version=config.version,
            units=units,
            rejects=found.rejects,
            content_config={"layout": layout, "check": config.check, "turned": turned},
            pairs_per_shard=config.pairs_per_shard,
        )

    # What decides a version are the files and the settings; what a look at the pictures comes to
    # follows from them, so one that is published is not looked at again.
    plan = plan_of(found.pairs)
    manifest = read_manifest(root.child(config.dataset, config.version))
    seen: SetLook | None = None
    if config.check != "none" and found.pairs and manifest is None:
        seen = look_at_set(
            found.pairs,
            producer.as_stored,
            everything=config.check == "all",
            ray_address=config.ray_address,
        )
        for line in as_lines(seen.rows):
            say(f"{config.dataset}: {line}")
        if config.sheet is not None:
            say(_write_sheet(config.sheet, replace(producer, turned=seen.turned), seen))
        _refuse_too_many(config, found, seen)
        producer = replace(producer, turned=seen.turned)
        plan = replace(plan_of(seen.units, seen.turned), digest=plan.digest)
    settings = settings_of(config)
    del settings["sheet"]
    return publish(
        plan,
        root,
        producer,
        config=settings | {"layout": layout, "source": source.url},
        code=code,
        max_rejected=config.max_rejected,
        move_latest=config.set_latest,
        ray_address=config.ray_address,
        read_inputs=source.is_cheap(size),
        conclude=None if seen is None else partial(_conclusion, seen, config.ray_address),
    )


def _refuse_too_many(config: IngestConfig, found: Discovery, seen: SetLook) -> None:
    """Raise UserError where what was seen allows no version; nothing is written then."""
    rejects = [reject for reject in found.rejects if reject.stage != LEFT_OUT]
    total, lost = len(found.pairs) + len(rejects), seen.faulty + len(rejects)
    if lost <= config.max_rejected * total:
        return
    faults = [row for row in seen.rows if row.severity == FAULT]
    reasons = Counter([*(row.text for row in faults), *(reject.reason for reject in rejects)])
    reason, count = reasons.most_common(1)[0]
    example = next((row.pair_id for row in faults if row.text == reason), "")
    example = example or next(r.path for r in rejects if r.reason == reason)
    raise UserError(
        f"{lost} of {total} inputs were rejected, more than max_rejected={config.max_rejected:g} "
        f"allows; most often: {reason} ({count} times, e.g. {escaped(example)}); nothing was "
        "written"
    )


def _conclusion(
    seen: SetLook, ray_address: str | None, results: Sequence[ShardResult]
) -> Conclusion:
    """Put together what was seen beforehand and what the tasks noted of every pair."""
    notes = [note for result in results for note in result.notes]
    rows = list(seen.rows)
    looked = {pair.pair_id: pair for pair in seen.shown}
    shown = list(seen.shown)
    for note in notes:
        pair_id, split = note["pair_id"], note["split"]
        rows += [row_of(pair_id, split, Finding(*found)) for found in note["found"]]
        if pair_id not in looked:
            shown.append(Shown(pair_id, split, -1, note["hash"], None))
    told = {row.pair_id for row in rows if row.severity == FAULT}
    rows += [
        Row(reject.pair_id, reject.split, FAULT, reject.stage, reject.reason)
        for result in results
        for reject in result.rejects
        if reject.pair_id not in told
    ]
    rows = of_hashes(rows, shown, ray_address=ray_address)
    alone = [row for row in rows if row.pair_id and row.severity != NOTE]
    faults = {row.pair_id: row.text for row in reversed(alone) if row.severity == FAULT}
    doubts = {row.pair_id: f"doubtful: {row.text}" for row in alone if row.severity == DOUBT}
    return Conclusion(
        table=as_parquet(rows),
        count=len(alone),
        doubts={name: text for name, text in doubts.items() if name not in faults},
        faults=[f"{name}: {text}" for name, text in faults.items()],
    )


def look(config: IngestConfig) -> list[str]:
    """Return what the names say and three examples, for the dry run; a mistake is a line, too."""
    try:
        source, (files, _), layout, found = _discovered(config)
    except UserError as error:
        return [f"stop: {error}"]
    rejects = [reject for reject in found.rejects if reject.stage != LEFT_OUT]
    counts: Counter[str] = Counter()
    with_target = 0
    for pair in found.pairs:
        counts[pair.split] += 1
        with_target += pair.target is not None
    splits = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    lines = [
        f"layout {layout}: {splits or 'no'} pairs, {with_target} with a target, of {files} "
        f"files; {len(rejects)} inputs rejected, {len(found.rejects) - len(rejects)} left out"
    ]
    for split, offsets in found.offsets.items():
        shares = ", ".join(f"{offset:+d} ({count})" for offset, count in sorted(offsets.items()))
        lines.append(f"{split}: target number minus source number: {shares}")
    producer = RealPairs(source=source, dataset=config.dataset, layout=layout)
    if config.check != "none" and found.pairs:
        read = producer.as_stored
        everything, address = config.check == "all", config.ray_address
        seen = look_at_set(found.pairs, read, everything=everything, ray_address=address)
        lines += as_lines(seen.rows)
        if config.sheet is not None:
            lines.append(_write_sheet(config.sheet, replace(producer, turned=seen.turned), seen))
    elif config.sheet is not None:
        lines.append(f"no sheet at {config.sheet}: check=none looks at no pictures")
    lines += [f"rejected or left out, {line}" for line in _by_reason(found.rejects)]
    step = max(1, len(found.pairs) // 3)
    for pair in found.pairs[::step][:3]:
        named = [f"{role} {escaped(path)} ({_form(source, path)})" for role, path in _files(pair)]
        lines.append(f"e.g. {pair.split} {pair.pair_id}: {', '.join(named)}")
    return lines


def _by_reason(rejects: Sequence[Reject]) -> list[str]:
    """Return the most frequent reasons with their counts and an example."""
    first: dict[str, str] = {}
    for reject in rejects:
        first.setdefault(reject.reason, reject.path)
    counts = Counter(reject.reason for reject in rejects).most_common(5)
    return [f"{count}: {reason}, e.g. {escaped(first[reason])}" for reason, count in counts]


def _write_sheet(name: str, producer: RealPairs, seen: SetLook) -> str:
    """Write the contact sheet of a few pairs, doubtful and faulty ones first; return what it is.

    Raises UserError where it cannot be written.
    """
    found = {row.pair_id: row for row in reversed(seen.rows) if row.severity in (DOUBT, FAULT)}
    told = np.array([unit.pair_id in found for unit in seen.units])
    order = np.concatenate([np.flatnonzero(told), np.flatnonzero(~told)])
    spread = [*order[: _SHEET // 2], *order[_SHEET // 2 :: max(1, len(order) // _SHEET)]]
    pairs: list[Pair] = []
    for unit in (seen.units[int(place)] for place in dict.fromkeys(spread)):
        try:
            pairs.append(producer(replace(unit, fault="")))
        except BadInput:
            continue
        if len(pairs) == _SHEET:
            break
    words = {DOUBT: "doubtful", FAULT: "rejected"}
    marks = {name: f"{words[row.severity]}: {row.text}" for name, row in found.items()}
    file = locate(name)
    file.check_writable()
    file.write_bytes(contact_sheet(pairs, marks))
    return f"sheet of {len(pairs)} pairs: {file}"


def _form(source: SourceFiles, path: str) -> str:
    try:
        picture, orientation = decode_as_sensor(source.read(path), where=path)
    except (OSError, ValueError) as error:
        return escaped(str(error).removeprefix(f"{path}: "))
    height, width = picture.shape[:2]
    turned = "" if orientation == 1 else f", Orientation {orientation}"
    return f"{width} x {height}, {bit_depth_of(picture)} bit{turned}"


def _discovered(
    config: IngestConfig,
) -> tuple[SourceFiles, tuple[int, int], str, Discovery]:
    """Return the source, how many files and bytes there are, the layout, and what it found."""
    source = open_source(config.source)
    files = source.walk()
    layout, found = discover(
        files,
        layout=config.layout,
        source=source.url,
        offsets=config.offsets,
        fractions={"val_fraction": config.val_fraction, "test_fraction": config.test_fraction},
        patterns=config.patterns(),
    )
    return source, (len(files), sum(files.sizes)), layout, found


def _turned(pair: Pair) -> Pair:
    """Return a pair whose pictures are turned by 90 degrees, counter-clockwise."""

    def turn(picture: Pixels) -> Pixels:
        return cast(Pixels, np.ascontiguousarray(np.rot90(picture)))

    origin = pair.provenance
    return replace(
        pair,
        left=turn(pair.left),
        right=turn(pair.right),
        target=None if pair.target is None else turn(pair.target),
        combined=None if pair.combined is None else turn(pair.combined),
        provenance=replace(origin, turned_degrees=(origin.turned_degrees + 90) % 360),
    )


def _mean(a: Pixels, b: Pixels) -> Pixels:
    """Return the mean of two views, rounded half up. Raises ValueError where they do not fit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError("the two views of the target have other sizes or depths")
    return cast(Pixels, ((a.astype(np.uint32) + b + 1) // 2).astype(a.dtype))


def _files(unit: PairFiles) -> list[tuple[str, str]]:
    return [(role, entry[0]) for role in _ROLES if (entry := getattr(unit, role)) is not None]
