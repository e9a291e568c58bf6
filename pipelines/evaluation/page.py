"""The page of an evaluation: one HTML file with tables, charts and pictures."""

import dataclasses
import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.bootstrap import Estimate
from pipelines.evaluation.explained import Explained
from pipelines.evaluation.pictures import Picture, Shown
from pipelines.evaluation.regions import ERROR_EDGES, FAR, IN_FOCUS, NEAR, RADIUS_NAMES
from pipelines.evaluation.summary import MethodFigures
from pipelines.evaluation.tables import Costs, cost_cells, time_unit, with_interval
from pipelines.report.compare import compare
from pipelines.report.document import Section, asset, document, facts, notes
from pipelines.report.findings import findings
from pipelines.report.page_data import Comparison
from pipelines.report.pictures import RAMP_CSS, fit, jpeg, ramp, telling_window, to_bytes
from pipelines.report.plot import Series, legend, lines, points
from pipelines.scores import INPUT

_ERROR_PEAK = 32 / 255
"""Of [0, 1]; larger errors are as bright."""
_UNITS = {"s": "seconds", "ms": "milliseconds"}
_ERROR_PX = 480
"""Longer side of an error map, which nobody can zoom into; the files beside the page are whole."""


@dataclass(frozen=True, slots=True, eq=False)
class PageContent:
    """What the page shows."""

    methods: tuple[str, ...]
    split: str
    rows: tuple[MethodFigures, ...]
    costs: Costs
    cost_size: str
    marks: tuple[str, ...]
    """What a reader must know: leakage, training pairs, few scenes."""
    shown: tuple[Shown, ...]
    registered: bool
    explained: Explained | None = None
    """What a model found in one of the pictures."""


def evaluation_page(content: PageContent) -> str:
    """Return the page as one HTML text."""
    datasets = list(dict.fromkeys(row.dataset for row in content.rows))
    sections = [
        ("figures", "In figures", _figures(content)),
        ("cost", "What it costs", _costs(content)),
        ("pictures", "From the worst to the best", _pictures(content)),
        ("blur", "By blur", _blur(content)),
        ("focus", "What was sharp already", _focus(content)),
        ("found", "What it found", _found(content.explained)),
    ]
    lead = (
        f"{', '.join(content.methods)} on the {content.split} pairs of {', '.join(datasets)}, "
        "beside the blurred input, the mean of the two views."
    )
    heads = [
        (
            row.dataset,
            f"{row.psnr.pictures} picture{'s' * (row.psnr.pictures != 1)}, "
            f"{row.psnr.scenes} scene{'s' * (row.psnr.scenes != 1)}",
        )
        for row in content.rows
        if row.method == INPUT
    ]
    return document(
        title="Models side by side",
        head=f'<p class="lead">{html.escape(lead)}</p>' + facts(heads) + notes(content.marks),
        sections=[Section(key, title, body) for key, title, body in sections if body],
        script=asset("page.js"),
    )


def _figures(content: PageContent) -> str:
    about = (
        "Means over pictures, as floats in [0, 1]; in brackets 95 % intervals, by a bootstrap over "
        "scenes. Gains are paired: each picture is compared with itself. RMSE<sub>rel</sub> is "
        "10<sup>−PSNR/20</sup>."
    )
    if content.registered:
        about += " Pictures were moved onto their truth, block by block, before they were scored."
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in (
            "Method",
            "PSNR <small>dB</small> ↑",
            "SSIM ↑",
            "RMSE<sub>rel</sub> ↓",
            "MAE ↓",
            "over input <small>dB</small>",
            f"over {html.escape(content.methods[0])} <small>dB</small>",
        )
    )
    bodies = []
    for dataset, rows in _by_dataset(content.rows):
        title = f"{html.escape(dataset)}, {rows[0].psnr.pictures} pictures"
        cells = [f'<tr class="dataset"><th colspan="7" scope="rowgroup">{title}</th></tr>']
        cells += [_row(row, rows) for row in rows]
        bodies.append(f"<tbody>{''.join(cells)}</tbody>")
    return f'<p class="about">{about}</p>' + _table("Figures", head, "".join(bodies))


def _row(row: MethodFigures, rows: Sequence[MethodFigures]) -> str:
    def cell(value: Estimate | None, digits: int, best: bool = False, sign: bool = False) -> str:
        mean, _, reach = with_interval(value, digits, sign=sign).partition(" ")
        interval = f'<span class="interval">{reach}</span>' if reach else ""
        return f"<td{' class=best' if best else ''}>{mean}{interval}</td>"

    def best(name: str, of: float, up: bool) -> bool:
        values = [getattr(other, name).mean for other in rows]
        return of == (max if up else min)(values)

    return (
        f'<tr><th scope="row">{html.escape(row.method)}</th>'
        + cell(row.psnr, 2, best("psnr", row.psnr.mean, True))
        + cell(row.ssim, 4, best("ssim", row.ssim.mean, True))
        + f"<td>{row.rmse_rel:.4f}</td>"
        + cell(row.mae, 4, best("mae", row.mae.mean, False))
        + cell(row.over_input, 2, sign=True)
        + cell(row.over_first, 2, sign=True)
        + "</tr>"
    )


