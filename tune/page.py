"""The page of a search: one HTML file with its trials as tables and charts."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.document import Section, document, facts, notes
from tune.charts import (
    STYLE,
    Course,
    Dot,
    Line,
    Scale,
    courses,
    number_on,
    parallel,
    scale_of,
    scale_over,
    scatter,
)
from tune.config import NUM_KERNELS
from tune.figures import COST_SIZE, TrialFigures
from tune.space import Choice, Space, names_of, shown

_COLOURS = 5
"""Values that points tell apart by colour; s0 is that of what stands back."""
_UNITS = {"val_psnr": "PSNR, dB", "val_ssim": "SSIM"}
_DIGITS = {"val_psnr": 2, "val_ssim": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchContent:
    """What the page shows."""

    name: str
    metric: str
    space: Space
    sampler: str
    steps: int
    """Of a trial that is not stopped."""
    wanted: int
    """Trials that were asked for."""
    data: tuple[str, ...]
    """Datasets."""
    trials: tuple[TrialFigures, ...]
    best: int
    """The number of the best combination."""
    command: str
    """Trains the best in full."""


def search_page(content: SearchContent) -> str:
    """Return the page as one HTML text."""
    sections = [
        ("trials", "The trials", _table(content)),
        ("response", "What each key does", _response(content)),
        ("values", "By value", _by_value(content)),
        ("together", "All keys together", _together(content)),
        ("course", "Over the steps", _course(content)),
        ("cost", "Cost against quality", _cost(content)),
        ("next", "To train the best in full", _command(content)),
    ]
    keys = ", ".join(names_of(list(content.space)))
    lead = f"{len(content.trials)} trainings on {', '.join(content.data)}, told apart by {keys}."
    return document(
        title="A search",
        head=f'<p class="lead">{html.escape(lead)}</p>'
        + facts(_facts(content))
        + notes(_notes(content)),
        sections=[Section(key, title, body) for key, title, body in sections if body],
        style=STYLE,
    )


def _facts(content: SearchContent) -> list[tuple[str, str]]:
    statuses = [one.record.status for one in content.trials]
    counts = [f"{statuses.count(kind)} {kind}" for kind in dict.fromkeys(statuses)]
    best = next(one for one in content.trials if _is_best(content, one))
    return [
        ("search", content.name),
        ("trials", ", ".join(counts)),
        ("steps in full", str(content.steps)),
        ("drawn", content.sampler),
        ("best", f"{best.record.combination}: {_score(content, best)}"),
    ]


def _notes(content: SearchContent) -> list[str]:
    found = []
    if len(content.trials) < content.wanted:
        found.append(
            f"{len(content.trials)} of {content.wanted} trials: the time was up. The same command "
            "goes on with the others."
        )
    best = next(one for one in content.trials if _is_best(content, one))
    if best.record.last.step < content.steps:
        found.append(
            f"No trial was trained in full: the best is that of the longest, "
            f"{best.record.last.step} of {content.steps} steps."
        )
    return found


def _table(content: SearchContent) -> str:
    names = [*names_of(list(content.space)), "steps", "PSNR", "SSIM", "parameters"]
    names += ["multiply-adds", "came to"]
    head = "".join(f'<th scope="col">{html.escape(n)}</th>' for n in ("Trial", *names))
    ordered = sorted(content.trials, key=lambda one: _rank(content, one))
    rows = "".join(_row(content, one) for one in ordered)
    about = (
        '<p class="about">The longest trained first, those by '
        f"{_UNITS[content.metric].partition(',')[0]} on whole held-out pictures; figures of "
        "different lengths of training do not compare. One seed each: differences of a few "
        "hundredths of a dB may be chance.</p>"
    )
    return about + _scrolled("Trials", head, rows)


def _rank(content: SearchContent, one: TrialFigures) -> tuple[bool, int, float, int]:
    record = one.record
    last = record.last if record.scores else None
    return (
        last is None or record.status in ("diverged", "failed"),
        -(last.step if last else 0),
        -(last.value if last else 0.0),
        record.combination.index,
    )


def _row(content: SearchContent, one: TrialFigures) -> str:
    record = one.record
    kind = ' class="best"' if _is_best(content, one) else ""
    values = [shown(record.combination.values[key]) for key in content.space]
    step = str(record.last.step) if record.scores else "—"
    quality = [_value(one, "val_psnr"), _value(one, "val_ssim")]
    cost = [
        "—" if one.parameters is None else f"{one.parameters / 1e6:.3f} M",
        "—" if one.macs is None else f"{one.macs / 1e9:.1f} G",
    ]
    cells = [*values, step, *quality, *cost, record.reason or record.status]
    return (
        f'<tr><th scope="row"{kind}>{record.combination.index + 1}</th>'
        + "".join(f"<td{kind}>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _by_value(content: SearchContent) -> str:
    """A table for each key with values to choose from; of N that of Table 5 of the paper."""
    parts = []
    for key, axis in content.space.items():
        if not isinstance(axis, Choice) or len(axis.values) < 2:
            continue
        rows = "".join(_value_row(content, key, value) for value in axis.values)
        (name,) = names_of([key])
        heads = (name, "trials", "in full", "best PSNR <small>dB</small>", "its SSIM")
        head = "".join(f'<th scope="col">{h}</th>' for h in (html.escape(heads[0]), *heads[1:]))
        if key == NUM_KERNELS:
            parts.append(
                '<p class="about">N is the number of kernels; the paper gives the same in its '
                "Table 5, from 64 to 192, for its own networks.</p>"
            )
        parts.append(_scrolled(f"By {name}", head, rows))
    return "".join(parts)


def _value_row(content: SearchContent, key: str, value: object) -> str:
    of_value = [one for one in content.trials if one.record.combination.values[key] == value]
    whole = [one for one in of_value if _is_whole(content, one)]
    best = max(whole, key=lambda one: one.record.last.value, default=None)
    kind = ' class="best"' if best is not None and _is_best(content, best) else ""
    cells = [str(len(of_value)), str(len(whole))]
    cells += ["—", "—"] if best is None else [_value(best, "val_psnr"), _value(best, "val_ssim")]
    return (
        f'<tr><th scope="row"{kind}>{html.escape(shown(value))}</th>'
        + "".join(f"<td{kind}>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _response(content: SearchContent) -> str:
    scored = _scored(content)
    y = _metric_scale(content, scored)
    told_key, told = _told(content)
    charts = []
    for (key, axis), name in zip(content.space.items(), names_of(list(content.space)), strict=True):
        dots = []
        for one in scored:
            values = one.record.combination.values
            dots.append(
                Dot(
                    number_on(axis, values[key]),
                    one.record.last.value,
                    _about(content, one),
                    colour=1 + told.index(values[told_key]) if told_key not in (None, key) else 1,
                    whole=_is_whole(content, one),
                    best=_is_best(content, one),
                )
            )
        title = f"{_UNITS[content.metric]} against {name}"
        charts.append(_figure(title, scatter(dots, scale_of(name, axis), y, label=title), name))
    about = (
        '<p class="about">A point a trial at its newest validation. Filled: trained in full; '
        "hollow: stopped before, so lower also for its shorter training. The ring is the best."
        "</p>"
    )
    keys = ""
    if told_key is not None and len(content.space) > 1:
        (name,) = names_of([told_key])
        keys = _keys([f"{name} {shown(value)}" for value in told])
    return f'{about}{keys}<div class="charts">{"".join(charts)}</div>'


def _told(content: SearchContent) -> tuple[str | None, tuple[Any, ...]]:
    """The key whose values have colours, the first with few enough, and those values."""
    for key, axis in content.space.items():
        if isinstance(axis, Choice) and 1 < len(axis.values) <= _COLOURS:
            return key, axis.values
    return None, ()


def _keys(names: Sequence[str]) -> str:
    """Names beside the colours from the second on."""
    items = "".join(
        f'<span class="series-key s{i}">{html.escape(name)}</span>'
        for i, name in enumerate(names, 1)
    )
    return f'<p class="series-keys">{items}</p>'


def _together(content: SearchContent) -> str:
    scored = _scored(content)
    if len(content.space) < 2:
        return ""
    metric = _metric_scale(content, scored)
    scales = [*map(scale_of, names_of(list(content.space)), content.space.values()), metric]
    drawn = []
    for one in content.trials:
        record = one.record
        values = [
            number_on(axis, record.combination.values[k]) for k, axis in content.space.items()
        ]
        if one in scored:
            values.append(record.last.value)
        kind = "whole" if _is_whole(content, one) else "stopped"
        if record.status in ("diverged", "failed"):
            kind = "diverged"
        elif _is_best(content, one):
            kind = "best"
        drawn.append(Line(tuple(values), _about(content, one), kind))
    about = (
        '<p class="about">A line a trial, from key to key to what it came to. Green: trained in '
        "full, the best one thick; grey: stopped; red and dashed: diverged or failed.</p>"
    )
    return about + parallel(drawn, scales, label="Parallel coordinates of all trials")


def _course(content: SearchContent) -> str:
    scored = sorted(
        (one for one in content.trials if one.record.scores), key=lambda one: _rank(content, one)
    )
    steps = [score.step for one in scored for score in one.record.scores]
    if min(steps) == max(steps):
        return ""
    values = [score.value for one in scored for score in one.record.scores]
    drawn = courses(
        [
            Course(
                tuple((float(score.step), score.value) for score in one.record.scores),
                _about(content, one),
                place if place <= _COLOURS else 0,
            )
            for place, one in enumerate(scored, 1)
        ],
        Scale("steps", 0.0, float(max(steps))),
        scale_over(_UNITS[content.metric], values),
        label=f"{_UNITS[content.metric]} over the steps of every trial",
    )
    named = _keys(
        [
            f"trial {one.record.combination.index + 1} ({one.record.combination})"
            for one in scored[:_COLOURS]
        ]
    )
    about = (
        '<p class="about">Where a line ends early, ASHA stopped it: at its rung others had been '
        "better. The first of the table have colours.</p>"
    )
    figure = _figure(f"{_UNITS[content.metric]} at each validation", drawn, "steps")
    return f'{about}{named}<div class="charts">{figure}</div>'


def _cost(content: SearchContent) -> str:
    scored = [one for one in _scored(content) if _is_whole(content, one)]
    y = _metric_scale(content, scored)
    kinds = (
        (f"multiply-adds at {COST_SIZE}, G", lambda one: one.macs and one.macs / 1e9),
        ("parameters, millions", lambda one: one.parameters and one.parameters / 1e6),
        ("seconds of training", lambda one: one.seconds),
    )
    charts = []
    for name, of in kinds:
        costs = [(float(cost), one) for one in scored if (cost := of(one))]
        if len({cost for cost, _ in costs}) < 2:
            continue
        x = scale_over(name, [cost for cost, _ in costs], log=True)
        dots = [
            Dot(cost, one.record.last.value, _about(content, one), best=_is_best(content, one))
            for cost, one in costs
        ]
        drawn = scatter(dots, x, y, label=f"{_UNITS[content.metric]} against {name}")
        charts.append(_figure(f"{_UNITS[content.metric]} against {name}", drawn, name))
    if not charts:
        return ""
    about = (
        '<p class="about">Of the trials that were trained in full. Seconds are those of the '
        "machine that trained, whatever else ran there.</p>"
    )
    return f'{about}<div class="charts">{"".join(charts)}</div>'


def _command(content: SearchContent) -> str:
    return (
        '<ul class="commands"><li><div class="command"><code>'
        f"{html.escape(content.command)}</code></div></li></ul>"
    )


def _scored(content: SearchContent) -> list[TrialFigures]:
    return [
        one
        for one in content.trials
        if one.record.scores and one.record.status in ("finished", "stopped")
    ]


def _is_best(content: SearchContent, one: TrialFigures) -> bool:
    return one.record.combination.index == content.best


def _is_whole(content: SearchContent, one: TrialFigures) -> bool:
    """Whether it came as far as the best, whose length is the one that compares."""
    best = next(other for other in content.trials if _is_best(content, other))
    return one in _scored(content) and one.record.last.step == best.record.last.step


def _metric_scale(content: SearchContent, scored: Sequence[TrialFigures]) -> Scale:
    return scale_over(_UNITS[content.metric], [one.record.last.value for one in scored])


def _about(content: SearchContent, one: TrialFigures) -> str:
    record = one.record
    reached = f"{_score(content, one)} at step {record.last.step}" if record.scores else ""
    parts = (f"trial {record.combination.index + 1}", str(record.combination), reached)
    return "; ".join([*filter(None, parts), record.status])


def _score(content: SearchContent, one: TrialFigures) -> str:
    unit = " dB" if content.metric == "val_psnr" else " SSIM"
    return f"{one.record.last.value:.{_DIGITS[content.metric]}f}{unit}"


def _value(one: TrialFigures, metric: str) -> str:
    return f"{one.quality[metric]:.{_DIGITS[metric]}f}" if metric in one.quality else "—"


def _figure(title: str, drawn: str, axis: str) -> str:
    return (
        f'<figure class="course-of"><figcaption>{html.escape(title)}</figcaption>{drawn}'
        f'<div class="axis">{html.escape(axis)}</div></figure>'
    )


def _scrolled(label: str, head: str, rows: str) -> str:
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
