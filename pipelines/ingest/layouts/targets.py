"""Which target belongs to which source, by names alone: proven, or refused with the candidates.

A wrong target that enters in silence is worse than one that is left out. So a pair enters

- by an equal name, which is the convention of most sets, or
- by its number, where one counter numbered sources and targets (DPD-blur: 1P0A0917 belongs to
  1P0A0916 or 1P0A0918; a number stands for one picture, so the two lists have no number in common,
  and are padded alike) and every order-preserving match with the fewest lost files says the same,
- or by an equal number, where two counters numbered them (img001 with gt1, img1 with img01).

So no wrong pair enters where only targets are lost, or only sources, however many. Where both are,
with traces, nothing is guessed. What names cannot show: in a run of neighbouring numbers, a target
and another scene's source that are gone without a trace, so that the rest looks complete. Combined
views are such a trace: layouts name a source by any of its files.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.ingest.layouts.natural import in_natural_order, natural_key
from pipelines.ingest.layouts.numbers import Group, Numbers, by_number, no_numbers

COUNTER_OFFSETS = (-1, 1, 2)
"""Target number minus source number in DPD-blur: 177, 321 and 2 of its 500 pairs."""

_RIVALS = (-2, -1, 1, 2)
_DIGITS = re.compile(r"\d+")
_AT_ONCE = 1 << 16
_NONE = no_numbers()


@dataclass(slots=True)
class Matching:
    """What belongs together in one split: by index, for there may be millions."""

    target_of: NDArray[np.int32]
    """Of each source its target, or -1."""
    why_not: dict[int, str] = field(default_factory=dict)
    """Source to the reason that it has no target."""
    alone: list[int] = field(default_factory=list)
    """Targets that no source can have, in natural order."""
    offsets: Counter[int] = field(default_factory=Counter)
    """Target number minus source number to pairs; empty where names are equal."""


def match_targets(
    sources: Sequence[str],
    targets: Sequence[str],
    same: NDArray[np.int32],
    *,
    where: str,
    offsets: Sequence[int] | None = None,
) -> Matching:
    """Match the sources of a split with its targets.

    same: of each source the target of its name, or -1. offsets: differences of number that are
    allowed, 0 for equal names; None finds out. where: the split, for messages. Raises UserError
    where two readings of the names are equally good, with a candidate of each.
    """
    equal = int(np.count_nonzero(same >= 0))
    if equal and offsets is None:
        _check_no_rival(sources, targets, equal, where)
        return _by_name(targets, same)
    if equal and tuple(offsets or ()) == (0,):
        return _by_name(targets, same)
    return _by_number(sources, targets, where, None if offsets is None else tuple(offsets))


def _by_name(targets: Sequence[str], same: NDArray[np.int32]) -> Matching:
    found = Matching(same)
    for source in np.flatnonzero(same < 0):
        found.why_not[int(source)] = "missing target: no target has its name"
    taken = np.zeros(len(targets), np.bool_)
    taken[same[same >= 0]] = True
    found.alone = _ordered(targets, np.flatnonzero(~taken))
    return found


def _check_no_rival(sources: Sequence[str], targets: Sequence[str], equal: int, where: str) -> None:
    """Raise UserError where a shift of all numbers explains the names as well as equal names.

    Where one list holds all names of the other, equal names are what they say.
    """
    if equal in (len(sources), len(targets)):
        return
    numbered, wanted = by_number(sources)[0], by_number(targets)[0]
    for offset in _RIVALS:
        count, example = 0, ("", "")
        for group, mine in numbered.items():
            theirs = wanted.get(group, _NONE)
            at = theirs.find(mine.values + offset)
            hits = np.flatnonzero(at >= 0)
            if len(hits) and not count:
                example = mine.name_at(hits[0]), theirs.name_at(at[hits[0]])
            count += len(hits)
        if count >= equal:
            raise UserError(
                f"{where}: {equal} sources have a target of their name and {count} one "
                f"whose number is {offset:+d}: {example[0]} could belong to {_either(*example)}; "
                f"say which with offsets=[0] or offsets=[{offset}]"
            )


def _by_number(
    sources: Sequence[str],
    targets: Sequence[str],
    where: str,
    offsets: tuple[int, ...] | None,
) -> Matching:
    found = Matching(np.full(len(sources), -1, np.int32))
    numbered, without, shared = by_number(sources)
    for source in without:
        found.why_not[source] = "missing target: no target has its name, and it has no number"
    for together in shared:
        for source in together:
            others = _either(*(sources[other] for other in together if other != source))
            found.why_not[source] = f"doubtful target: {others} has the same number"
    wanted, _, _ = by_number(targets)
    if len(numbered) == 1 and len(wanted) == 1 and set(numbered) != set(wanted):
        ((group, _),), ((other, theirs),) = numbered.items(), wanted.items()
        if offsets is None and _is_other_series(group, other):
            raise UserError(
                f"{where}: sources are called {'*'.join(group)} and targets {'*'.join(other)}, "
                "which may be another series of pictures; if equal numbers belong together, "
                "offsets=[0] takes them"
            )
        wanted = {group: theirs}
    reached = np.zeros(len(targets), np.bool_)
    for group, mine in numbered.items():
        theirs = wanted.get(group, _NONE)
        allowed = COUNTER_OFFSETS if offsets is None else offsets
        if offsets is None and _by_two_counters(mine, theirs):
            _check_equal_numbers(mine, theirs, where)
            allowed = (0,)
        _match_group(mine, theirs, allowed, found)
        for offset in allowed:
            at = theirs.find(mine.values + offset)
            reached[theirs.places[at[at >= 0]]] = True
    found.alone = _ordered(targets, np.flatnonzero(~reached))
    lost = [s for s, why in found.why_not.items() if why.startswith("missing target")]
    if offsets is None and lost and found.alone and np.any(found.target_of >= 0):
        raise UserError(
            f"{where}: {len(lost)} sources have no target (e.g. {_first(sources, lost)}) and "
            f"{len(found.alone)} targets no source (e.g. {targets[found.alone[0]]}): where both "
            "are lost, numbers cannot prove which of the others belong together; complete the set, "
            f"or give offsets={list(COUNTER_OFFSETS)} to take what looks right"
        )
    return found


def _is_other_series(one: Group, other: Group) -> bool:
    """Tell whether what stands around the numbers differs in other numbers alone."""
    return [_DIGITS.sub("0", text) for text in one] == [_DIGITS.sub("0", text) for text in other]


def _by_two_counters(mine: Numbers, theirs: Numbers) -> bool:
    """Tell whether sources and targets were numbered apart: one counter gives no number twice, and
    pads all of them alike."""
    padded = mine.padded | theirs.padded
    shortest = min(int(numbers.digits.min()) for numbers in (mine, theirs) if len(numbers))
    alike = not padded or (len(padded) == 1 and shortest == min(padded))
    return bool(np.any(theirs.has(mine.values))) or not alike


def _check_equal_numbers(mine: Numbers, theirs: Numbers, where: str) -> None:
    same = theirs.has(mine.values)
    equal = int(np.count_nonzero(same))
    for offset in _RIVALS:
        shifted = theirs.has(mine.values + offset)
        count = int(np.count_nonzero(shifted))
        if count and count >= equal:
            both = np.flatnonzero(shifted & same)
            number = int(mine.values[both[0] if len(both) else np.flatnonzero(shifted)[0]])
            names = _either(theirs.name(number) or "none", theirs.name(number + offset) or "")
            raise UserError(
                f"{where}: {equal} sources have a target of their number and {count} one "
                f"whose number is {offset:+d}: {mine.name(number)} could belong to {names}; say "
                f"which with offsets=[0] or offsets=[{offset}]"
            )


class _Lists(Sequence[list[int]]):
    """Short lists of numbers in a few bytes each: a run may be of millions."""

    def __init__(self) -> None:
        self._values, self._ends = array("q"), array("q", [0])

    def append(self, values: Iterable[int]) -> None:
        self._values.extend(values)
        self._ends.append(len(self._values))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        return self._values[self._ends[place] : self._ends[place + 1]].tolist()


class _States:
    """What ``_best_before`` finds, before each source and after the last."""

    def __init__(self) -> None:
        self._targets, self._counts = _Lists(), _Lists()

    def append(self, states: Mapping[int, int]) -> None:
        self._targets.append(states.keys())
        self._counts.append(states.values())

    def __getitem__(self, index: int) -> dict[int, int]:
        return dict(zip(self._targets[index], self._counts[index], strict=True))


@dataclass(slots=True)
class _Run:
    """Sources whose targets nobody else can have; all by their places in the order of numbers."""

    sources: "array[int]" = field(default_factory=lambda: array("q"))
    edges: _Lists = field(default_factory=_Lists)
    """Of each source, the targets that it could have, in order."""
    reach: int = -1 << 60
    """The highest number of these targets."""


def _match_group(mine: Numbers, theirs: Numbers, allowed: Sequence[int], found: Matching) -> None:
    """Match the numbers of one group: run by run, for there may be millions."""
    run = _Run()
    for start in range(0, len(mine), _AT_ONCE):
        values = mine.values[start : start + _AT_ONCE]
        edges = np.sort(np.stack([theirs.find(values + offset) for offset in allowed], axis=1))
        for source, (number, row) in enumerate(
            zip(values.tolist(), edges.tolist(), strict=True), start
        ):
            # All sources before it can have earlier targets alone: what they get is nothing to it.
            if number + min(allowed) > run.reach:
                _match_run(run, mine, theirs, allowed, found)
                run = _Run()
            kept = [target for target in row if target >= 0]
            run.sources.append(source)
            run.edges.append(kept)
            if kept:
                run.reach = max(run.reach, int(theirs.values[kept[-1]]))
    _match_run(run, mine, theirs, allowed, found)


def _match_run(
    run: _Run, mine: Numbers, theirs: Numbers, allowed: Sequence[int], found: Matching
) -> None:
    edges = run.edges
    if len(edges) == 1 and len(edges[0]) == 1:  # most of them, and there is nothing to choose
        (source,), (target,) = run.sources, edges[0]
        _match(source, target, mine, theirs, found)
        return
    before = _best_before(edges)
    # The same from the other end: count down, with targets counted down.
    last = len(theirs) - 1
    backwards = _best_before(_Mirrored(edges, last))

    def after(index: int) -> dict[int, int]:
        return {last - t: count for t, count in backwards[len(edges) - index].items()}

    most = max(before[len(edges)].values())
    for index, source in enumerate(run.sources):
        kept, place = edges[index], int(mine.places[source])
        here, behind = before[index], after(index + 1)
        likely = [t for t in kept if _most(here, below=t) + 1 + _most(behind, above=t) == most]
        without = max(count + _most(behind, above=t) for t, count in here.items())
        if len(likely) == 1 and without < most:
            _match(source, likely[0], mine, theirs, found)
        else:
            found.why_not[place] = _why_not(source, kept, likely, mine, theirs, allowed)


def _match(source: int, target: int, mine: Numbers, theirs: Numbers, found: Matching) -> None:
    found.target_of[int(mine.places[source])] = theirs.places[target]
    found.offsets[int(theirs.values[target] - mine.values[source])] += 1


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """Edges from the last to the first, of targets that are counted down."""

    edges: _Lists
    last: int
    """The highest target."""

    def __len__(self) -> int:
        return len(self.edges)

    def __getitem__(self, index: int) -> list[int]:
        return [self.last - target for target in self.edges[len(self.edges) - 1 - index]]


def _why_not(
    source: int,
    kept: Sequence[int],
    likely: Sequence[int],
    mine: Numbers,
    theirs: Numbers,
    allowed: Sequence[int],
) -> str:
    """Return why a source has no target. kept: those it could have; likely: where most have one."""
    if not kept:
        reach = f"{min(allowed):+d} to {max(allowed):+d}" if len(allowed) > 1 else allowed[0]
        what = "its number" if allowed == (0,) else f"a number {reach} from its own"
        return f"missing target: none has {what}"
    if not likely:
        return f"missing target: {_either(*map(theirs.name_at, kept))} belongs elsewhere"
    if len(likely) > 1:
        return f"doubtful target: {_either(*map(theirs.name_at, likely))} could be it"
    target = int(theirs.values[likely[0]])
    others = [name for o in allowed if (name := mine.name(target - o)) is not None]
    return (
        f"doubtful target: {theirs.name_at(likely[0])} could be that of "
        f"{_either(*in_natural_order(others))}"
    )


def _best_before(edges: _Lists | _Mirrored) -> _States:
    """Return, before each source and after the last, how many can be matched in order.

    As {last target that is taken: most pairs}, -1 where none is that matters any more. Only those
    states are kept that a later source can tell apart, so the time is linear.
    """
    # What a later source can take at the earliest: below that, targets are alike.
    ahead, lowest = array("q", bytes(8 * len(edges))), 1 << 60
    for index in range(len(edges) - 1, -1, -1):
        lowest = min([lowest, *edges[index]])
        ahead[index] = lowest
    states, now = _States(), {-1: 0}
    states.append(now)
    for index in range(len(edges)):
        new = dict(now)
        for target in edges[index]:
            new[target] = max(new.get(target, 0), _most(now, below=target) + 1)
        floor = ahead[index + 1] if index + 1 < len(edges) else 1 << 60
        now = {}
        for target, count in new.items():
            key = target if target >= floor or index + 1 == len(edges) else -1
            now[key] = max(now.get(key, 0), count)
        states.append(now)
    return states


def _most(states: Mapping[int, int], *, below: int | None = None, above: int | None = None) -> int:
    """Return the most pairs of the states whose last target leaves this one free."""
    return max(
        (
            count
            for target, count in states.items()
            if (below is None or target < below) and (above is None or target > above)
        ),
        default=-(1 << 60),
    )


def _ordered(names: Sequence[str], places: NDArray[np.int64]) -> list[int]:
    return sorted(places.tolist(), key=lambda place: natural_key(names[place]))


def _either(*names: str) -> str:
    return " or ".join(dict.fromkeys(names))


def _first(names: Sequence[str], places: Sequence[int]) -> str:
    return min((names[place] for place in places), key=natural_key)
