"""Sheets of labelled pictures and small plots, for the figures of the documentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

PAPER, INK = 250, (40, 40, 40)
RED: Colour = (200, 50, 40)
BLUE: Colour = (20, 90, 200)
GREY: Colour = (150, 150, 150)
GREEN: Colour = (20, 130, 60)

_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
_LINE, _GAP = 17, 6


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture with lines of text under it."""

    picture: Picture
    caption: str = ""
    """Lines are parted by a line break."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a plot."""

    x: np.ndarray
    y: np.ndarray
    colour: Colour
    name: str
    width: int = 1


def table(
    rows: Sequence[Sequence[Cell | None]],
    *,
    headings: Sequence[str] = (),
    labels: Sequence[str] = (),
    title: str = "",
) -> Picture:
    """Cells in rows and columns; labels stand before the rows, headings above the columns."""
    heights = [max((c.picture.shape[0] for c in row if c), default=0) for row in rows]
    feet = [max((_lines(c.caption) for c in row if c), default=0) for row in rows]
    count = max(len(row) for row in rows)
    widths = [
        max(
            max((r[k].picture.shape[1] for r in rows if k < len(r) and r[k]), default=0),  # type: ignore[union-attr]
            max((_width(r[k].caption) for r in rows if k < len(r) and r[k]), default=0),  # type: ignore[union-attr]
            _width(headings[k]) if k < len(headings) else 0,
        )
        for k in range(count)
    ]
    before = max((_width(label) for label in labels), default=-_GAP) + 2 * _GAP
    head = (_LINE + 4 if title else 0) + (max(map(_lines, headings)) * _LINE if headings else 0)
    width = max(before + sum(widths) + count * _GAP, _width(title) + 2 * _GAP)
    height = head + _GAP + sum(heights) + sum(f * _LINE for f in feet) + len(rows) * _GAP
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    write(sheet, title, x=_GAP, y=14)
    starts = before + np.cumsum([0, *(w + _GAP for w in widths)])
    for heading, start in zip(headings, starts, strict=False):
        write(sheet, heading, x=int(start), y=head - (_lines(heading) - 1) * _LINE - 2)
    top = head + _GAP
    for number, row in enumerate(rows):
        if number < len(labels):
            middle = top + heights[number] // 2 - (_lines(labels[number]) - 1) * _LINE // 2 + 5
            write(sheet, labels[number], x=_GAP, y=middle)
        for cell, start in zip(row, starts, strict=False):
            if cell is None:
                continue
            x, (rows_px, columns_px) = int(start), cell.picture.shape[:2]
            sheet[top : top + rows_px, x : x + columns_px] = cell.picture
            write(sheet, cell.caption, x=x, y=top + rows_px + 13)
        top += heights[number] + feet[number] * _LINE + _GAP
    return sheet


def stack(*sheets: Picture) -> Picture:
    """Sheets below one another."""
    width = max(sheet.shape[1] for sheet in sheets)
    pads = [((0, 8), (0, width - sheet.shape[1]), (0, 0)) for sheet in sheets]
    return np.concatenate(
        [np.pad(s, pad, constant_values=PAPER) for s, pad in zip(sheets, pads, strict=True)]
    )


def beside(*sheets: Picture) -> Picture:
    """Sheets next to one another."""
    height = max(sheet.shape[0] for sheet in sheets)
    pads = [((0, height - sheet.shape[0]), (0, 8), (0, 0)) for sheet in sheets]
    return np.concatenate(
        [np.pad(s, pad, constant_values=PAPER) for s, pad in zip(sheets, pads, strict=True)], axis=1
    )


def write(sheet: Picture, text: str, *, x: int, y: int, colour: Colour = INK) -> None:
    """Write lines of ASCII; y is the foot of the first."""
    assert text.isascii(), f"no letters for {text!r}"
    for number, line in enumerate(text.split("\n")):
        assert x + _width(line) <= sheet.shape[1], f"{line!r} does not fit the sheet"
        place = (x, y + number * _LINE)
        cv2.putText(sheet, line, place, _FONT, _SIZE, colour, 1, cv2.LINE_AA)


def enlarge(picture: Picture, factor: int) -> Picture:
    """Pixels as squares."""
    return np.ascontiguousarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))


