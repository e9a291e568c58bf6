"""Which target belongs to which source: true, or refused; never wrong in silence."""

import random
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.ingest.layouts import targets as matching
from pipelines.ingest.layouts.natural import in_natural_order, natural_order

GAPS = st.lists(st.sampled_from([1, 1, 1, 2, 3, 7]), min_size=1, max_size=30)
ORDERS = st.lists(st.sampled_from([-1, -1, 1, 1, 2]), min_size=30, max_size=30)


@dataclass
class Found:
    """A matching by names."""

    target_of: dict[str, str]
    why_not: dict[str, str]
    alone: list[str]
    offsets: Counter[int]


def match_targets(
    sources: Collection[str], targets: Collection[str], *, where: str, offsets: Any = None
) -> Found:
    mine, theirs = list(sources), list(targets)
    same = [theirs.index(name) if name in theirs else -1 for name in mine]
    found = matching.match_targets(
        mine, theirs, np.array(same, np.int32), where=where, offsets=offsets
    )
    pairs = zip(mine, found.target_of.tolist(), strict=True)
    return Found(
        {name: theirs[target] for name, target in pairs if target >= 0},
        {mine[source]: why for source, why in found.why_not.items()},
        [theirs[target] for target in found.alone],
        found.offsets,
    )


def camera_roll(gaps: list[int], orders: list[int]) -> dict[str, str]:
    """Source to target, as one counter numbered them: no number stands for two pictures."""
    counter, truth = 900, {}
    for gap, order in zip(gaps, orders, strict=False):
        counter += gap
        first, second = counter, counter + abs(order)
        source, target = (first, second) if order > 0 else (second, first)
        truth[f"1P0A{source:04d}"] = f"1P0A{target:04d}"
        counter = second
    return truth


def official(pairs: int = 500, seed: int = 0) -> dict[str, str]:
    """Names as the 500 of DPD-blur: offsets +1, -1 and +2 in its shares, many numbers close."""
    rng = random.Random(seed)
    gaps = [rng.choice([1, 1, 1, 2, 3, 5]) for _ in range(pairs)]
    return camera_roll(gaps, rng.choices([1, -1, 2], [321, 177, 2], k=pairs))


def drop(names: list[str], lost: set[int]) -> list[str]:
    return [name for index, name in enumerate(names) if index not in lost]


@given(gaps=GAPS, orders=ORDERS)
def test_a_whole_camera_roll_is_matched_as_it_was_taken(gaps: list[int], orders: list[int]) -> None:
    truth = camera_roll(gaps, orders)
    found = match_targets(list(truth), list(truth.values()), where="x")
    assert found.target_of == truth
    assert not found.why_not and not found.alone


@given(gaps=GAPS, orders=ORDERS, lost=st.sets(st.integers(0, 29)), targets=st.booleans())
def test_files_lost_on_one_side_never_make_a_wrong_pair(
    gaps: list[int], orders: list[int], lost: set[int], targets: bool
) -> None:
    truth = camera_roll(gaps, orders)
    mine, theirs = list(truth), list(truth.values())
    mine, theirs = (mine, drop(theirs, lost)) if targets else (drop(mine, lost), theirs)
    found = match_targets(mine, theirs, where="x")
    assert found.target_of.items() <= truth.items()
    assert found.target_of.keys() | found.why_not.keys() == set(mine)


@given(gaps=GAPS, orders=ORDERS, seed=st.integers(0, 1 << 20))
def test_files_lost_on_both_sides_far_apart_are_refused(
    gaps: list[int], orders: list[int], seed: int
) -> None:
    """One target and another scene's source, with no number of the one near the other's."""
    truth = camera_roll([gap + 3 for gap in gaps], orders)
    rng = random.Random(seed)
    sources, targets = set(truth), set(truth.values())
    lost_target, lost_source = rng.choice(sorted(targets)), rng.choice(sorted(sources))
    if len(truth) < 3 or truth[lost_source] == lost_target:
        return
    with pytest.raises(UserError, match="where both are lost"):
        match_targets(sources - {lost_source}, targets - {lost_target}, where="x")
    consent = match_targets(
        sources - {lost_source}, targets - {lost_target}, where="x", offsets=[-1, 1, 2]
    )
    assert consent.target_of.items() <= truth.items()


@given(numbers=st.sets(st.integers(0, 60), min_size=1), lost=st.sets(st.integers(0, 60)))
def test_equal_names_never_make_a_wrong_pair(numbers: set[int], lost: set[int]) -> None:
    names = {f"{n:04d}" for n in numbers}
    kept = names - {f"{n:04d}" for n in lost}
    found = match_targets(names, kept, where="x", offsets=[0])
    assert found.target_of == {name: name for name in kept}
    if kept:
        assert match_targets(names, kept, where="x").target_of == found.target_of


@pytest.mark.parametrize("seed", range(3))
def test_the_official_scheme_with_holes(seed: int) -> None:
    truth = official(seed=seed)
    sources, targets = list(truth), list(truth.values())
    whole = match_targets(sources, targets, where="x")
    assert whole.target_of == truth
    assert set(whole.offsets) <= {-1, 1, 2} and whole.offsets.total() == 500
    costs = []
    for lost in range(0, 500, 25):
        found = match_targets(sources, drop(targets, {lost}), where="x")
        assert found.target_of.items() <= truth.items()
        costs.append(500 - len(found.target_of))
    assert min(costs) == 1
    assert sum(costs) / len(costs) < 10, "one lost target costs its own run of numbers, not the set"


