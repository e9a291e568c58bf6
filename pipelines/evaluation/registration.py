"""Move a picture onto its truth where the two do not lie on each other.

Focus stacks and second exposures lie about a pixel beside the views, by another amount in each part
of the picture; plain PSNR then ranks a sharper picture below its blurred input. The shift of each
block is found by OpenCV's enhanced correlation (G. D. Evangelidis and E. Z. Psarakis, PAMI 2008),
which does not mind brightness; medians over neighbouring blocks and smooth passage between them
leave it too little freedom to imitate detail.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 96
MOST_PX = 4.0
"""A block that seems to lie farther away was matched wrongly."""
RIM_PX = 16
"""Left out of what is scored: it was moved in from outside the picture."""
_STEPS, _ENOUGH = 30, 1e-3

Picture = NDArray[np.float32]


def onto_truth(picture: Picture, truth: Picture) -> tuple[Picture, Picture]:
    """Return a picture moved onto its truth, and the truth, both without a rim of RIM_PX.

    Both ``(H, W, 3)`` in [0, 1]. Raises ValueError for pictures smaller than a block.
    """
    import cv2

    height, width = truth.shape[:2]
    if picture.shape != truth.shape or min(height, width) < BLOCK_PX:
        raise ValueError(
            f"registration needs pictures of one size, at least {BLOCK_PX} px a side, got "
            f"{picture.shape} and {truth.shape}"
        )
    shifts = _shifts(_grey(picture), _grey(truth))
    flow = cv2.resize(shifts, (width, height), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.remap(
        np.ascontiguousarray(picture),
        x + flow[..., 0],
        y + flow[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    inner = np.s_[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
    return np.clip(np.asarray(moved, np.float32), 0, 1)[inner], truth[inner]


def _shifts(picture: Picture, truth: Picture) -> NDArray[np.float32]:
    """``(rows, columns, 2)``: where in the picture, in (x, y) px, each block of the truth lies."""
    import cv2

    rows = _starts(truth.shape[0])
    columns = _starts(truth.shape[1])
    found = np.full((len(rows), len(columns), 2), np.nan, np.float32)
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            block = np.s_[y : y + BLOCK_PX, x : x + BLOCK_PX]
            found[i, j] = _shift(picture[block], truth[block])
    typical = np.nanmedian(found.reshape(-1, 2), axis=0) if np.isfinite(found).any() else 0.0
    found = np.where(np.isfinite(found), found, typical).astype(np.float32)
    smooth = [cv2.medianBlur(np.ascontiguousarray(found[..., axis]), 3) for axis in (0, 1)]
    return np.stack(smooth, -1)


def _shift(picture: Picture, truth: Picture) -> tuple[float, float]:
    import cv2

    start: Any = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, _ENOUGH)
    everywhere = np.ones(truth.shape, np.uint8)
    try:
        _, found = cv2.findTransformECC(
            truth, picture, start, cv2.MOTION_TRANSLATION, stop, everywhere, 5
        )
    except cv2.error:  # no texture to hold on to
        return (np.nan, np.nan)
    x, y = float(found[0, 2]), float(found[1, 2])
    return (x, y) if max(abs(x), abs(y)) <= MOST_PX else (np.nan, np.nan)


def _starts(length: int) -> list[int]:
    """Blocks half over each other, from edge to edge."""
    count = max(round((length - BLOCK_PX) / (BLOCK_PX // 2)), 0) + 1
    return [round(start) for start in np.linspace(0, length - BLOCK_PX, count)]


def _grey(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture.mean(axis=2), np.float32)
