"""Steps of blur radius: where in them a pixel lies, and where in the picture each is needed."""

import numpy as np

from synth.cells import CELL, cells_of


def levels_of(coc_px: np.ndarray, step_px: float) -> np.ndarray:
    """Blur radii in steps, those within rounding of a whole step set to it; of the same type.

    Rounding in the depth must not make a layer of its own with next to nothing in it.
    """
    position = coc_px / coc_px.dtype.type(step_px)
    whole = np.rint(position)
    distance = np.subtract(position, whole)
    if distance.any():  # published radii are whole steps
        np.copyto(position, whole, where=np.abs(distance, out=distance) < 1e-3)
    return position


def occupied_cells(position: np.ndarray, *, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """The whole steps next to any pixel, and for each the cells that hold such pixels.

    whole: whether all positions are whole steps. Returns int64 (N,) and bool (N, *cells).
    """
    lowest, highest = int(np.floor(position.min())), int(np.ceil(position.max()))
    occupied = np.zeros((highest - lowest + 1, *cells_of(position.shape)), dtype=bool)
    for step in (position,) if whole else (np.floor(position), np.ceil(position)):
        # Along a row a cell gets a new step where the cell starts or the step changes.
        new = np.empty(step.shape, dtype=bool)
        np.not_equal(step[:, 1:], step[:, :-1], out=new[:, 1:])
        new[:, ::CELL] = True
        pixel = np.flatnonzero(new)
        row, column = np.divmod(pixel, step.shape[1])
        level = step.reshape(-1)[pixel].astype(np.intp) - lowest
        where = np.ravel_multi_index((level, row // CELL, column // CELL), occupied.shape)
        occupied.reshape(-1)[where] = True
    used = occupied.any(axis=(1, 2))
    return np.arange(lowest, highest + 1)[used], occupied[used]
