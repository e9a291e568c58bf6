"""The page of a comparison: every quantity of both datasets over each other."""

import html

from pipelines.compare.density import densities
from pipelines.compare.quantities import FAMILY_TITLES, GROUPS, QUANTITIES
from pipelines.compare.result import CompareResult, Row, SideFigures, number_text, quartiles_text
from pipelines.compare.sample import Sample
from pipelines.report.document import Section, document, facts, notes

_NOTABLE = 0.25
_FEW_CLEAN = 20


def comparison_page(result: CompareResult, samples: tuple[Sample, Sample]) -> str:
    """Return the page as one HTML text."""
    first, second = result.datasets
    lead = (
        '<p class="lead">What their pictures measure, over each other: '
        f'<span class="key">{html.escape(first.reference)}</span> and '
        f'<span class="key minus">{html.escape(second.reference)}</span>.</p>'
    )
    sections = [Section("figures", "In figures", _ABOUT_FIGURES + _table(result))]
    for number, group in enumerate(GROUPS):
        drawn = "".join(
            _figure(row, samples) for row in result.rows if QUANTITIES[row.name].group == group
        )
        about = _families(result) if group == "Kernels" else ""
        sections.append(
            Section(f"group-{number}", group, f'{about}<div class="charts">{drawn}</div>')
        )
    return document(
        title=f"{first.reference} and {second.reference}",
        head=lead + facts(_facts(result)) + notes(_notes(result)),
        sections=sections,
    )


_ABOUT_FIGURES = (
    '<p class="about">Quartiles of each, and how far apart they are: the Wasserstein distance as a '
    "share of the most that it can be at their spread. 0 is equal, 1 is no overlap; normal "
    "distributions one standard deviation from each other are 0.56 apart. By chance: what two "
    "draws of so many pairs from one set exceed one time in twenty.</p>"
)


def _facts(result: CompareResult) -> list[tuple[str, str]]:
    entries = []
    for side in result.datasets:
        near = "" if side.near is None else f", {side.near:.0%} nearer than focus"
        entries.append(
            (
                side.reference,
                f"{side.pairs} pairs, {side.patches} patches, {side.clean} clean{near}",
            )
        )
    return entries


def _notes(result: CompareResult) -> list[str]:
    texts = []
    for side in result.datasets:
        if side.clean < _FEW_CLEAN:
            texts.append(
                f"{side.reference}: {side.clean} patches fit cleanly, so its kernels are uncertain."
            )
        if side.beyond:
            texts.append(
                f"{side.reference}: {side.beyond} patches are blurred beyond what is tried, 16 px "
                "at 1200 px of width or less, and are left out."
            )
        if side.skipped:
            texts.append(f"{side.reference}: {side.skipped} pairs have no target, left out.")
        if side.radius_over_truth is not None:
            low, middle, high = side.radius_over_truth
            texts.append(
                f"{side.reference} stores its blur radii: measured over stored, quartiles "
                f"{low:.2f} / {middle:.2f} / {high:.2f}, side of focus right in "
                f"{side.side_is_true:.0%}."
            )
    return texts


def _table(result: CompareResult) -> str:
    first, second = (html.escape(side.reference) for side in result.datasets)
    bodies = []
    for group in GROUPS:
        lines = [f'<tr class="dataset"><th colspan="5" scope="rowgroup">{group}</th></tr>']
        for row in result.rows:
            if QUANTITIES[row.name].group != group:
                continue
            unit = f" <small>{html.escape(row.unit)}</small>" if row.unit else ""
            one, other = (quartiles_text(values) for values in row.quantiles)
            kind = ' class="apart"' if _is_notable(row) else ""
            lines.append(
                f'<tr><th scope="row">{html.escape(row.title)}{unit}</th><td>{one}</td>'
                f"<td>{other}</td><td{kind}>{number_text(row.distance)}</td>"
                f"<td>{number_text(row.chance)}</td></tr>"
            )
        bodies.append(f"<tbody>{''.join(lines)}</tbody>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Figures"><table><thead><tr>'
        f'<th scope="col">Quartiles of</th><th scope="col">{first}</th><th scope="col">{second}'
        '</th><th scope="col">apart</th><th scope="col">by chance</th></tr></thead>'
        f"{''.join(bodies)}</table></div>"
    )


def _is_notable(row: Row) -> bool:
    return row.distance is not None and row.distance > max(_NOTABLE, row.chance or 0.0)


def _figure(row: Row, samples: tuple[Sample, Sample]) -> str:
    one, other = (sample.all_of(row.name) for sample in samples)
    if not len(one) or not len(other):
        return ""
    label = f"{row.title}, distributions of both datasets, {number_text(row.distance)} apart"
    drawn = densities(one, other, label=label)
    return (
        f'<figure class="course-of"><figcaption>{html.escape(row.title)}'
        f"<output>{number_text(row.distance)} apart</output></figcaption>{drawn}"
        f'<div class="axis">{html.escape(row.unit)}</div>'
        f'<p class="about">{html.escape(QUANTITIES[row.name].about)}</p></figure>'
    )


def _families(result: CompareResult) -> str:
    """How much of the views each family leaves, as a table of medians."""
    if not all(side.left_over for side in result.datasets):
        return ""
    heads = "".join(f'<th scope="col">{html.escape(t)}</th>' for t in FAMILY_TITLES.values())
    lines = "".join(_family_row(side) for side in result.datasets)
    return (
        '<p class="about">Target to left and right, with radius, gain and offset free: the median '
        "root mean square that each family leaves, in per cent of white, linear light.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Kernel families"><table>'
        f'<thead><tr><th scope="col">Dataset</th>{heads}</tr></thead><tbody>{lines}</tbody></table>'
        "</div>"
    )


def _family_row(side: SideFigures) -> str:
    least = min(side.left_over.values())
    cells = "".join(
        f"<td{' class=best' if side.left_over[name] == least else ''}>"
        f"{100 * side.left_over[name]:.2f}</td>"
        for name in FAMILY_TITLES
    )
    return f'<tr><th scope="row">{html.escape(side.reference)}</th>{cells}</tr>'
