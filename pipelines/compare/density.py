"""Two distributions over each other as inline SVG. Colours come from the page's style sheet."""

import html

import numpy as np
from numpy.typing import NDArray

from pipelines.report.curve import ticks

Values = NDArray[np.float64]

WIDTH, HEIGHT = 440, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 10, 10, 52
_POINTS = 160
_OUTERMOST = 0.01
_BARS = (HEIGHT - 40, HEIGHT - 32)
"""Where the quartiles of each lie, under the curves."""


def densities(first: Values, second: Values, *, label: str) -> str:
    """Draw the densities of two samples (n,), each not empty, and their quartiles below.

    label: for screen readers. The outermost hundredth of the values is not drawn.
    """
    both = np.concatenate([first, second])
    low, high = (float(value) for value in np.quantile(both, [_OUTERMOST, 1.0 - _OUTERMOST]))
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-3):
        margin = 0.05 * abs(low) or 1.0
        low, high = low - margin, high + margin
    places = np.linspace(low, high, _POINTS)
    curves = [_density(sample, places, high - low) for sample in (first, second)]
    peak = max(float(curve.max()) for curve in curves)

    def x(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    base = HEIGHT - _BOTTOM
    parts = [f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>']
    for value in ticks(low, high):
        anchor = "start" if x(value) < 20 else "end" if x(value) > WIDTH - 20 else "middle"
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{HEIGHT - 8}" '
            f'text-anchor="{anchor}">{value:g}</text>'
        )
    for kind, sample, curve, bar in zip(
        ("one", "other"), (first, second), curves, _BARS, strict=True
    ):
        heights = base - curve / peak * (base - _TOP)
        points = " L".join(
            f"{x(place):.1f} {height:.1f}" for place, height in zip(places, heights, strict=True)
        )
        area = f"M{_LEFT} {base} L{points} L{WIDTH - _RIGHT} {base}Z"
        quarter, half, three = (x(float(q)) for q in np.quantile(sample, [0.25, 0.5, 0.75]))
        parts.append(
            f'<path class="area {kind}" d="{area}"/><path class="outline {kind}" d="M{points}"/>'
            f'<line class="quartiles {kind}" x1="{quarter:.1f}" x2="{three:.1f}" y1="{bar}" '
            f'y2="{bar}"/><circle class="median {kind}" cx="{half:.1f}" cy="{bar}" r="3.5"/>'
        )
    return (
        f'<svg class="densities" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
    )


def _density(sample: Values, places: Values, span: float) -> Values:
    """Gaussian kernels of Silverman's width; a value that all share is a narrow peak."""
    quarter, three = np.quantile(sample, [0.25, 0.75])
    spread = min(float(sample.std()), float(three - quarter) / 1.34) or float(sample.std())
    width = max(0.9 * spread * len(sample) ** -0.2, 0.006 * span)
    bells = np.exp(-0.5 * ((places[:, None] - sample) / width) ** 2)
    return np.asarray(bells.sum(1) / (len(sample) * width))
