"""A look at the pictures of a set before anything is written: what pairs show, and what follows.

Pairs with a fault are marked, so that the making rejects them; those with vertical parallax are
marked to be turned. Where a sample shows a fault, or parallax along both axes, all pairs are looked
at. A pair that was being looked at when an earlier command died is looked at in a process of its
own, and is bad if that dies as well.
"""

import os
import pickle
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipelines.content.findings import Finding
from pipelines.content.look import Look, look_at_pair
from pipelines.dataset.images import bit_depth_of
from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS, Pair
from pipelines.ingest.compare_pairs import Shown, in_two_splits, others_targets
from pipelines.ingest.findings import DOUBT, FAULT, NOTE, Row, each_once, row_of
from pipelines.ingest.layouts.files import PairFiles
from pipelines.ingest.layouts.pairs import Marked
from pipelines.making.deaths import counted, in_own_process
from pipelines.making.shards import BadInput
from pipelines.progress import progress, say

SAMPLE = 64
"""Pairs of a sample; smaller sets are looked at as a whole."""
_RUN = 4
"""Neighbours that are looked at together: a target may be the next one's."""
_CLEAR = 0.3
_FEWEST_SIGNS = 8
_MOST_SIGNS = 0.8
_KEPT = 10_000
"""Pairs whose signatures are kept to be compared; some 20 kB each."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one pair."""

    unit: PairFiles
    look: Look | None = None
    """None where there is nothing to look at."""
    shape: tuple[int, int] = (0, 0)
    """Height and width, as stored."""
    bits: int = 0
    bad: tuple[str, str] | None = None
    """Reason and stage where the files make no pair."""


@dataclass(frozen=True, slots=True)
class SetLook:
    """What a look at a set came to."""

    units: Sequence[PairFiles]
    """All pairs of the set; those with a fault, and those to be turned, are marked."""
    turned: tuple[str, ...]
    """Shapes, as ``shape_of`` names them, whose pictures are turned where a pair is not marked."""
    rows: tuple[Row, ...]
    """Findings."""
    looked: int
    """How many pairs were looked at."""
    shown: tuple[Shown, ...]
    """What those show, for comparison."""

    @property
    def faulty(self) -> int:
        """How many pairs make none, for what they show or because their files are bad."""
        return len({row.pair_id for row in self.rows if row.severity == FAULT})


Reader = Callable[[PairFiles], Pair]


def shape_of(height: int, width: int) -> str:
    """Return portrait, landscape or square."""
    return "square" if height == width else "portrait" if height > width else "landscape"


def sample_of(pairs: Sequence[PairFiles]) -> list[int]:
    """Return which pairs are looked at: runs of neighbours, spread evenly over each split."""
    if len(pairs) <= SAMPLE:
        return list(range(len(pairs)))
    chosen: set[int] = set()
    by_split: dict[str, array[int]] = {split: array("q") for split in SPLITS}
    for index, pair in enumerate(pairs):
        by_split[pair.split].append(index)
    for places in by_split.values():
        runs = max(1, round(SAMPLE / _RUN * len(places) / len(pairs)))
        for number in range(runs):
            start = round(number * max(len(places) - _RUN, 0) / max(runs - 1, 1))
            chosen.update(places[start : start + _RUN])
    return sorted(chosen)


def look_at_one(unit: PairFiles, read: Reader) -> Seen:
    """Read and look at one pair; files that are bad are a finding, or that end the process."""
    with counted(f"look {read!r} {unit!r}") as deaths:
        if not deaths:
            return _look(unit, read)
        found, how = in_own_process(partial(_look_pickled, unit, read))
    if found is None:
        return Seen(unit, bad=(f"reading it ends the process ({how})", "crash"))
    seen: Seen = pickle.loads(found)
    return seen


def _look_pickled(unit: PairFiles, read: Reader) -> bytes:
    return pickle.dumps(_look(unit, read))


def _look(unit: PairFiles, read: Reader) -> Seen:
    try:
        pair = read(unit)
    except BadInput as error:
        return Seen(unit, bad=(error.reason, error.stage))
    look = look_at_pair(pair.left, pair.right, pair.target, combined=pair.combined)
    height, width = pair.left.shape[:2]
    return Seen(unit, look, (height, width), bit_depth_of(pair.left))


