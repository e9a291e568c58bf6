"""What pairs of a set show beside each other: targets of a neighbour, scenes that stand twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.content.findings import Finding
from pipelines.content.likeness import likeness
from pipelines.content.target import SURE, Scene
from pipelines.dataset.record import SPLITS
from pipelines.ingest.same_hashes import MIRRORED, Hashes, same_hashes

_SHIFTS = (-1, 1, -2, 2, -3, 3)
_MARGIN = 0.1
_A_LITTLE = 0.004
_IN_A_ROW = 3
_MOST_SEARCHED = 2000
_LATER = (("train", "test"), ("train", "val"), ("val", "test"))
"""Splits whose pairs are looked for in a later one."""
SAME_SCENE = 0.9
"""Likeness above which two sharp pictures are surely of one scene; above ``SURE`` they may be."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a pair shows."""

    pair_id: str
    split: str
    place: int
    """Where it stands in the order of the set: neighbours in number are neighbours here."""
    hash: int
    scene: Scene | None
    """None where only the hash is known."""


def others_targets(pairs: Sequence[Shown]) -> Iterator[tuple[str, Finding]]:
    """Yield the pairs whose target is that of another one, with what says so."""
    by_place = {
        (pair.split, pair.place): pair
        for pair in pairs
        if pair.scene is not None and pair.scene.target is not None
    }
    shifted = _shifted(by_place)
    for (split, place), here in by_place.items():
        like = _like(here, here)
        found = by_place.get((split, place + shifted.get((split, place), 0)))
        if found is None or found is here:
            found = _better(here, like, by_place)
        if found is not None:
            text = (
                f"its target is that of {found.pair_id} (likeness {_like(here, found):.2f}, to its "
                f"own views {like:.2f})"
            )
            yield here.pair_id, Finding("target", text, like, fault=True)


def _better(here: Shown, like: float, by_place: Mapping[tuple[str, int], Shown]) -> Shown | None:
    """The pair whose views a target is clearly more like than its own: of its neighbours, or of all
    where it is little like its own."""
    others = [by_place.get((here.split, here.place + shift)) for shift in _SHIFTS]
    if like < SURE and len(by_place) <= _MOST_SEARCHED:
        others += list(by_place.values())
    best, found = max(like + _MARGIN, SURE), None
    for other in others:
        if other is not None and other is not here and (value := _like(here, other)) > best:
            best, found = value, other
    return found


def _shifted(by_place: Mapping[tuple[str, int], Shown]) -> dict[tuple[str, int], int]:
    """Return by how many places targets are shifted, where three in a row say so.

    In the frames of a film each is like the next, so one of them says little. A target says so
    where another pair's views are more like it than its own are, and than that pair's target is:
    of several pictures of one scene the least blurred is more like it, but so is its target.
    """
    says: dict[int, set[tuple[str, int]]] = {shift: set() for shift in _SHIFTS}
    for (split, place), here in by_place.items():
        own = _like(here, here, in_place=True)
        for shift in _SHIFTS:
            other = by_place.get((split, place + shift))
            if other is None:
                continue
            there = _like(here, other, in_place=True)
            if there > own + _A_LITTLE and there > _like_targets(here, other) + _A_LITTLE:
                says[shift].add((split, place))
    found: dict[tuple[str, int], int] = {}
    for shift, places in says.items():
        for split, place in places:
            run = {(split, place + step) for step in range(_IN_A_ROW)}
            if run <= places:
                found.update(dict.fromkeys(run, shift))
    return found


def _like_targets(one: Shown, other: Shown) -> float:
    assert one.scene is not None and other.scene is not None
    assert one.scene.target is not None and other.scene.target is not None
    return likeness(one.scene.target, other.scene.target, in_place=True)


def _like(target_of: Shown, views_of: Shown, *, in_place: bool = False) -> float:
    if target_of.scene is None or target_of.scene.target is None or views_of.scene is None:
        return 0.0
    return likeness(target_of.scene.target, views_of.scene.views, in_place=in_place)


def in_two_splits(
    pairs: Sequence[Shown], *, ray_address: str | None = None
) -> Iterator[tuple[Shown, Shown, str, bool]]:
    """Yield pairs that show the scene of one in a later split: train before val before test.

    With the other pair, how it is mirrored ('' where it is not), and whether it is sure: signatures
    say so, too. ray_address: of the cluster that compares the hashes of very many.
    """
    shown = {
        split: [pair for pair in pairs if pair.split == split and pair.hash] for split in SPLITS
    }
    hashes = {
        split: Hashes(
            np.array([pair.hash for pair in group], np.uint64),
            np.array([pair.scene is not None for pair in group], np.bool_),
        )
        for split, group in shown.items()
    }
    near = same_hashes(hashes, _LATER, ray_address=ray_address)
    told = set()
    for earlier, later in _LATER:
        for how, (across, down) in MIRRORED.items():
            for i, j in near.get((earlier, later, how), ()):
                one, other = shown[earlier][i], shown[later][j]
                if one.pair_id in told:
                    continue
                like = _likeness_of(one, other, across=across, down=down)
                if like is None or like > SURE:
                    told.add(one.pair_id)
                    yield one, other, how, like is not None and like > SAME_SCENE


def _likeness_of(one: Shown, other: Shown, *, across: bool, down: bool) -> float | None:
    """How much alike two pairs are, the first mirrored; None where there are no signatures."""
    if one.scene is None or other.scene is None:
        return None
    first, second = (s.views if s.target is None else s.target for s in (one.scene, other.scene))
    first = first[:: -1 if down else 1, :: -1 if across else 1]
    return likeness(np.ascontiguousarray(first), second)
