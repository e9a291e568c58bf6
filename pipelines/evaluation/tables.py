"""The figures as tables: text for a terminal, Markdown, LaTeX for a paper."""

import math
from collections.abc import Iterable, Mapping, Sequence

from pipelines.evaluation.bootstrap import Estimate
from pipelines.evaluation.summary import MethodFigures
from pipelines.scores import INPUT

HEADS = (
    "dataset",
    "method",
    "pictures (scenes)",
    "PSNR",
    "SSIM",
    "RMSE_rel",
    "MAE",
    "over input",
    "over the first",
)
Costs = Mapping[str, tuple[int, int] | None]
"""By method: parameters and multiply-adds, None where they are not countable."""


def with_interval(value: Estimate | None, digits: int, *, sign: bool = False) -> str:
    """Return e.g. ``26.10 [25.80, 26.40]``; an em dash where there is nothing to say."""
    if value is None:
        return "—"
    plus = "+" if sign else ""
    text = f"{value.mean:{plus}.{digits}f}"
    if math.isfinite(value.low):
        text += f" [{value.low:{plus}.{digits}f}, {value.high:{plus}.{digits}f}]"
    return text


def cells_of(row: MethodFigures) -> tuple[str, ...]:
    """Return a row of figures as text, in the order of HEADS."""
    return (
        row.dataset,
        row.method,
        f"{row.psnr.pictures} ({row.psnr.scenes})",
        with_interval(row.psnr, 2),
        with_interval(row.ssim, 4),
        f"{row.rmse_rel:.4f}",
        with_interval(row.mae, 4),
        with_interval(row.over_input, 2, sign=True),
        with_interval(row.over_first, 2, sign=True),
    )


def text_table(rows: Sequence[MethodFigures]) -> str:
    """Return aligned columns, without the intervals of SSIM and MAE, which make lines too long."""
    heads = ("dataset", "method", "pairs", "PSNR dB", "SSIM", "MAE", "over input dB", "over first")
    cells = [
        (
            row.dataset,
            row.method,
            str(row.psnr.pictures),
            with_interval(row.psnr, 2),
            f"{row.ssim.mean:.4f}",
            f"{row.mae.mean:.4f}",
            with_interval(row.over_input, 2, sign=True),
            with_interval(row.over_first, 2, sign=True),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, *cells]
    )


def cost_cells(method: str, rows: Sequence[MethodFigures], costs: Costs) -> tuple[str, ...]:
    """Return parameters, multiply-adds, time, memory and device of a method as text."""
    counted = costs.get(method)
    timed = next((row for row in rows if row.method == method and row.device), None)
    unit, per_second = time_unit(rows)
    return (
        "—" if counted is None else f"{counted[0] / 1e6:.2f} M",
        "—" if counted is None else f"{counted[1] / 1e9:.1f} G",
        "—"
        if timed is None or timed.seconds_per_megapixel is None
        else f"{_figures(per_second * timed.seconds_per_megapixel)} {unit}",
        "—" if timed is None or timed.peak_mib is None else f"{timed.peak_mib:.0f} MiB",
        "—" if timed is None else timed.device,
    )


def time_unit(rows: Sequence[MethodFigures]) -> tuple[str, float]:
    """Return the unit of time that suits all methods, and how many of it a second has."""
    most = max((row.seconds_per_megapixel or 0.0 for row in rows), default=0.0)
    return ("s", 1.0) if most >= 10 else ("ms", 1000.0)


def _figures(value: float) -> str:
    """Three figures, or all before the point."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(digits, 0)}f}"


def markdown(rows: Sequence[MethodFigures]) -> str:
    """Return the table in Markdown."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "---|" * len(HEADS)
    return "\n".join([line(HEADS), rule, *(line(cells_of(row)) for row in rows)]) + "\n"


def latex(rows: Sequence[MethodFigures]) -> str:
    """Return the table for LaTeX with booktabs, a block of rows a dataset.

    Intervals stand below their means, so that it fits a page of one column.
    """
    lines = [
        r"{\setlength{\tabcolsep}{4pt}",
        r"\begin{tabular}{@{}llrcccccc@{}}",
        r"\toprule",
        r"Dataset & Method & $n$ & PSNR & SSIM & RMSE$_\mathrm{rel}$ & MAE & $\Delta$ input & "
        r"$\Delta$ first \\",
    ]
    before = None
    for row in rows:
        if row.dataset != before:
            lines.append(r"\midrule")
        shown = _tex(row.dataset) if row.dataset != before else ""
        before = row.dataset
        values = (
            str(row.psnr.pictures),
            _tex_interval(row.psnr, 2),
            _tex_interval(row.ssim, 3),
            f"{row.rmse_rel:.4f}",
            f"{row.mae.mean:.4f}",
            _tex_interval(row.over_input, 2, sign=True),
            _tex_interval(row.over_first, 2, sign=True),
        )
        method = "input" if row.method == INPUT else row.method
        lines.append(" & ".join((shown, _tex(method), *values)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}"]) + "\n"


def _tex_interval(value: Estimate | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "--"
    mean, _, reach = with_interval(value, digits, sign=sign).replace("-", "$-$").partition(" ")
    if not reach:
        return mean
    return rf"\begin{{tabular}}{{@{{}}c@{{}}}}{mean}\\{{\scriptsize {reach}}}\end{{tabular}}"


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
