"""A line over training steps as inline SVG. Colours come from the page's style sheet."""

import html
import json
import math
from collections.abc import Callable, Sequence

Points = Sequence[tuple[int, float]]
Scale = Callable[[float], float]

WIDTH, HEIGHT = 440, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 30
_MAX_POINTS = 400


def chart(points: Points, *, name: str, unit: str, line_to_beat: float | None = None) -> str:
    """Draw values over steps; noise that hides the course is drawn faintly under its mean.

    name: what is drawn, for tooltips and screen readers. line_to_beat: a dashed level.
    Points that are not finite are left out. Returns an empty string without points.
    """
    points = [(step, value) for step, value in points if math.isfinite(value)]
    if not points:
        return ""
    points = _thinned(points)
    noisy = len(points) > 40
    shown = _smoothed(points) if noisy else points
    low, high = _range(points if not noisy else [*shown, *_middle(points)], line_to_beat)
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def x(step: float) -> float:
        return _LEFT + (step - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    parts = [_grid(low, high, first, last, x, y)]
    if line_to_beat is not None:
        level = y(line_to_beat)
        parts.append(
            f'<line class="level" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{level:.1f}" '
            f'y2="{level:.1f}"/><text class="level-name" x="{WIDTH - _RIGHT}" '
            f'y="{level - 6:.1f}" text-anchor="end">blurred input {line_to_beat:.2f}</text>'
        )
    if noisy:
        parts.append(f'<path class="raw" d="{_path(points, x, y)}"/>')
    parts.append(f'<path class="course" d="{_path(shown, x, y)}"/>')
    end_step, end_value = shown[-1]
    parts.append(f'<circle class="end" cx="{x(end_step):.1f}" cy="{y(end_value):.1f}" r="4"/>')
    marks = [
        [step, round(value, 5), round(x(step), 1), round(y(value), 1)] for step, value in shown
    ]
    label = html.escape(
        f"{name} from step {points[0][0]} to {points[-1][0]}: "
        f"{shown[0][1]:.4g} to {end_value:.4g} {unit}".strip()
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        f'tabindex="0" data-unit="{html.escape(unit)}" '
        f'data-points="{html.escape(json.dumps(marks))}">{"".join(parts)}'
        f'<g class="cursor" hidden><line y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        '<circle r="4"/></g></svg>'
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers (1, 2 or 5 times a power of ten) inside a range."""
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    start = math.ceil(low / step - 1e-9)
    stop = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(start, stop + 1)]


def _grid(low: float, high: float, first: int, last: int, x: Scale, y: Scale) -> str:
    parts = []
    for value in ticks(low, high):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text class="tick" x="{_LEFT - 8}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:g}</text>'
        )
    for step in ticks(first, last):
        if step != int(step):
            continue
        anchor = "end" if x(step) > WIDTH - 30 else "middle"
        parts.append(
            f'<text class="tick" x="{x(step):.1f}" y="{HEIGHT - 10}" '
            f'text-anchor="{anchor}">{int(step)}</text>'
        )
    return "".join(parts)


def _path(points: Points, x: Scale, y: Scale) -> str:
    return "M" + " L".join(f"{x(step):.1f} {y(value):.1f}" for step, value in points)


def _range(points: Points, level: float | None) -> tuple[float, float]:
    values = [value for _, value in points] + ([] if level is None else [level])
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - margin, high + margin


def _middle(points: Points) -> Points:
    """The points but for the outermost two per cent of values, which would flatten the rest."""
    order = sorted(points, key=lambda point: point[1])
    cut = len(order) // 50
    return order[cut : len(order) - cut]


def _smoothed(points: Points) -> list[tuple[int, float]]:
    """Mean over the neighbours within a twentieth of the run on either side."""
    reach = max(1, len(points) // 20)
    values = [value for _, value in points]
    smooth = []
    for i, (step, _) in enumerate(points):
        part = values[max(0, i - reach) : i + reach + 1]
        smooth.append((step, math.fsum(part) / len(part)))
    return smooth


def _thinned(points: Points) -> Points:
    """Means over groups of consecutive points, so that the page stays small."""
    group = math.ceil(len(points) / _MAX_POINTS)
    if group == 1:
        return points
    return [
        (part[-1][0], math.fsum(value for _, value in part) / len(part))
        for part in (points[i : i + group] for i in range(0, len(points), group))
    ]
