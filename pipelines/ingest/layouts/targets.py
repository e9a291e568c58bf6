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
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field

from pipelines.errors import UserError

COUNTER_OFFSETS = (-1, 1, 2)
"""Target number minus source number in DPD-blur: 177, 321 and 2 of its 500 pairs."""

_RIVALS = (-2, -1, 1, 2)
_NAME = re.compile(r"(.*?)(\d{1,18})(\D*)", re.DOTALL)
_DIGITS = re.compile(r"\d+")
_LONGEST = sys.maxunicode - 1
_Group = tuple[str, str]


@dataclass(slots=True)
class Matching:
    """What belongs together in one split."""

    target_of: dict[str, str] = field(default_factory=dict)
    """Source name to target name."""
    why_not: dict[str, str] = field(default_factory=dict)
    """Source name to the reason that it has no target."""
    alone: list[str] = field(default_factory=list)
    """Targets that no source can have."""
    offsets: Counter[int] = field(default_factory=Counter)
    """Target number minus source number to pairs; empty where names are equal."""


def match_targets(
    sources: Collection[str],
    targets: Collection[str],
    *,
    where: str,
    offsets: Sequence[int] | None = None,
) -> Matching:
    """Match the sources of a split with its targets.

    offsets: differences of number that are allowed, 0 for equal names; None finds out.
    where: the split, for messages. Raises UserError where two readings of the names are equally
    good, with a candidate of each.
    """
    sources, targets = _searchable(sources), _searchable(targets)
    equal = sum(source in targets for source in sources)
    if equal and offsets is None:
        _check_no_rival(sources, targets, equal, where)
        return _by_name(sources, targets)
    if equal and tuple(offsets or ()) == (0,):
        return _by_name(sources, targets)
    return _by_number(sources, targets, where, None if offsets is None else tuple(offsets))


def _searchable(names: Collection[str]) -> Collection[str]:
    return names if isinstance(names, Set | Mapping) else dict.fromkeys(names)


def in_natural_order(names: Collection[str]) -> list[str]:
    """Sort names with their numbers as numbers: gt2 before gt10, 9999 before 10000."""
    before = ""
    for name in names:
        key = natural_key(name)
        if key < before:
            return sorted(names, key=natural_key)
        before = key
    return list(names)  # as most are: no key is kept of them


def natural_key(name: str) -> str:
    """Return what sorts names with their numbers as numbers.

    One text, for there may be millions: each text of the name in small letters and ended by NUL,
    which is below all that a name holds; each number with its length before it; the name itself.
    """
    if name.isascii():
        text = _DIGITS.sub(_sized, name.lower())
    else:  # each part by itself: what small letters are may depend on the letters around
        parts = re.split(r"(\d+)", name)
        text = "".join(_size_of(p) if n % 2 else p.lower() for n, p in enumerate(parts))
    return f"{text}\0\0{name}"


def _sized(digits: re.Match[str]) -> str:
    return _size_of(digits[0])


def _size_of(digits: str) -> str:
    """Return what orders numbers as their values do. Of thousands of digits Python makes no
    integer."""
    if not digits.isascii():
        digits = "".join(str(unicodedata.digit(digit)) for digit in digits)
    digits = digits.lstrip("0")
    return f"\0{chr(min(len(digits), _LONGEST) + 1)}{digits}"


def _by_name(sources: Collection[str], targets: Collection[str]) -> Matching:
    found = Matching()
    for source in sources:
        if source in targets:
            found.target_of[source] = source
        else:
            found.why_not[source] = "missing target: no target has its name"
    found.alone = in_natural_order([target for target in targets if target not in sources])
    return found


def _check_no_rival(
    sources: Collection[str], targets: Collection[str], equal: int, where: str
) -> None:
    """Raise UserError where a shift of all numbers explains the names as well as equal names.

    Where one list holds all names of the other, equal names are what they say.
    """
    if equal in (len(sources), len(targets)):
        return
    numbered = _groups(sources), _groups(targets)
    for offset in _RIVALS:
        pairs = _shifted(numbered, offset)
        if len(pairs) >= equal:
            source, target = next(p for p in pairs if p[0] != p[1])
            raise UserError(
                f"{where}: {equal} sources have a target of their name and {len(pairs)} one "
                f"whose number is {offset:+d}: {source} could belong to {_either(source, target)}; "
                f"say which with offsets=[0] or offsets=[{offset}]"
            )


