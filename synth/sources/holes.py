"""Filling of depth maps where nothing was measured."""

import numpy as np


def fill_depth(depth_m: np.ndarray, known: np.ndarray, *, max_unknown: float) -> np.ndarray:
    """Fill unknown depth from the nearest known pixels of its row, the farther of the two sides.

    What stereo and structured light cannot see is nearly always the surface behind an edge, so the
    farther side is the likelier. Rows without any known pixel take the nearest known row.
    depth_m, known: (H, W). Returns float32. ValueError where more than max_unknown is unknown.
    """
    share = 1.0 - float(known.mean())
    if share > max_unknown:
        raise ValueError(
            f"{share:.1%} of the depth is unknown, at most {max_unknown:.0%} can be filled"
        )
    if share == 0.0:
        return depth_m.astype(np.float32)
    result = np.where(known, depth_m, 0.0).astype(np.float32)
    rows_known = np.flatnonzero(known.any(axis=1))
    for row in rows_known:
        columns = np.flatnonzero(known[row])
        holes = np.flatnonzero(~known[row])
        after = np.searchsorted(columns, holes)
        right = columns[np.minimum(after, len(columns) - 1)]
        left = columns[np.maximum(after - 1, 0)]
        result[row, holes] = np.maximum(result[row, left], result[row, right])
    for row in np.flatnonzero(~known.any(axis=1)):
        result[row] = result[rows_known[np.argmin(np.abs(rows_known - row))]]
    return result
