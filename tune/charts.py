"""Charts of a search as inline SVG: points over one key, and every key beside each other.

Colours come from the page's style sheet and ``STYLE``.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.report.curve import ticks
from tune.space import Axis, Choice, shown

WIDTH, HEIGHT = 440, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 30
_COLUMN, _PARALLEL_HEIGHT = 150, 300
_MOST_MARKS = 7

STYLE = """
.plot .hollow { fill: var(--paper); stroke: var(--series); stroke-width: 2; }
.plot .ring { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.parallel { display: block; width: 100%; min-width: 34rem; height: auto; }
.parallel .trial { fill: none; stroke: var(--soft); stroke-width: 1.5; opacity: .45; stroke-linejoin: round; }
.parallel .whole { stroke: var(--teal); opacity: .6; }
.parallel .best { stroke: var(--teal); stroke-width: 4; opacity: 1; font-weight: 400; }
.parallel .diverged { stroke: var(--red); stroke-dasharray: 5 4; opacity: .8; }
.parallel .trial:hover { stroke-width: 5; opacity: 1; }
.parallel .upright { stroke: var(--line); stroke-width: 2; }
.parallel .axis-name { fill: var(--ink); font: 600 13px var(--sans); }
.hollow-key::before { background: none; border: 2px solid currentColor; box-sizing: border-box; }
.ring-key::before { background: none; border: 1.5px solid var(--ink); box-sizing: border-box; }
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis of a chart."""

    name: str
    low: float
    high: float
    log: bool = False
    names: tuple[str, ...] = ()
    """Of values to choose from, which lie at 0.5, 1.5, ... evenly; empty: numbers."""

    def place(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def marks(self) -> list[tuple[float, str]]:
        """Return places, 0 to 1, with what stands there."""
        if self.names:
            every = math.ceil(len(self.names) / _MOST_MARKS)
            places = [(self.place(i + 0.5), name) for i, name in enumerate(self.names)]
            return places[::every]
        if not self.log:
            return [(self.place(value), f"{value:g}") for value in ticks(self.low, self.high)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        inside = [v for v in values if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]
        if len(inside) < 2:
            inside = ticks(self.low, self.high)
        every = math.ceil(len(inside) / _MOST_MARKS)
        return [(self.place(value), f"{value:g}") for value in inside[::every]]


def scale_of(name: str, axis: Axis) -> Scale:
    """Return how an axis of a space is drawn."""
    if isinstance(axis, Choice):
        names = tuple(shown(value) for value in axis.values)
        return Scale(name, 0.0, float(len(names)), names=names)
    if axis.low == axis.high:
        return scale_over(name, [float(axis.low)], log=axis.log)
    return Scale(name, float(axis.low), float(axis.high), log=axis.log)


def number_on(axis: Axis, value: object) -> float:
    """Return what a scale of the axis takes for a value of a trial."""
    if isinstance(axis, Choice):
        return axis.values.index(value) + 0.5
    return float(value)  # type: ignore[arg-type]


def scale_over(name: str, values: Sequence[float], *, log: bool = False) -> Scale:
    """Return a scale that holds the values, with a margin. Needs one at least."""
    low, high = min(values), max(values)
    if log:
        reach = (high / low) ** 0.08 if high > low else 1.5
        return Scale(name, low / reach, high * reach, log=True)
    margin = 0.08 * (high - low) or max(abs(high) * 0.02, 1e-6)
    return Scale(name, low - margin, high + margin)


@dataclass(frozen=True, slots=True)
class Dot:
    """One trial in a chart of points."""

    x: float
    y: float
    about: str
    """What is told where one points at it."""
    colour: int = 1
    whole: bool = True
    """Whether it was trained in full; else hollow."""
    best: bool = False


def scatter(dots: Sequence[Dot], x: Scale, y: Scale, *, label: str) -> str:
    """Draw points."""
    parts = []
    for dot in sorted(dots, key=lambda dot: dot.whole):
        across, up = _at(x.place(dot.x), y.place(dot.y))
        where = f'cx="{across:.1f}" cy="{up:.1f}"'
        kind = "dot" if dot.whole else "hollow"
        parts.append(
            f'<circle class="{kind} s{dot.colour}" {where} r="5">'
            f"<title>{html.escape(dot.about)}</title></circle>"
        )
        if dot.best:
            parts.append(f'<circle class="ring" {where} r="9"/>')
    return _framed("".join(parts), x, y, label)


@dataclass(frozen=True, slots=True)
class Course:
    """One trial over its steps."""

    points: tuple[tuple[float, float], ...]
    about: str
    colour: int
    """0 stands back."""


def courses(drawn: Sequence[Course], x: Scale, y: Scale, *, label: str) -> str:
    """Draw a line a trial; those that stand back lie below the others."""
    parts = []
    for one in sorted(drawn, key=lambda one: (one.colour != 0, -one.colour)):
        places = [_at(x.place(step), y.place(value)) for step, value in one.points]
        path = "M" + " L".join(f"{across:.1f} {up:.1f}" for across, up in places)
        about = f"<title>{html.escape(one.about)}</title>"
        parts.append(f'<path class="line s{one.colour}" d="{path}">{about}</path>')
        across, up = places[-1]
        parts.append(f'<circle class="dot s{one.colour}" cx="{across:.1f}" cy="{up:.1f}" r="3"/>')
    return _framed("".join(parts), x, y, label)


def _at(across: float, up: float) -> tuple[float, float]:
    return (
        _LEFT + across * (WIDTH - _LEFT - _RIGHT),
        HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM),
    )


def _framed(marks: str, x: Scale, y: Scale, label: str) -> str:
    parts = []
    for share, text in y.marks():
        height = _at(0, share)[1]
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{height:.1f}" '
            f'y2="{height:.1f}"/><text class="tick" x="{_LEFT - 8}" y="{height + 4:.1f}" '
            f'text-anchor="end">{html.escape(text)}</text>'
        )
    for share, text in x.marks():
        place = _at(share, 0)[0]
        anchor = "end" if place > WIDTH - 30 else "middle"
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
            f"{html.escape(text)}</text>"
        )
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}{marks}</svg>'
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One trial over all axes."""

    values: tuple[float, ...]
    """A number on each scale; the last may be left out, by one that has no score."""
    about: str
    kind: str
    """best, whole, stopped or diverged."""


def parallel(lines: Sequence[Line], scales: Sequence[Scale], *, label: str) -> str:
    """Draw parallel coordinates (Inselberg, 1985): an upright line a key, one across a trial."""
    width = _COLUMN * len(scales)
    top, bottom = 34, _PARALLEL_HEIGHT - 12

    def at(number: int, value: float) -> tuple[float, float]:
        return _COLUMN * (number + 0.5), bottom - scales[number].place(value) * (bottom - top)

    order = ("stopped", "diverged", "whole", "best")
    parts = []
    for number, scale in enumerate(scales):
        x = _COLUMN * (number + 0.5)
        parts.append(
            f'<line class="upright" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
            f'<text class="axis-name" x="{x}" y="16" text-anchor="middle">'
            f"{html.escape(scale.name)}</text>"
        )
    for line in sorted(lines, key=lambda line: order.index(line.kind)):
        places = [at(number, value) for number, value in enumerate(line.values)]
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(
            f'<path class="trial {line.kind}" d="{path}"><title>{html.escape(line.about)}</title>'
            "</path>"
        )
    for number, scale in enumerate(scales):
        for share, text in scale.marks():
            y = bottom - share * (bottom - top)
            parts.append(
                f'<text class="tick" x="{_COLUMN * (number + 0.5) - 8}" y="{y + 4:.1f}" '
                f'text-anchor="end">{html.escape(text)}</text>'
            )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Every key of every trial">'
        f'<svg class="parallel" viewBox="0 0 {width} {_PARALLEL_HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg></div>'
    )