def _costs(content: PageContent) -> str:
    names = ("Method", "parameters", f"multiply-adds at {content.cost_size}", "time a megapixel")
    head = "".join(f'<th scope="col">{html.escape(n)}</th>' for n in (*names, "memory", "device"))
    lines_ = "".join(
        f'<tr><th scope="row">{html.escape(method)}</th>'
        + "".join(
            f"<td>{html.escape(cell)}</td>"
            for cell in cost_cells(method, content.rows, content.costs)
        )
        + "</tr>"
        for method in content.methods
    )
    charts = []
    unit, per_second = time_unit(content.rows)
    for dataset, rows in _by_dataset(content.rows):
        against = (
            ("parameters, millions", _by_parameters(rows, content)),
            (f"{_UNITS[unit]} a megapixel", _by_time(rows, per_second)),
        )
        for axis, series in against:
            drawn = points(series, label=f"PSNR on {dataset} against {axis}")
            if drawn:
                charts.append(
                    f'<figure class="course-of"><figcaption>PSNR on {html.escape(dataset)}, dB'
                    f"<output></output></figcaption>{drawn}"
                    f'<div class="axis">{axis}</div></figure>'
                )
    about = (
        '<p class="about">Time is the median over the pictures of this evaluation, on a clock on '
        "the wall of the machine that measured, whatever else ran there; memory is the most that "
        "the model's process held. In the charts a bar is the 95 % interval of the gain over the "
        "input, which is paired, around the PSNR.</p>"
    )
    table = _table("Cost", head, f"<tbody>{lines_}</tbody>")
    return about + table + f'<div class="charts">{"".join(charts)}</div>'


def _by_parameters(rows: Sequence[MethodFigures], content: PageContent) -> list[Series]:
    counted = [content.costs.get(row.method) for row in rows]
    return [
        _point(row, None if of is None else of[0] / 1e6)
        for row, of in zip(rows, counted, strict=True)
    ]


def _by_time(rows: Sequence[MethodFigures], per_second: float) -> list[Series]:
    return [
        _point(row, None if seconds is None else per_second * seconds)
        for row, seconds in ((row, row.seconds_per_megapixel) for row in rows)
    ]


def _point(row: MethodFigures, x: float | None) -> Series:
    """A method's PSNR over x, with the interval of its gain: that of the PSNR is how scenes
    differ."""
    if x is None or row.over_input is None:
        return Series(row.method, [])
    gain, psnr = row.over_input, row.psnr.mean
    reach = (psnr + gain.low - gain.mean, psnr + gain.high - gain.mean)
    return Series(row.method, [(x, psnr)], [reach])


def _pictures(content: PageContent) -> str:
    if not content.shown:
        return ""
    figures = "".join(_picture(shown, content.methods) for shown in content.shown)
    legend_ = (
        '<p class="ramp"><span>error 0</span>'
        f'<i style="background:{RAMP_CSS}"></i><span>32 of 255 and more</span></p>'
    )
    about = (
        '<p class="about">Chosen by the gain of the first model, never by hand. Drag the line, or '
        "focus a picture and use the arrow keys. The details show one square by every method, and "
        "below them the absolute error of the whole picture: drag a detail to move the square in "
        "all of them, or focus them and use the arrow keys, + and −."
        + (" None of them was moved onto its truth." if content.registered else "")
        + "</p>"
    )
    return about + legend_ + f'<div class="pairs">{figures}</div>'


def _picture(shown: Shown, methods: Sequence[str]) -> str:
    first = shown.outputs[methods[0]]
    comparison = compare(
        Comparison(
            title=f"{shown.dataset} {shown.pair_id}",
            input=shown.input,
            output=first,
            target=shown.target,
            input_psnr=shown.input_psnr,
            output_psnr=shown.psnr.get(methods[0]),
            note=f"{shown.place}; the slider shows {methods[0]}",
        )
    )
    return f'<div class="pair">{comparison}{_details(shown)}</div>'


