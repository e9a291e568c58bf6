"""Several methods in one chart, as lines or as named points: inline SVG, colours by style sheet."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.report.curve import ticks

WIDTH, HEIGHT = 440, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 30
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
    """Return the names beside their colours."""
    items = "".join(
        f'<span class="series-key s{i % COLOURS}">{html.escape(name)}</span>'
        for i, name in enumerate(names)
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
    first, last = _range([x for x, _ in all_points], 0.12 if not joined else 0.0)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)
        return _LEFT + across, HEIGHT - _BOTTOM - (y - low) / (high - low) * (
            HEIGHT - _TOP - _BOTTOM
        )

    parts = []
    for value in ticks(low, high):
        y = at(first, value)[1]
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    marks = list(enumerate(names)) if joined else _decades(first, last)
    for x, text in marks:
        place = at(x, low)[0]
        anchor = "end" if place > WIDTH - 36 else "start" if place < _LEFT + 10 else "middle"
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
            f"{html.escape(text)}</text>"
        )
    for i, one, found in kept:
        parts.append(_one(i, one, [at(x, y) for x, y in found], at, joined=joined))
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    )


def _one(i: int, one: Series, places: Sequence[tuple[float, float]], at, *, joined: bool) -> str:  # type: ignore[no-untyped-def]
    kind = f"s{i % COLOURS}"
    parts = []
    if joined and places:
        dash = ' stroke-dasharray="6 4"' if i >= COLOURS else ""
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {kind}" d="{path}"{dash}/>')
    for (x, _), (low, high) in zip(places, one.intervals, strict=False):
        if math.isfinite(low):
            top, bottom = at(0, high)[1], at(0, low)[1]
            parts.append(
                f'<line class="reach {kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" '
                f'y2="{bottom:.1f}"/>'
            )
    for x, y in places:
        parts.append(
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{3 if joined else 5}"/>'
        )
        if not joined:
            anchor, shift = ("end", -9) if x > WIDTH * 0.6 else ("start", 9)
            parts.append(
                f'<text class="point-name" x="{x + shift:.1f}" y="{y - 6:.1f}" '
                f'text-anchor="{anchor}">{html.escape(one.name)}</text>'
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
    """Round numbers on a logarithmic axis; 1, 2, 5 of each power of ten."""
    found = []
    for power in range(math.floor(first), math.ceil(last) + 1):
        for digit in (1, 2, 5):
            x = power + math.log10(digit)
            if first <= x <= last:
                found.append((x, f"{digit * 10.0**power:g}"))
    return found if len(found) <= 7 else found[::3]
