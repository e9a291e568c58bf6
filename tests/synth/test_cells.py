"""Rectangles that cover the cells of a picture that are asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synth.cells import covering_squares, covering_strips


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
