"""The charts and pictures of a page as files of their own, for papers and slides."""

import html
import re
from collections.abc import Iterator, Sequence

from pipelines.evaluation.page import PageContent, error_picture
from pipelines.report.pictures import png_bytes, to_bytes
from pipelines.report.plot import COLOURS, HEIGHT, WIDTH
from pipelines.scores import INPUT

_CHART = re.compile(r'<svg class="plot"[^>]*aria-label="([^"]*)">(.*?)</svg>', re.DOTALL)
_LINE_PX = 18
_STYLE = (
    "text{font:12px 'Helvetica Neue',Arial,sans-serif;fill:#15191c}.tick{fill:#566067}"
    ".grid{stroke:#d6dadc}.line{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".reach{stroke-width:1.5;opacity:.55}"
)
_SHADES = ("#566067", "#0b6b72", "#c3411f", "#8a6fd0", "#b7801f", "#4a83d6")
"""Those of the page in its light form, in the order of the methods."""


def figures_of_page(page: str, content: PageContent) -> Iterator[tuple[str, bytes]]:
    """Give each figure of a page as (file name, content): charts as SVG, pictures as PNG.

    A chart says its title, and the methods by colour; pictures are as they were measured, whole,
    the error maps in the page's colours.
    """
    for label, body in _CHART.findall(page):
        yield f"{_slug(html.unescape(label))}.svg", _chart(label, body, content.methods).encode()
    for number, shown in enumerate(content.shown):
        stem = f"{number:02d}-{_slug(shown.dataset)}-{_slug(shown.place)}"
        pictures = {INPUT: shown.input, **shown.outputs}
        for name, picture in pictures.items():
            yield f"{stem}-{_slug(name)}.png", png_bytes(to_bytes(picture))
            error = error_picture(picture, shown.target)
            yield f"{stem}-error-of-{_slug(name)}.png", png_bytes(error)
        yield f"{stem}-truth.png", png_bytes(to_bytes(shown.target))


def _chart(label: str, body: str, methods: Sequence[str]) -> str:
    """A chart of the page with the style that the page gave it."""
    shades = "".join(
        f".line.s{i},.reach.s{i}{{stroke:{shade}}}.dot.s{i}{{fill:{shade}}}"
        for i, shade in enumerate(_SHADES)
    )
    joined = 'class="line s' in body  # else each point has its name beside it
    names = [INPUT, *methods] if joined else []
    legend = "".join(
        f'<circle class="dot s{i % COLOURS}" cx="12" cy="{HEIGHT + _LINE_PX * i + 8}" r="4"/>'
        f'<text x="24" y="{HEIGHT + _LINE_PX * i + 12}">{html.escape(name)}</text>'
        for i, name in enumerate(names)
    )
    height = HEIGHT + _LINE_PX * (len(names) + 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-_LINE_PX} {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{label}">'
        f"<style>{_STYLE}{shades}</style>"
        f'<text x="4" y="-4">{label}</text>{body}{legend}</svg>\n'
    )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.").lower() or "figure"
