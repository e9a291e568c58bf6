"""The contact sheet of a dataset version: one pair a row, left, right, defocus, target."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import encode_image
from pipelines.dataset.record import Pair

_CELL_H, _CELL_W = 168, 240
_GAP, _HEAD, _FOOT = 6, 26, 18
_PAPER, _INK = 250, 40
_HEADINGS = ("left", "right", "defocus: near red, far blue", "target")


def contact_sheet(pairs: Sequence[Pair]) -> bytes:
    """Return a PNG that shows pairs as a person would check them; '-' where one has no target.

    The column of defocus is left out where no pair knows its own.
    """
    with_defocus = any(pair.coc is not None for pair in pairs)
    headings = [h for h in _HEADINGS if with_defocus or not h.startswith("defocus")]
    rows = [_cells(pair, with_defocus=with_defocus) for pair in pairs]
    heights = [max(cell.shape[0] for cell in row if cell is not None) for row in rows]
    width = _GAP + len(headings) * (_CELL_W + _GAP)
    height = _HEAD + sum(heights) + len(rows) * (_FOOT + _GAP)
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    for column, heading in enumerate(headings):
        _write(sheet, heading, x=_GAP + column * (_CELL_W + _GAP), y=17)
    top = _HEAD
    for pair, row, row_height in zip(pairs, rows, heights, strict=True):
        for column, cell in enumerate(row):
            x = _GAP + column * (_CELL_W + _GAP)
            if cell is None:
                _write(sheet, "-", x=x + _CELL_W // 2, y=top + row_height // 2)
            else:
                sheet[top : top + cell.shape[0], x : x + cell.shape[1]] = cell
        _write(sheet, _caption(pair), x=_GAP, y=top + row_height + 13)
        top += row_height + _FOOT + _GAP
    return encode_image(sheet)


def _cells(pair: Pair, *, with_defocus: bool) -> list[NDArray[np.uint8] | None]:
    views = [_fit(pair.left), _fit(pair.right)]
    defocus = _defocus_picture(pair)
    target = None if pair.target is None else _fit(pair.target)
    return [*views, *([defocus] if with_defocus else []), target]


def _caption(pair: Pair) -> str:
    height, width = pair.left.shape[:2]
    text = f"{pair.split}  {pair.pair_id}  {width}x{height}, {pair.left.dtype.itemsize * 8} bit"
    if pair.coc is not None:
        text += f", radius {float(pair.coc.min()):+.1f} to {float(pair.coc.max()):+.1f} px"
    if pair.provenance.kernel_family:
        text += f", {pair.provenance.kernel_family}"
    return text


def _defocus_picture(pair: Pair) -> NDArray[np.uint8] | None:
    """Signed blur radius as colour, white in focus, full colour at the pair's largest radius."""
    if pair.coc is None:
        return None
    coc = pair.coc.astype(np.float32)
    strength = coc / max(float(np.abs(coc).max()), 1e-6)
    near, far = np.clip(strength, 0, 1), np.clip(-strength, 0, 1)
    colour = np.stack([1 - 0.9 * far, 1 - 0.8 * (near + far), 1 - 0.9 * near], axis=-1)
    return _fit((255 * colour).astype(np.uint8))


def _fit(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    import cv2

    eight_bit = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    height, width = picture.shape[:2]
    scale = min(_CELL_H / height, _CELL_W / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(eight_bit, size, interpolation=method).astype(np.uint8)


def _write(sheet: NDArray[np.uint8], text: str, *, x: int, y: int) -> None:
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(sheet, text, (x, y), font, 0.42, (_INK,) * 3, 1, cv2.LINE_AA)
