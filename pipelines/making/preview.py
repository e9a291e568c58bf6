"""The contact sheet of a dataset version: crops of each pair, pixel by pixel, where views differ.

A pair is two rows: where its blur is strongest, and where it is in focus. The first column shows
where in the picture they lie.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import encode_image
from pipelines.dataset.record import Pair

_CELL = 192
_GAP, _HEAD, _FOOT, _SCALE_W = 6, 26, 20, 64
_PAPER, _INK = 250, 40
_HEADINGS = ("whole", "left", "right", "left - right", "target", "radius: near red, far blue")
_MOST_FAULTS = 6
_LEAST_DIFFERENCE = 8.0  # of 255: that of views alike is not blown up

Picture = NDArray[np.uint8] | NDArray[np.uint16]
Window = tuple[slice, slice]


def contact_sheet(
    pairs: Sequence[Pair],
    doubts: Mapping[str, str] = MappingProxyType({}),
    faults: Sequence[str] = (),
) -> bytes:
    """Return a PNG that shows pairs as a person would check them; '-' for what one has not.

    The column of radii is left out where no pair knows its own. doubts: by pair_id, what was found
    about it. faults: pairs that are not shown, and why.
    """
    with_radius = any(pair.coc is not None for pair in pairs)
    headings = _HEADINGS if with_radius else _HEADINGS[:-1]
    width = _GAP + len(headings) * (_CELL + _GAP) + (_SCALE_W if with_radius else 0)
    strips = [_head(headings, width)]
    for pair in pairs:
        strips.append(_strip(pair, len(headings), width))
        if pair.pair_id in doubts:
            strips.append(_line(doubts[pair.pair_id], width))
    strips += [_line(f"rejected: {fault}", width) for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        strips.append(_line(f"and {len(faults) - _MOST_FAULTS} more rejected", width))
    return encode_image(np.concatenate(strips))


def strongest_blur(pair: Pair, size: tuple[int, int]) -> Window:
    """Return the window (h, w) whose mean blur radius, either sign, is the greatest.

    A pair that does not know its radii is taken to be blurred most where the views differ most.
    """
    means = _mean_in_windows(_blur(pair), size)
    return _window_at(int(means.argmax()), means.shape, size, pair)


def sharpest(pair: Pair, size: tuple[int, int]) -> Window:
    """Return the window whose mean blur radius, or difference of the views, is the least."""
    means = _mean_in_windows(_blur(pair), size)
    return _window_at(int(means.argmin()), means.shape, size, pair)


def _blur(pair: Pair) -> NDArray[np.float64]:
    if pair.coc is not None:
        return np.abs(pair.coc.astype(np.float64))
    return np.abs(_difference(pair).astype(np.float64))


def _mean_in_windows(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the means over all windows that lie in the picture, by their first pixel."""
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    high, wide = (min(s, n) for s, n in zip(size, values.shape, strict=True))
    sums = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    return sums / (high * wide)


def _window_at(number: int, places: tuple[int, ...], size: tuple[int, int], pair: Pair) -> Window:
    top, left = divmod(number, places[1])
    height, width = (min(s, n) for s, n in zip(size, pair.left.shape, strict=False))
    return slice(top, top + height), slice(left, left + width)


def _difference(pair: Pair) -> NDArray[np.float32]:
    """Left minus right, mean of the channels, in 1 / 255."""
    white = 1.0 if pair.left.dtype == np.uint8 else 257.0
    return (pair.left.astype(np.float32) - pair.right.astype(np.float32)).mean(axis=2) / white


def _signed(values: NDArray[np.float32], most: float) -> NDArray[np.uint8]:
    """White at 0, red at most and above, blue at -most and below."""
    share = np.clip(values / max(most, 1e-6), -1.0, 1.0)
    up, down = np.maximum(share, 0.0), np.maximum(-share, 0.0)
    colour = np.stack([1 - 0.9 * down, 1 - 0.8 * (up + down), 1 - 0.9 * up], axis=-1)
    return (255 * colour).astype(np.uint8)