def _shifted(
    numbered: tuple[dict[_Group, dict[int, str]], dict[_Group, dict[int, str]]], offset: int
) -> list[tuple[str, str]]:
    left, right = numbered
    return [
        (name, right[group][number + offset])
        for group, names in left.items()
        for number, name in sorted(names.items())
        if number + offset in right.get(group, {})
    ]


def _by_number(
    sources: Collection[str],
    targets: Collection[str],
    where: str,
    offsets: tuple[int, ...] | None,
) -> Matching:
    found = Matching()
    numbered, wanted = _groups(sources, found.why_not), _groups(targets)
    if len(numbered) == 1 and len(wanted) == 1 and set(numbered) != set(wanted):
        ((group, _),), (theirs,) = numbered.items(), wanted.values()
        wanted = {group: theirs}
    allowed: dict[_Group, tuple[int, ...]] = {}
    for group, mine in numbered.items():
        theirs = wanted.get(group, {})
        allowed[group] = COUNTER_OFFSETS if offsets is None else offsets
        if offsets is None and _by_two_counters(mine, theirs):
            _check_equal_numbers(mine, theirs, where)
            allowed[group] = (0,)
        _match_group(mine, theirs, allowed[group], found)
    possible = _in_reach(numbered, wanted, allowed)
    found.alone = in_natural_order([target for target in targets if target not in possible])
    lost = [s for s, why in found.why_not.items() if why.startswith("missing target")]
    if offsets is None and lost and found.alone and found.target_of:
        raise UserError(
            f"{where}: {len(lost)} sources have no target (e.g. {_first(lost)}) and "
            f"{len(found.alone)} targets no source (e.g. {found.alone[0]}): where both are lost, "
            "numbers cannot prove which of the others belong together; complete the set, or give "
            f"offsets={list(COUNTER_OFFSETS)} to take what looks right"
        )
    return found


def _by_two_counters(mine: Mapping[int, str], theirs: Mapping[int, str]) -> bool:
    """Tell whether sources and targets were numbered apart: one counter gives no number twice, and
    pads all of them alike."""
    digits = [
        match[2] for name in (*mine.values(), *theirs.values()) if (match := _NAME.fullmatch(name))
    ]
    padded = {len(number) for number in digits if number[0] == "0" and len(number) > 1}
    alike = not padded or (len(padded) == 1 and min(map(len, digits)) == min(padded))
    return bool(mine.keys() & theirs.keys()) or not alike


def _check_equal_numbers(mine: Mapping[int, str], theirs: Mapping[int, str], where: str) -> None:
    equal = len(mine.keys() & theirs.keys())
    for offset in _RIVALS:
        shifted = [n for n in sorted(mine) if n + offset in theirs]
        if shifted and len(shifted) >= equal:
            number = next((n for n in shifted if n in theirs), shifted[0])
            names = _either(theirs.get(number, "none"), theirs[number + offset])
            raise UserError(
                f"{where}: {equal} sources have a target of their number and {len(shifted)} one "
                f"whose number is {offset:+d}: {mine[number]} could belong to {names}; say which "
                f"with offsets=[0] or offsets=[{offset}]"
            )


def _in_reach(
    numbered: Mapping[_Group, Mapping[int, str]],
    wanted: Mapping[_Group, Mapping[int, str]],
    allowed: Mapping[_Group, Sequence[int]],
) -> set[str]:
    """Return the targets that some source could have."""
    return {
        wanted[group][number + offset]
        for group, names in numbered.items()
        for number in names
        for offset in allowed[group]
        if number + offset in wanted.get(group, {})
    }


def _match_group(
    mine: Mapping[int, str], theirs: Mapping[int, str], allowed: Sequence[int], found: Matching
) -> None:
    """Match the numbers of one group: run by run, for there may be millions."""
    targets = sorted(theirs)
    place = {number: index for index, number in enumerate(targets)}
    run: list[int] = []
    edges: list[list[int]] = []
    reached = -1 << 60
    for number in sorted(mine):
        # All sources before it can have earlier targets alone: what they get is nothing to it.
        if run and number + min(allowed) > reached:
            _match_run(run, edges, targets, mine, theirs, allowed, found)
            run, edges = [], []
        kept = [number + offset for offset in allowed if number + offset in place]
        run.append(number)
        edges.append(sorted(place[target] for target in kept))
        reached = max([reached, *kept])
    _match_run(run, edges, targets, mine, theirs, allowed, found)


