"""Cells of a picture, by which renderers say where they want a result, and how to cover them.

Rectangles that cover wanted cells do not overlap. They are laid greedily, in rows, each rectangle
as far on as it may be.
"""

from collections.abc import Iterator

import numpy as np

CELL = 8
"""Side of a cell in pixels."""

Part = tuple[slice, slice]
"""Rows and columns of a rectangle of pixels."""

_TALLEST, _WIDEST = 8, 64  # cells worked on at a time, measured: about what stays in the cache
_GAP = 3  # so many columns of cells more cost less than another strip


def cells_of(size: tuple[int, int]) -> tuple[int, int]:
    """How many cells, whole or begun, a picture of (H, W) has."""
    return -(-size[0] // CELL), -(-size[1] // CELL)


def any_in_cells(pixels: np.ndarray) -> np.ndarray:
    """The cells that hold any of these pixels: bool (H, W) -> bool `cells_of((H, W))`."""
    rows, columns = (np.arange(0, length, CELL) for length in pixels.shape)
    across = np.logical_or.reduceat(pixels, rows, axis=0)
    return np.asarray(np.logical_or.reduceat(across, columns, axis=1))


def grown(cells: np.ndarray, by: int) -> np.ndarray:
    """The cells at most `by` rows and `by` columns away from any of these: bool, same shape."""
    for axis, length in enumerate(cells.shape):
        spread = np.pad(cells, [(by, by) if a == axis else (0, 0) for a in (0, 1)])
        steps = [spread.take(np.arange(k, k + length), axis=axis) for k in range(2 * by + 1)]
        cells = np.logical_or.reduce(steps)
    return cells


def parts_of(where: np.ndarray, size: tuple[int, int]) -> Iterator[Part]:
    """Rectangles of pixels of a picture of (H, W) that cover the cells asked for.

    where: bool, `cells_of(size)`. They begin at whole cells and do not overlap.
    """
    for cells in covering_strips(where, _TALLEST, _WIDEST, gap=_GAP):
        rows, columns = (
            slice(place.start * CELL, min(place.stop * CELL, length))
            for place, length in zip(cells, size, strict=True)
        )
        yield rows, columns


def covering_squares(where: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Top left cells of squares that cover the cells asked for.

    where: bool, `cells_of` the picture. side: of a square, in cells; squares may reach beyond it.
    """
    corners = []
    rows = np.flatnonzero(where.any(axis=1))
    while rows.size:
        top = int(rows[0])
        columns = np.flatnonzero(where[top : top + side].any(axis=0))
        while columns.size:
            corners.append((top, int(columns[0])))
            columns = columns[np.searchsorted(columns, columns[0] + side) :]
        rows = rows[np.searchsorted(rows, top + side) :]
    return corners


def covering_strips(
    where: np.ndarray, tallest: int, widest: int, *, gap: int
) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of strips that cover the cells asked for, in cells, cut to what is wanted.

    where: bool, `cells_of` the picture. tallest, widest: the largest strip. gap: over so many
    columns of which nothing is wanted a strip goes on.
    """
    rows = np.flatnonzero(where.any(axis=1))
    while rows.size:
        top = int(rows[0])
        band = where[top : top + tallest]
        columns = np.flatnonzero(band.any(axis=0))
        while columns.size:
            ends = np.flatnonzero(np.diff(columns) > gap + 1)
            count = int(np.searchsorted(columns, columns[0] + widest))
            count = min(count, int(ends[0]) + 1) if ends.size else count
            strip = slice(int(columns[0]), int(columns[count - 1]) + 1)
            inside = np.flatnonzero(band[:, strip].any(axis=1))
            yield slice(top + int(inside[0]), top + int(inside[-1]) + 1), strip
            columns = columns[count:]
        rows = rows[np.searchsorted(rows, top + tallest) :]
