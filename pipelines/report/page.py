"""One HTML page with everything in it: style, script and pictures. It asks no network."""

import html
from collections.abc import Sequence

import numpy as np

from pipelines.report.compare import compare
from pipelines.report.curve import chart
from pipelines.report.document import Section, asset, document, facts, notes
from pipelines.report.findings import findings
from pipelines.report.metrics import headline, metrics_table
from pipelines.report.page_data import Command, Comparison, PageData, Place, TrainingCurve
from pipelines.report.radius import radius_maps

_SMALL_PX = 480
"""Pictures up to this width stand side by side: larger, they would only be magnified."""


def render_page(data: PageData) -> str:
    """Return the page as one HTML text. Raises ValueError for what is not a picture."""
    sections = [
        ("held-out", "Pairs it has never seen", _pairs(data.held_out)),
        ("real", "From a real camera", _pairs(data.real)),
        ("own", "Your pictures", _pairs(data.own)),
        ("metrics", "In figures", metrics_table(data.metrics) if data.metrics else ""),
        ("training", "How it learned", _training(data.curve)),
        ("radius", "Near and far", radius_maps(data.radii)),
        ("findings", "What the network found", findings(data.findings) if data.findings else ""),
        ("places", "Where everything lies", _places(data.places)),
        ("next", "What to do next", _commands(data.next_steps)),
    ]
    return document(
        title=data.title,
        head=_lead(data) + headline(data.metrics) + facts(data.facts) + notes(data.notes),
        sections=[
            Section(key, title, _ABOUT.get(key, "") + body) for key, title, body in sections if body
        ],
        script=asset("page.js"),
    )


_ABOUT = {
    "held-out": '<p class="about">Synthetic pairs that share no scene with training. Drag the '
    "line, or focus a picture and use the arrow keys. The details show the framed square, where "
    "the network changed most for the better.</p>",
    "own": '<p class="about">Drag the line, or focus a picture and use the arrow keys. The details '
    "show the framed square, where most has changed.</p>",
    "real": '<p class="about">Dual-pixel captures that were in no training set.</p>',
    "radius": '<p class="about">How far from focus the network takes each place to be: the radius '
    "of the circle that a point is blurred to, told from the disparity of the two views, with the "
    "side of focus as its sign. Held-out synthetic pairs, where the truth is known.</p>",
    "metrics": '<p class="about">Means over held-out pairs; pictures as floats in [0, 1]. The '
    "blurred input is the mean of the two views. RMSE<sub>rel</sub> is 10<sup>−PSNR/20</sup>.</p>",
}


def _lead(data: PageData) -> str:
    return f'<p class="lead">{html.escape(data.lead)}</p>' if data.lead else ""


def _pairs(pairs: Sequence[Comparison]) -> str:
    if not pairs:
        return ""
    figures = "".join(compare(pair) for pair in pairs)
    small = all(np.asarray(pair.input).shape[1] <= _SMALL_PX for pair in pairs)
    return f'<div class="pairs{" small" if small else ""}">{figures}</div>'


def _training(curve: TrainingCurve) -> str:
    charts = [
        (
            "PSNR on validation pairs",
            chart(
                curve.val_psnr,
                name="PSNR on validation pairs",
                unit="dB",
                line_to_beat=curve.input_psnr,
            ),
        ),
        ("Training loss", chart(curve.loss, name="Training loss", unit="")),
    ]
    figures = "".join(
        f'<figure class="course-of"><figcaption>{title}<output></output></figcaption>{drawn}'
        '<div class="axis">training step</div></figure>'
        for title, drawn in charts
        if drawn
    )
    return f'<div class="charts">{figures}</div>' if figures else ""


def _places(places: Sequence[Place]) -> str:
    if not places:
        return ""
    items = "".join(
        f"<div><dt>{html.escape(place.what)}</dt><dd><code>{html.escape(place.where)}</code>"
        "</dd></div>"
        for place in places
    )
    return f'<dl class="places">{items}</dl>'


def _commands(commands: Sequence[Command]) -> str:
    if not commands:
        return ""
    items = "".join(
        f'<li><p>{html.escape(command.why)}</p><div class="command">'
        f'<code>{html.escape(command.line)}</code><button type="button" class="copy" '
        'aria-label="Copy the command">Copy</button></div></li>'
        for command in commands
    )
    return f'<ol class="commands">{items}</ol>'