def look_at_set(
    pairs: Sequence[PairFiles],
    read: Reader,
    *,
    everything: bool,
    ray_address: str | None = None,
) -> SetLook:
    """Look at a sample of the pairs, or at all.

    everything: all of them. ray_address: of the cluster that compares very many.
    """
    chosen = list(range(len(pairs))) if everything else sample_of(pairs)
    units = [pairs[index] for index in chosen]
    order = {unit.pair_id: index for unit, index in zip(units, chosen, strict=True)}
    seen = list(in_threads(units, read))
    if len(chosen) < len(pairs) and (why := _wants_all(seen, order)):
        say(f"{why}: looking at all {len(pairs)} pairs")
        rest = [pair for pair in pairs if pair.pair_id not in order]
        order = {pair.pair_id: index for index, pair in enumerate(pairs)}
        seen += in_threads(rest, read)
    seen.sort(key=lambda one: order[one.unit.pair_id])
    return _concluded(pairs, seen, order, ray_address)


def in_threads(units: Sequence[PairFiles], read: Reader) -> Iterator[Seen]:
    """Look at pairs in threads: decoders and OpenCV compute beside each other."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = pool.map(lambda unit: look_at_one(unit, read), units)
        yield from progress(found, total=len(units), label="looking at pairs", unit="pairs")


def _wants_all(seen: Sequence[Seen], order: Mapping[str, int]) -> str:
    """Return why a sample is not enough; '' where it is."""
    shown = _shown(seen, order)
    faults = sum(one.look is not None and one.look.fault is not None for one in seen)
    faults += sum(one.bad is not None for one in seen)
    if faults or any(True for _ in others_targets(shown)):
        return f"{max(faults, 1)} of a sample of {len(seen)} pairs have a fault"
    axes = _axes(seen)
    if any(found["rows"] and found["columns"] for found in axes.values()):
        return "parallax runs along the rows in some pairs and along the columns in others"
    return ""


def _concluded(
    pairs: Sequence[PairFiles],
    seen: Sequence[Seen],
    order: Mapping[str, int],
    ray_address: str | None,
) -> SetLook:
    shown = _shown(seen, order)
    rows: list[Row] = []
    for pair_id, finding in others_targets(shown):
        rows.append(row_of(pair_id, pairs[order[pair_id]].split, finding))
    for one in seen:
        if one.bad is not None:
            finding = Finding(one.bad[1], one.bad[0], fault=True)
            rows.append(row_of(one.unit.pair_id, one.unit.split, finding))
        elif one.look is not None:
            rows += [row_of(one.unit.pair_id, one.unit.split, f) for f in one.look.findings]
    rows += [_twice(*pair) for pair in in_two_splits(shown, ray_address=ray_address)]
    turned, marks, of_axis = _turns(seen)
    rows += of_axis
    rows += _of_signs(seen)
    if seen:
        rows.append(_understood(seen, len(pairs)))
    rows = each_once(rows)
    unreadable = {one.unit.pair_id for one in seen if one.bad is not None}
    faults = {
        row.pair_id: row.text
        for row in reversed(rows)
        if row.severity == FAULT and row.pair_id not in unreadable
    }
    marked = {
        order[unit.pair_id]: replace(
            unit, fault=faults.get(unit.pair_id, ""), turned=marks.get(unit.pair_id, unit.turned)
        )
        for unit in (one.unit for one in seen)
        if unit.pair_id in faults or unit.pair_id in marks
    }
    return SetLook(Marked(pairs, marked), turned, tuple(rows), len(seen), tuple(shown))


def _shown(seen: Sequence[Seen], order: Mapping[str, int]) -> list[Shown]:
    keep = len(seen) <= _KEPT
    return [
        Shown(
            one.unit.pair_id,
            one.unit.split,
            order[one.unit.pair_id],
            one.look.hash,
            one.look.scene if keep else None,
        )
        for one in seen
        if one.look is not None and one.look.scene is not None
    ]


def _twice(earlier: Shown, later: Shown, how: str, sure: bool) -> Row:
    text = f"it shows the scene of {later.pair_id} in the {later.split} split"
    text += f", {how}" if how else ""
    if not sure:
        text = f"it may be that {text}: check=all tells, or look at both"
    return Row(earlier.pair_id, earlier.split, FAULT if sure else DOUBT, "twice", text)


def of_hashes(
    rows: Sequence[Row], shown: Sequence[Shown], *, ray_address: str | None = None
) -> list[Row]:
    """Return the findings with those about pairs whose scene, by its hash, stands in two splits.

    ray_address: of the cluster that compares very many.
    """
    known = {row.pair_id for row in rows if row.severity == FAULT}
    left = [pair for pair in shown if pair.pair_id not in known]
    twice = in_two_splits(left, ray_address=ray_address)
    return each_once([*rows, *(_twice(*found) for found in twice)])


def _axes(seen: Sequence[Seen]) -> dict[str, Counter[str]]:
    """Return by shape along which axis parallax runs, of the pairs that show it."""
    found: dict[str, Counter[str]] = {}
    for one in seen:
        if one.look is not None:
            axis = one.look.axis or "unclear"
            found.setdefault(shape_of(*one.shape), Counter())[axis] += 1
    return found


def _turns(seen: Sequence[Seen]) -> tuple[tuple[str, ...], dict[str, bool], list[Row]]:
    """Return the shapes that are turned, pairs that are turned or not by their own, findings."""
    axes = _axes(seen)
    turned = tuple(sorted(s for s, found in axes.items() if found["columns"] > found["rows"]))
    marks: dict[str, bool] = {}
    rows: list[Row] = []
    for one in seen:
        if one.look is None:
            continue
        shape = shape_of(*one.shape)
        pair_id, split, mixed = (
            one.unit.pair_id,
            one.unit.split,
            min(axes[shape]["rows"], axes[shape]["columns"]),
        )
        vertical = shape in turned if one.look.axis is None else one.look.axis == "columns"
        marks[pair_id] = vertical
        if vertical:
            text = "parallax is vertical: turned by 90 degrees; near and far may be exchanged"
            rows.append(Row(pair_id, split, NOTE, "axis", text))
        if mixed and one.look.axis is None:
            text = f"its parallax is too little to tell the axis, which differs among {shape} pairs"
            rows.append(Row(pair_id, split, DOUBT, "axis", text))
    return turned, marks, rows


def _of_signs(seen: Sequence[Seen]) -> list[Row]:
    """Tell of views that look exchanged: what is lower in a photograph mostly is nearer."""
    slopes = [one.look.downwards for one in seen if one.look is not None]
    clear = [slope for slope in slopes if slope is not None and abs(slope) > _CLEAR]
    if len(clear) < _FEWEST_SIGNS:
        return []
    against = sum(slope < 0 for slope in clear)
    if against < _MOST_SIGNS * len(clear):
        return []
    text = (
        f"near and far look exchanged: in {against} of {len(clear)} pairs what lies lower is "
        "farther by x_left - x_right > 0 for near; are left and right what they say?"
    )
    return [Row("", "", DOUBT, "sign", text, against / len(clear))]


def _understood(seen: Sequence[Seen], total: int) -> Row:
    """Say in one line what the pictures are."""
    looks = [one.look for one in seen if one.look is not None]
    sizes = Counter(f"{one.shape[1]} x {one.shape[0]}" for one in seen if one.look is not None)
    depths = Counter(f"{one.bits} bit" for one in seen if one.look is not None)
    axes = Counter(look.axis or "too little to tell" for look in looks)
    near = [look.near for look in looks if look.near is not None]
    parts = [
        f"looked at {len(seen)} of {total} pairs",
        ", ".join(f"{size} ({count})" for size, count in sizes.most_common(4)),
        ", ".join(f"{depth} ({count})" for depth, count in depths.most_common()),
    ]
    if looks:
        along = ", ".join(f"{axis} ({count})" for axis, count in axes.most_common())
        parts.append(f"parallax along {along}")
    if near:
        parts.append(
            f"{100 * sum(near) / len(near):.0f}% of what is out of focus is near, if left is left"
        )
    return Row("", "", NOTE, "looked", escaped("; ".join(part for part in parts if part)))


def note_of(pair: Pair) -> dict[str, Any]:
    """Return what shows from afar of a pair, JSON-able. Raises BadInput for a fault."""
    look = look_at_pair(pair.left, pair.right, pair.target, combined=pair.combined, close=False)
    if look.fault is not None:
        raise BadInput(
            look.fault.text,
            path=pair.provenance.sources[0].file,
            stage="content",
            sources=pair.provenance.sources,
        )
    findings = [[f.kind, f.text, f.value] for f in look.findings]
    return {"pair_id": pair.pair_id, "split": pair.split, "hash": look.hash, "found": findings}
