"""Rectangles that cover the cells of a picture that are asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synth.cells import (
    CELL,
    any_in_cells,
    cells_of,
    covering_squares,
    covering_strips,
    grown,
    parts_of,
)


@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    share=st.sampled_from([0.0, 0.03, 0.4, 1.0]),
    side=st.integers(1, 12),
)
def test_squares_and_strips_cover_cells_once(seed, shape, share, side):
    where = np.random.default_rng(seed).random(shape) < share
    squares, strips = (np.zeros(shape, dtype=int) for _ in range(2))
    for row, column in covering_squares(where, side):
        assert where[row : row + side, column : column + side].any()
        squares[row : row + side, column : column + side] += 1
    for rows, columns in covering_strips(where, side, 2 * side, gap=3):
        assert rows.stop - rows.start <= side
        assert columns.stop - columns.start <= 2 * side
        wanted = where[rows, columns]
        assert wanted[[0, -1]].any(axis=1).all(), "rows of which nothing is wanted"
        across = np.flatnonzero(wanted.any(axis=0))
        assert (across[0], across[-1]) == (0, wanted.shape[1] - 1)
        assert np.diff(across).max(initial=1) <= 3 + 1, "a gap of more than three columns"
        strips[rows, columns] += 1
    for covered in (squares, strips):
        assert covered.max(initial=0) <= 1
        assert (covered >= where).all()


@given(
    seed=st.integers(0, 999),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    by=st.integers(0, 3),
)
def test_cells_of_pixels_their_surroundings_and_parts(seed, size, by):
    pixels = np.random.default_rng(seed).random(size) < 0.002
    cells = any_in_cells(pixels)
    expected = np.zeros(cells_of(size), dtype=bool)
    for row, column in np.argwhere(pixels):
        expected[row // CELL, column // CELL] = True
    np.testing.assert_array_equal(cells, expected)
    around = np.zeros_like(cells)
    for row, column in np.argwhere(cells):
        around[max(row - by, 0) : row + by + 1, max(column - by, 0) : column + by + 1] = True
    np.testing.assert_array_equal(grown(cells, by), around)
    covered = np.zeros(size, dtype=int)
    for rows, columns in parts_of(cells, size):
        assert (rows.start % CELL, columns.start % CELL) == (0, 0)
        assert rows.stop <= size[0]
        assert columns.stop <= size[1]
        covered[rows, columns] += 1
    assert covered.max() <= 1
    assert covered[pixels].all()