def test_the_official_scheme_with_a_lost_target_and_lost_views() -> None:
    """The combined view still names the source: nothing is wrong; without it the run stops."""
    truth = official()
    sources, targets = list(truth), list(truth.values())
    for target, source in ((40, 70), (300, 290), (100, 101)):
        found = match_targets(sources, drop(targets, {target}), where="x")
        assert found.target_of.items() <= truth.items()
        lost = drop(sources, {source}), drop(targets, {target})
        try:
            found = match_targets(*lost, where="x")
        except UserError as error:
            assert "cannot prove" in str(error)
            continue
        assert found.target_of.items() <= truth.items()


def test_numbers_count_as_numbers() -> None:
    sources = [f"img{n:03d}" for n in range(1, 13)]
    targets = [f"gt{n}" for n in range(1, 13)]
    assert match_targets(sources, targets, where="x").target_of == {
        source: f"gt{int(source[3:])}" for source in sources
    }
    over = {"9998": "9999", "10000": "10001", "10003": "10002"}
    assert match_targets(list(over), list(over.values()), where="x").target_of == over
    assert in_natural_order(["gt10", "gt2", "gt1"]) == ["gt1", "gt2", "gt10"]


@given(names=st.lists(st.text("aAbB./0129١é", max_size=6), max_size=12, unique=True))
def test_numbers_in_names_are_in_the_order_of_their_values(names: list[str]) -> None:
    def parts(name: str) -> tuple[list[str | int], str]:
        split = re.split(r"(\d+)", name)
        return [int(part) if n % 2 else part.lower() for n, part in enumerate(split)], name

    assert in_natural_order(names) == sorted(names, key=parts)
    assert [names[place] for place in natural_order(names)] == sorted(names, key=parts)


@pytest.mark.parametrize(("mine", "theirs"), [("img{}", "img{:03d}"), ("{}", "{:02d}")])
def test_names_that_differ_by_their_zeros_are_of_two_counters(mine: str, theirs: str) -> None:
    """One counter pads all its numbers alike, so an offset of DPD-blur proves nothing here."""
    sources = [mine.format(n) for n in range(1, 13)]
    targets = [theirs.format(n) for n in range(1, 13)]
    truth = dict(zip(sources, targets, strict=True))
    short = sources[:9], targets[:9]  # without 10 to 12, which are equal names in the second case
    assert match_targets(*short, where="x").target_of == dict(zip(*short, strict=True))
    for lost in range(9):
        try:
            found = match_targets(short[0], drop(short[1], {lost}), where="x").target_of
        except UserError as error:
            assert "say which with offsets" in str(error)
        else:
            assert found.items() <= truth.items() and len(found) == 8
    assert match_targets(["1", "4", "7"], ["02", "05", "08"], where="x", offsets=[1]).target_of


def test_numbers_of_thousands_of_digits() -> None:
    long = "7" * 5000
    assert in_natural_order([f"a{long}", "a10", "a9", f"a{long}0"])[0] == "a9"
    assert match_targets([long], [long[:-1] + "8"], where="x").target_of == {long: long[:-1] + "8"}


def test_candidates_are_named() -> None:
    found = match_targets(["a10", "a12", "a30"], ["a11", "a29"], where="x")
    assert found.target_of == {"a30": "a29"}
    assert found.why_not["a10"] == "doubtful target: a11 could be that of a10 or a12"
    found = match_targets(["a10"], ["a9", "a11"], where="x")
    assert found.why_not["a10"] == "doubtful target: a9 or a11 could be it"


@pytest.mark.parametrize(
    ("sources", "targets", "words"),
    [
        (["1", "2", "3"], ["2", "3", "4"], "1 could belong to 1 or 2"),
        (
            [f"img{n}" for n in range(12)],
            [f"gt{n + 1}" for n in range(12)],
            "img1 could belong to gt1 or gt2",
        ),
        (
            [f"img{n}" for n in range(1, 12)],
            [f"gt{n}" for n in range(2, 12)],
            "img2 could belong to gt2 or gt3",
        ),
    ],
)
def test_two_readings_are_a_question(sources: list[str], targets: list[str], words: str) -> None:
    with pytest.raises(UserError, match=rf"{words}; .*offsets=\[0\] or offsets=\[-?\d\]"):
        match_targets(sources, targets, where="x")
    shifted = match_targets(sources, targets, where="x", offsets=[1])
    equal = match_targets(sources, targets, where="x", offsets=[0])
    assert len(shifted.target_of) >= len(equal.target_of) > 0
    assert shifted.target_of != equal.target_of


def test_names_without_numbers_are_not_zipped() -> None:
    found = match_targets(["ant", "bee"], ["cat", "dog"], where="x")
    assert not found.target_of
    assert set(found.why_not) == {"ant", "bee"} and found.alone == ["cat", "dog"]


def test_one_number_written_twice_is_nobodys() -> None:
    found = match_targets(["a1", "a01", "a5"], ["a2", "a6"], where="x")
    assert found.target_of == {"a5": "a6"}
    assert "a01 has the same number" in found.why_not["a1"]
