"""The global sequence of samples and how workers share it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.training.order import (
    SORTED_AT_MOST,
    KeyedBijection,
    Sample,
    SampleOrder,
    Source,
    permutation,
    rank_slice,
    seed_of,
    step_samples,
)


def source(name: str, rows: int, repeat: int = 1, digest: str = "d") -> Source:
    return Source(name=name, version="v1", digest=digest, rows=rows, repeat=repeat)


sources = st.lists(
    st.builds(source, st.sampled_from(["a", "b"]), st.integers(1, 7), st.integers(1, 4)),
    min_size=1,
    max_size=3,
)


@given(sources, st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_takes_each_pair_as_often_as_it_repeats(
    made: list[Source], seed: int, epoch: int
) -> None:
    order = SampleOrder(made, seed)
    start = epoch * order.epoch_length
    seen = Counter(
        (s.source, s.row) for s in map(order.sample, range(start, start + order.epoch_length))
    )
    expected = {(i, row): s.repeat for i, s in enumerate(made) for row in range(s.rows)}
    assert seen == expected


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 20))
def test_workers_share_each_batch_in_order(batch_size: int, world_size: int, step: int) -> None:
    if world_size > batch_size:
        with pytest.raises(ValueError, match="cannot share"):
            rank_slice(batch_size, 0, world_size)
        return
    parts = [list(step_samples(step, batch_size, r, world_size)) for r in range(world_size)]
    joined = [index for part in parts for index in part]
    assert joined == list(range(step * batch_size, (step + 1) * batch_size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_positions_can_be_asked_for_in_any_order() -> None:
    made = [source("a", 5), source("b", 2, repeat=3)]
    forward = [SampleOrder(made, 7).sample(i) for i in range(40)]
    order = SampleOrder(made, 7)
    assert [order.sample(i) for i in reversed(range(40))] == forward[::-1]


def test_seed_epoch_and_content_each_change_the_order() -> None:
    def first(made: list[Source], seed: int, start: int = 0) -> list[Sample]:
        order = SampleOrder(made, seed)
        return [order.sample(start + i) for i in range(30)]

    rows = [s.row for s in first([source("a", 30)], 0)]
    assert rows != [s.row for s in first([source("a", 30)], 1)]
    assert rows != [s.row for s in first([source("a", 30)], 0, start=30)]
    assert rows != [s.row for s in first([source("a", 30, digest="e")], 0)]


def test_the_order_is_the_same_for_ever() -> None:
    # Written down once: a run may go on years later, on another NumPy.
    assert permutation("0\n0\nname", 8).tolist() == [4, 1, 7, 0, 6, 3, 2, 5]
    assert seed_of(0, "augment", 5) == 1158267758


def test_nothing_to_order_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        SampleOrder([source("a", 0)], 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(0, 999))
def test_each_place_of_a_keyed_bijection_is_taken_once(length: int, key: int) -> None:
    bijection = KeyedBijection(f"key {key}", length)
    assert sorted(map(bijection, range(length))) == list(range(length))
    for outside in (-1, length):
        with pytest.raises(IndexError):
            bijection(outside)


def test_a_keyed_bijection_is_uniform() -> None:
    """Chi-squared over keys: where a place goes, and where two neighbours go together."""
    length, keys = 1000, 2000
    places = np.array(
        [[bijection(p) for p in (0, 1, 500, 999)] for bijection in
         (KeyedBijection(f"key {n}", length) for n in range(keys))]
    )  # fmt: skip
    bins = places * 10 // length
    for column in range(4):
        assert _chi_squared(np.bincount(bins[:, column], minlength=10)) < 33.7  # 0.9999, 9 degrees
    for other in range(1, 4):
        together = np.bincount(bins[:, 0] * 10 + bins[:, other], minlength=100)
        assert _chi_squared(together) < 157.5  # 0.9998, 99 degrees


def test_a_long_epoch_is_mixed_and_in_no_memory() -> None:
    rows = 10_000_000
    order = SampleOrder([source("a", rows // 2), source("b", rows // 4, repeat=2)], 3)
    seen = [order.sample(index) for index in range(2000)]
    assert len({(s.source, s.row) for s in seen}) > 1990
    assert _chi_squared(np.bincount([s.source for s in seen], minlength=2)) < 15.1  # 0.9999
    halves = [s.row * 2 // (rows // 2) for s in seen if s.source == 0]
    assert _chi_squared(np.bincount(halves, minlength=2)) < 15.1
    assert seen[7] == SampleOrder(order._sources, 3).sample(7)
    assert seen != [order.sample(rows + index) for index in range(2000)], "another epoch"


def test_a_long_order_is_the_same_for_ever() -> None:
    places = map(KeyedBijection("0\n0\nname", SORTED_AT_MOST + 1), range(4))
    assert list(places) == [182196, 476096, 265866, 469102]


def _chi_squared(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())