def _details(shown: Shown) -> str:
    all_ = {INPUT: shown.input, **shown.outputs, "truth": shown.target}
    height, width = shown.input.shape[:2]
    side = max(24, min(height, width) // 5)
    y, x = telling_window(
        to_bytes(shown.input),
        to_bytes(next(iter(shown.outputs.values()))),
        to_bytes(shown.target),
        side,
    )
    psnr = {INPUT: shown.input_psnr, **shown.psnr}
    tiles, errors = [], []
    for name, picture in all_.items():
        figure = f", {psnr[name]:.2f} dB" if name in psnr else ""
        caption = html.escape(f"{name}{figure}")
        tiles.append(_tile(jpeg(picture), f"{name}, detail", caption, width, height))
    for name, picture in all_.items():
        if name != "truth":
            shown_error = jpeg(fit(error_picture(picture, shown.target), _ERROR_PX))
            title = html.escape(f"error of {name}")
            errors.append(_tile(shown_error, f"error of {name}", title, width, height))
    title = html.escape(f"Details of {shown.pair_id}: arrow keys move, plus and minus zoom")
    where = f"--side:{side};--left:{x};--top:{y};--width:{width};--height:{height}"
    return (
        f'<div class="details same-place" tabindex="0" role="group" aria-label="{title}" '
        f'data-side="{side}" data-left="{x}" data-top="{y}" data-width="{width}" '
        f'data-height="{height}" style="{where}">{"".join(tiles)}</div>'
        f'<div class="details">{"".join(errors)}</div>'
    )


def _tile(source: str, alt: str, caption: str, width: int, height: int) -> str:
    return (
        f'<figure><div class="tile"><img src="{source}" alt="{html.escape(alt)}" width="{width}" '
        f'height="{height}" draggable="false"></div><figcaption>{caption}</figcaption></figure>'
    )


def error_picture(picture: Picture, target: Picture) -> NDArray[np.uint8]:
    """Return the absolute error of a picture, mean over its channels, as ``(H, W, 3)`` colours."""
    return ramp(np.abs(picture - target).mean(axis=2) / _ERROR_PEAK)


def _blur(content: PageContent) -> str:
    parts, tables = [], []
    for dataset, rows in _by_dataset(content.rows):
        methods = [row for row in rows if row.by_kind]
        kinds = [k for k in RADIUS_NAMES if any(k in row.by_kind for row in methods)]
        if not methods or not kinds:
            continue
        series = [
            Series(
                row.method,
                [(i, row.by_kind[k].mean) for i, k in enumerate(kinds) if k in row.by_kind],
                [(row.by_kind[k].low, row.by_kind[k].high) for k in kinds if k in row.by_kind],
            )
            for row in _with_gap(methods)
        ]
        names = [kind.removeprefix("radius ").rstrip("-") for kind in kinds]
        names = [n if "-" in n else f"over {n}" for n in names]
        drawn = lines(series, names, label=f"Gain by blur radius on {dataset}")
        parts.append(
            f'<figure class="course-of"><figcaption>{html.escape(dataset)}: gain over the input, '
            f'dB<output></output></figcaption>{drawn}<div class="axis">blur radius, px</div>'
            "</figure>"
        )
        tables.append(_sides(dataset, methods))
    if not parts:
        return ""
    about = (
        '<p class="about">Pixels of synthetic pairs by the true radius of their blur, and by the '
        "side of focus. Bars are 95 % intervals over scenes.</p>"
    )
    charts = f'<div class="charts">{"".join(parts)}</div>'
    return about + legend(["", *content.methods]) + charts + "".join(tables)


def _with_gap(rows: Sequence[MethodFigures]) -> list[MethodFigures]:
    """The methods as they are; the input, which gains nothing, keeps the first colour."""
    return [dataclasses.replace(rows[0], method=INPUT, by_kind={}), *rows]


def _sides(dataset: str, rows: Sequence[MethodFigures]) -> str:
    kinds = (IN_FOCUS, NEAR, FAR)
    names = (f"{dataset}, gain in dB", *kinds)
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row.method)}</th>'
        + "".join(
            f"<td>{with_interval(row.by_kind.get(kind), 2, sign=True)}</td>" for kind in kinds
        )
        + "</tr>"
        for row in rows
    )
    return _table(f"Sides of focus, {dataset}", head, f"<tbody>{body}</tbody>")


def _focus(content: PageContent) -> str:
    parts = []
    for dataset, rows in _by_dataset(content.rows):
        known = [row for row in rows if sum(row.focus_errors)]
        if not known:
            continue
        names = [f"{255 * edge:g}" for edge in ERROR_EDGES[1:-1]]
        series = [Series(row.method, _shares(row.focus_errors)) for row in known]
        drawn = lines(series, names, label=f"Errors of pixels in focus on {dataset}")
        parts.append(
            f'<figure class="course-of"><figcaption>{html.escape(dataset)}: share of pixels with '
            f"at most this error<output></output></figcaption>{drawn}"
            '<div class="axis">absolute error, steps of 255</div></figure>'
        )
    if not parts:
        return ""
    about = (
        '<p class="about">Pixels in focus, whose blur disc is at most one pixel across: a network '
        "should leave them alone. The farther up and left a line, the less it changes them for the "
        "worse (Fig. 8 of the paper).</p>"
    )
    return about + legend([INPUT, *content.methods]) + f'<div class="charts">{"".join(parts)}</div>'


def _found(found: Explained | None) -> str:
    if found is None:
        return ""
    where = f"{found.method} in {found.pair_id} of {found.dataset}, as in Fig. 4 of the paper."
    return f'<p class="about">{html.escape(where)}</p>{findings(found.findings)}'


def _shares(counts: Sequence[int]) -> list[tuple[float, float]]:
    total, below = sum(counts), np.cumsum(counts)
    return [(float(i), float(count / total)) for i, count in enumerate(below[:-1])]


def _by_dataset(rows: Sequence[MethodFigures]) -> list[tuple[str, list[MethodFigures]]]:
    names = dict.fromkeys(row.dataset for row in rows)
    return [(name, [row for row in rows if row.dataset == name]) for name in names]


def _table(label: str, head: str, bodies: str) -> str:
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead>{bodies}</table></div>"
    )