def _strip(pair: Pair, columns: int, width: int) -> NDArray[np.uint8]:
    """Return the two rows of a pair and its caption, (h, width, 3)."""
    size = _CELL, _CELL
    windows = strongest_blur(pair, size), sharpest(pair, size)
    high = windows[0][0].stop - windows[0][0].start
    strip = np.full((2 * (high + _GAP) + _FOOT, width, 3), _PAPER, np.uint8)
    whole = _whole(pair, windows)[: 2 * high + _GAP]
    strip[: whole.shape[0], _GAP : _GAP + whole.shape[1]] = whole
    difference = _difference(pair)
    swing = max(float(np.quantile(np.abs(difference), 0.995)), _LEAST_DIFFERENCE)
    radius_px = 0.0 if pair.coc is None else max(float(np.abs(pair.coc).max()), 0.1)
    pictures: list[NDArray[np.uint8] | None] = [
        _eight_bit(pair.left),
        _eight_bit(pair.right),
        _signed(difference, swing),
        None if pair.target is None else _eight_bit(pair.target),
        None if pair.coc is None else _signed(pair.coc.astype(np.float32), radius_px),
    ]
    for row, window in enumerate(windows):
        top = row * (high + _GAP)
        for column, picture in enumerate(pictures[: columns - 1], start=1):
            x = _GAP + column * (_CELL + _GAP)
            if picture is None:
                _write(strip, "-", x=x + _CELL // 2, y=top + high // 2)
            else:
                crop = picture[window]
                strip[top : top + high, x : x + crop.shape[1]] = crop
    if pair.coc is not None:
        _scale(strip, radius_px, x=width - _SCALE_W, high=2 * high + _GAP)
    _write(strip, _caption(pair, swing), x=_GAP, y=strip.shape[0] - 9)
    return strip


def _whole(pair: Pair, windows: Sequence[Window]) -> NDArray[np.uint8]:
    """Return the left view, shrunk to the width of a cell, with frames where the crops lie."""
    import cv2

    height, width = pair.left.shape[:2]
    scale = min(_CELL / width, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(_eight_bit(pair.left), size, interpolation=cv2.INTER_AREA)
    for window, colour in zip(windows, ((255, 60, 40), (40, 200, 60)), strict=True):
        rows, columns = window
        first = round(columns.start * scale), round(rows.start * scale)
        last = round(columns.stop * scale) - 1, round(rows.stop * scale) - 1
        cv2.rectangle(picture, first, last, colour, 1)
    return picture.astype(np.uint8)


def _scale(strip: NDArray[np.uint8], radius_px: float, *, x: int, high: int) -> None:
    """Draw a bar with the colours of radii from the nearest to the farthest."""
    values = np.linspace(radius_px, -radius_px, high, dtype=np.float32)
    strip[:high, x : x + 12] = _signed(values, radius_px)[:, None]
    for value, y in ((radius_px, 11), (0.0, high // 2 + 4), (-radius_px, high - 2)):
        _write(strip, f"{value:+.1f}" if value else "0 px", x=x + 15, y=y)


def _line(text: str, width: int) -> NDArray[np.uint8]:
    """Return a line of text that stands out, ``(h, width, 3)``."""
    import cv2

    strip = np.full((_FOOT, width, 3), _PAPER, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, text, (_GAP, 13), font, 0.4, (200, 30, 20), 1, cv2.LINE_AA)
    return strip


def _head(headings: Sequence[str], width: int) -> NDArray[np.uint8]:
    strip = np.full((_HEAD, width, 3), _PAPER, np.uint8)
    for column, heading in enumerate(headings):
        _write(strip, heading, x=_GAP + column * (_CELL + _GAP), y=17)
    return strip


def _caption(pair: Pair, swing: float) -> str:
    height, width = pair.left.shape[:2]
    text = f"{pair.split}  {pair.pair_id}  {width}x{height}, {pair.left.dtype.itemsize * 8} bit"
    if pair.coc is not None:
        text += f", radius {float(pair.coc.min()):+.1f} to {float(pair.coc.max()):+.1f} px"
    if pair.provenance.kernel_family:
        text += f", {pair.provenance.kernel_family}"
    blur = "blurred" if pair.coc is not None else "unlike"
    return f"{text}; above: most {blur} (red frame), below: least; left - right to {swing:.0f}/255"


def _eight_bit(picture: Picture) -> NDArray[np.uint8]:
    return (picture if picture.dtype == np.uint8 else picture >> 8).astype(np.uint8)


def _write(sheet: NDArray[np.uint8], text: str, *, x: int, y: int) -> None:
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(sheet, text, (x, y), font, 0.4, (_INK,) * 3, 1, cv2.LINE_AA)