def _match_run(
    sources: Sequence[int],
    edges: Sequence[Sequence[int]],
    targets: Sequence[int],
    mine: Mapping[int, str],
    theirs: Mapping[int, str],
    allowed: Sequence[int],
    found: Matching,
) -> None:
    """Match sources whose targets nobody else can have. edges: of each source, the indices of the
    targets that it could have, in order."""
    before = _best_before(edges)
    # The same from the other end: count down, with targets counted down.
    last = len(targets) - 1
    after = _best_before([[last - t for t in reversed(e)] for e in reversed(edges)])[::-1]
    after = [{last - t: count for t, count in states.items()} for states in after]
    most = max(before[-1].values())
    for index, number in enumerate(sources):
        kept, name = edges[index], mine[number]
        likely = [
            t
            for t in kept
            if _most(before[index], below=t) + 1 + _most(after[index + 1], above=t) == most
        ]
        without = max(
            count + _most(after[index + 1], above=t) for t, count in before[index].items()
        )
        if len(likely) == 1 and without < most:
            target = targets[likely[0]]
            found.target_of[name] = theirs[target]
            found.offsets[target - number] += 1
        elif not kept:
            reach = f"{min(allowed):+d} to {max(allowed):+d}" if len(allowed) > 1 else allowed[0]
            what = "its number" if allowed == (0,) else f"a number {reach} from its own"
            found.why_not[name] = f"missing target: none has {what}"
        elif not likely:
            found.why_not[name] = (
                f"missing target: {_either(*(theirs[targets[t]] for t in kept))} belongs elsewhere"
            )
        elif len(likely) > 1:
            names = _either(*(theirs[targets[t]] for t in likely))
            found.why_not[name] = f"doubtful target: {names} could be it"
        else:
            target = targets[likely[0]]
            others = [mine[target - o] for o in allowed if target - o in mine]
            found.why_not[name] = (
                f"doubtful target: {theirs[target]} could be that of "
                f"{_either(*in_natural_order(others))}"
            )


def _best_before(edges: Sequence[Sequence[int]]) -> list[dict[int, int]]:
    """Return, before each source and after the last, how many can be matched in order.

    As {last target that is taken: most pairs}, -1 where none is that matters any more. Only those
    states are kept that a later source can tell apart, so the time is linear.
    """
    # What a later source can take at the earliest: below that, targets are alike.
    ahead, lowest = [0] * len(edges), 1 << 60
    for index in range(len(edges) - 1, -1, -1):
        lowest = min([lowest, *edges[index]])
        ahead[index] = lowest
    states = [{-1: 0}]
    for index, kept in enumerate(edges):
        new = dict(states[-1])
        for target in kept:
            new[target] = max(new.get(target, 0), _most(states[-1], below=target) + 1)
        floor = ahead[index + 1] if index + 1 < len(edges) else 1 << 60
        merged: dict[int, int] = {}
        for target, count in new.items():
            key = target if target >= floor or index + 1 == len(edges) else -1
            merged[key] = max(merged.get(key, 0), count)
        states.append(merged)
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


def _groups(
    names: Collection[str], why_not: dict[str, str] | None = None
) -> dict[_Group, dict[int, str]]:
    """Return names by what stands around their last number, and by it.

    A number that two names of a group have is nobody's. why_not: takes the reasons of names left.
    """
    groups: dict[_Group, dict[int, str]] = defaultdict(dict)
    twice: dict[tuple[_Group, int], list[str]] = {}
    reasons = {} if why_not is None else why_not
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            reasons[name] = "missing target: no target has its name, and it has no number"
            continue
        group, number = (match[1], match[3]), int(match[2])
        first = groups[group].setdefault(number, name)
        if first is not name:
            twice.setdefault((group, number), [first]).append(name)
    for (group, number), same in twice.items():
        del groups[group][number]
        for name in same:
            others = _either(*(other for other in same if other != name))
            reasons[name] = f"doubtful target: {others} has the same number"
    return {group: numbers for group, numbers in groups.items() if numbers}


def _either(*names: str) -> str:
    return " or ".join(dict.fromkeys(names))


def _first(names: Collection[str]) -> str:
    return in_natural_order(names)[0]
