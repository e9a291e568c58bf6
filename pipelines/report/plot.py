"""Several methods in one chart, as lines or as named points: inline SVG, colours by style sheet."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.report.curve import ticks

WIDTH, HEIGHT = 440, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 30
_TICKS = 8
_LINE_PX, _LETTER_PX = 14, 6.6
_APART_PX = 5
"""Between the intervals of two methods at one place."""
COLOURS = 6
"""Methods beyond them share colours with the first; their dashes differ."""


@dataclass(frozen=True, slots=True)
class Series:
    """One method: points (x, y), and half-open intervals of y where they are known."""

    name: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float]] = ()
    """(low, high) of each point; NaN where there is none. Empty: none has one."""


def lines(series: Sequence[Series], names: Sequence[str], *, label: str) -> str:
    """Draw lines over places 0, 1, ... on the x axis, which have names; empty without points."""
    return _drawn(series, label, joined=True, names=names)


def points(series: Sequence[Series], *, label: str) -> str:
    """Draw each method's points with its name over a logarithmic x axis; empty without points."""
    return _drawn(series, label, joined=False)


def legend(names: Sequence[str]) -> str:
    """Return the names beside their colours; an empty name keeps its colour for itself."""
    items = "".join(
        f'<span class="series-key s{i % COLOURS}">{html.escape(name)}</span>'
        for i, name in enumerate(names)
        if name
    )
    return f'<p class="series-keys">{items}</p>'


def _drawn(series: Sequence[Series], label: str, *, joined: bool, names: Sequence[str] = ()) -> str:
    kept = [
        (i, one, [(_x(x, joined), y) for x, y in one.points if math.isfinite(y)])
        for i, one in enumerate(series)
    ]
    all_points = [point for _, _, found in kept for point in found]
    if not all_points:
        return ""
    reaches = [v for _, one, _ in kept for pair in one.intervals for v in pair if math.isfinite(v)]
    low, high = _range([y for _, y in all_points] + reaches, 0.08)
    first, last = _range([x for x, _ in all_points], 0.12 if not joined else 0.04 * bool(reaches))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)
        return _LEFT + across, HEIGHT - _BOTTOM - (y - low) / (high - low) * (
            HEIGHT - _TOP - _BOTTOM
        )

    parts = []
    for value in ticks(low, high, _TICKS):
        y = at(first, value)[1]
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    marks = list(enumerate(names)) if joined else _decades(first, last)
    for x, text in marks:
        place = at(x, low)[0]
        half = _LETTER_PX * len(text) / 2
        anchor = "end" if place + half > WIDTH else "start" if place < half else "middle"
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
            f"{html.escape(text)}</text>"
        )
    drawn = [(i, one, found) for i, one, found in kept if found]
    named: list[tuple[str, float, float]] = []
    for place_of, (i, one, found) in enumerate(drawn):
        # Side by side, or bars at one place hide each other.
        aside = _APART_PX * (place_of - (len(drawn) - 1) / 2) if joined and reaches else 0.0
        places = [(x + aside, y) for x, y in (at(*point) for point in found)]
        parts.append(_one(i, one, places, lambda value: at(first, value)[1], joined=joined))
        named += [(one.name, x, y) for x, y in places]
    if not joined:
        parts.append(_names(named))
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    )


def _one(
    i: int,
    one: Series,
    places: Sequence[tuple[float, float]],
    height_of: Callable[[float], float],
    *,
    joined: bool,
) -> str:
    kind = f"s{i % COLOURS}"
    parts = []
    if joined:
        dash = ' stroke-dasharray="6 4"' if i >= COLOURS else ""
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {kind}" d="{path}"{dash}/>')
    for (x, _), (low, high) in zip(places, one.intervals, strict=False):
        if math.isfinite(low):
            parts.append(
                f'<line class="reach {kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{height_of(high):.1f}" '
                f'y2="{height_of(low):.1f}"/>'
            )
    for x, y in places:
        parts.append(
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{3 if joined else 5}"/>'
        )
    return "".join(parts)


def _names(points: Sequence[tuple[str, float, float]]) -> str:
    """The names of points at their sides, moved down where one would lie on another."""
    taken: list[tuple[float, float, float]] = []
    parts = []
    for name, x, y in sorted(points, key=lambda point: point[2]):
        anchor, edge = ("end", x - 9) if x > WIDTH * 0.6 else ("start", x + 9)
        width = _LETTER_PX * len(name)
        left = edge - width if anchor == "end" else edge
        base = y - 6
        for other, right, theirs in taken:
            if left < right and other < left + width and base < theirs + _LINE_PX:
                base = theirs + _LINE_PX
        taken.append((left, left + width, base))
        parts.append(
            f'<text class="point-name" x="{edge:.1f}" y="{base:.1f}" text-anchor="{anchor}">'
            f"{html.escape(name)}</text>"
        )
    return "".join(parts)


def _x(value: float, joined: bool) -> float:
    return value if joined else math.log10(max(value, 1e-12))


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low < 1e-9:
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def _decades(first: float, last: float) -> list[tuple[float, str]]:
    """Round numbers on a logarithmic axis: 1, 2, 5 of each power of ten, or more where few fit."""
    found = []
    for power in range(math.floor(first), math.ceil(last) + 1):
        for digit in (1, 2, 5):
            x = power + math.log10(digit)
            if first <= x <= last:
                found.append((x, f"{digit * 10.0**power:g}"))
    if len(found) < 2:
        return [(math.log10(value), f"{value:g}") for value in ticks(10**first, 10**last, 4)]
    return found if len(found) <= 7 else found[::3]