def line(picture: Picture, start: tuple[float, float], end: tuple[float, float], c: Colour) -> None:
    """A thin smooth line, from and to (x, y) with fractions."""
    points = [(round(16 * p[0]), round(16 * p[1])) for p in (start, end)]
    cv2.line(picture, points[0], points[1], c, 1, cv2.LINE_AA, 4)


def arrow(picture: Picture, tail: tuple[float, float], tip: tuple[float, float], c: Colour) -> None:
    """A horizontal arrow."""
    line(picture, tail, tip, c)
    back = 5.0 if tip[0] < tail[0] else -5.0
    for side in (-4.0, 4.0):
        line(picture, tip, (tip[0] + back, tip[1] + side), c)


def cross(picture: Picture, x: float, y: float, colour: Colour, arm: float = 5.0) -> None:
    """A mark at (x, y)."""
    line(picture, (x - arm, y), (x + arm, y), colour)
    line(picture, (x, y - arm), (x, y + arm), colour)


def signed_colours(values: np.ndarray, greatest: float) -> Picture:
    """Positive red, negative blue, white at 0; full colour at `greatest`."""
    share = np.clip(values / greatest, -1.0, 1.0)
    up, down = np.maximum(share, 0.0), np.maximum(-share, 0.0)
    colour = np.stack([1 - 0.9 * down, 1 - 0.8 * (up + down), 1 - 0.9 * up], axis=-1)
    return np.rint(255.0 * colour).astype(np.uint8)


def plot(
    size: tuple[int, int],
    curves: Sequence[Curve],
    *,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_name: str,
    log_x: bool = False,
    margin: int = 30,
    legend: tuple[int, int] | None = (8, 14),
) -> Picture:
    """Curves over axes that end with the outermost ticks; size is (H, W), all in.

    margin: room for the numbers at the left. legend: where it begins in the axes; None: none.
    """
    height, width = size
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    right, foot, top = width - 1, height - 36, 6
    sheet[top : foot + 1, margin : right + 1] = 255

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        def unit(v: np.ndarray, ticks: Sequence[float]) -> np.ndarray:
            return (v - ticks[0]) / (ticks[-1] - ticks[0])

        along = unit(np.log(x), np.log(x_ticks).tolist()) if log_x else unit(x, x_ticks)
        up = unit(y, y_ticks)
        across = margin + along * (right - margin)
        return np.stack([across, foot - up * (foot - top)], axis=-1)

    for tick in y_ticks:
        _, y = place(np.array(x_ticks[0]), np.array(float(tick)))
        line(sheet, (margin, y), (right, y), (225, 225, 225))
        label = f"{tick:g}"
        write(sheet, label, x=margin - 4 - _width(label), y=int(y) + 5)
    for tick in x_ticks:
        x, _ = place(np.array(float(tick)), np.array(y_ticks[0]))
        line(sheet, (x, top), (x, foot), (225, 225, 225))
        label = f"{tick:g}"
        write(sheet, label, x=min(int(x) - _width(label) // 2, width - _width(label)), y=foot + 15)
    inner = sheet[top : foot + 1, margin : right + 1]
    for curve in curves:
        points = place(curve.x.astype(float), curve.y.astype(float)) - (margin, top)
        points = np.rint(16 * np.clip(points, -1e4, 1e4)).astype(np.int32)
        cv2.polylines(inner, [points], False, curve.colour, curve.width, cv2.LINE_AA, 4)
    if legend is not None:
        for number, curve in enumerate(curves):
            x, y = margin + legend[0], top + legend[1] + number * _LINE
            cv2.line(sheet, (x, y - 4), (x + 14, y - 4), curve.colour, max(curve.width, 2))
            write(sheet, curve.name, x=x + 19, y=y, colour=curve.colour)
    write(sheet, x_name, x=margin, y=height - 6)
    return sheet


def save(path: Path, picture: Picture) -> int:
    """Write a PNG; returns its size in bytes."""
    done, data = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    path.write_bytes(data.tobytes())
    return len(data)


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _width(text: str) -> int:
    lines = text.split("\n")
    return max(int(cv2.getTextSize(one, _FONT, _SIZE, 1)[0][0]) for one in lines) if text else 0
