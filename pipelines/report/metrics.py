"""The table of metrics, and the gains at the head of the page."""

import html
from collections.abc import Sequence
from itertools import groupby

from pipelines.report.compare import gain
from pipelines.scores import OVERALL, TableRow

_COLUMNS = (
    ("psnr", "PSNR", "dB", "{:.2f}", True),
    ("ssim", "SSIM", "", "{:.4f}", True),
    ("rmse_rel", "RMSE<sub>rel</sub>", "", "{:.4f}", False),
    ("mae", "MAE", "", "{:.4f}", False),
)


def metrics_table(rows: Sequence[TableRow]) -> str:
    """Return the table, per dataset the blurred input first; the best of a dataset is marked."""
    heads = "".join(
        f'<th scope="col">{name}{f" <small>{unit}</small>" if unit else ""}'
        f'<i aria-label="{"higher is better" if up else "lower is better"}">'
        f"{'↑' if up else '↓'}</i></th>"
        for _, name, unit, _, up in _COLUMNS
    )
    bodies = "".join(_body(dataset, group) for dataset, group in _groups(rows))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Metrics"><table>'
        f'<thead><tr><th scope="col">Picture</th><th scope="col">Pairs</th>{heads}</tr></thead>'
        f"{bodies}</table></div>"
    )


def headline(rows: Sequence[TableRow]) -> str:
    """Return for each dataset how much better the model is than the blurred input."""
    tiles = []
    for dataset, group in _groups(rows):
        if dataset == OVERALL or len(group) < 2:
            continue
        before, after = group[0], group[-1]
        pairs = "pair" if after.pairs == 1 else "pairs"
        tiles.append(
            f'<div class="headline">{gain(before.psnr, after.psnr)}'
            f"<p>{before.psnr:.2f} → {after.psnr:.2f} dB PSNR on {after.pairs} held-out {pairs} of "
            f"<code>{html.escape(dataset)}</code></p></div>"
        )
    return f'<div class="headlines">{"".join(tiles)}</div>' if tiles else ""


def _groups(rows: Sequence[TableRow]) -> list[tuple[str, list[TableRow]]]:
    return [(name, list(group)) for name, group in groupby(rows, key=lambda row: row.dataset)]


def _body(dataset: str, rows: list[TableRow]) -> str:
    name = "All pairs" if dataset == OVERALL else html.escape(dataset)
    lines = [
        f'<tr class="dataset"><th colspan="{2 + len(_COLUMNS)}" scope="rowgroup">{name}</th></tr>'
    ]
    for row in rows:
        cells = []
        for key, _, _, pattern, up in _COLUMNS:
            values = [getattr(other, key) for other in rows]
            best = len(rows) > 1 and getattr(row, key) == (max if up else min)(values)
            text = pattern.format(getattr(row, key))
            cells.append(f'<td class="best">{text}</td>' if best else f"<td>{text}</td>")
        method = html.escape(row.method)
        lines.append(f'<tr><th scope="row">{method}</th><td>{row.pairs}</td>{"".join(cells)}</tr>')
    return f"<tbody>{''.join(lines)}</tbody>"
