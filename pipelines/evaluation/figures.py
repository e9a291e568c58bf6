"""The charts and pictures of a page as files of their own, for papers and slides."""

import html
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.evaluation.page import PageContent, error_picture
from pipelines.report.findings import figures_of_findings
from pipelines.report.pictures import png_bytes, to_bytes
from pipelines.report.plot import COLOURS, HEIGHT, WIDTH
from pipelines.scores import INPUT

_CHART = re.compile(
    r'<figcaption>([^<]*)<output></output></figcaption><svg class="plot"[^>]*'
    r'aria-label="([^"]*)">(.*?)</svg><div class="axis">([^<]*)</div>',
    re.DOTALL,
)
_LINE_PX = 18
_FONT = "DejaVu Sans"
_STYLE = (
    f"text{{font:12px '{_FONT}','Helvetica Neue',Arial,sans-serif;fill:#15191c}}"
    ".tick,.axis{fill:#566067}.grid{stroke:#d6dadc}"
    ".point-name{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.reach{stroke-width:1.5;opacity:.55}"
)
_SHADES = ("#566067", "#0b6b72", "#c3411f", "#8a6fd0", "#b7801f", "#4a83d6")
"""Those of the page in its light form, in the order of the methods."""
_PNG_SCALE = 4
"""Of a chart 440 px wide: 300 dots an inch over 5.9 inches."""


def figures_of_page(page: str, content: PageContent) -> Iterator[tuple[str, bytes]]:
    """Give each figure of a page as (file name, content): charts as SVG and PNG, pictures as PNG.

    A chart says its title, its axes and the methods by colour; pictures are as they were measured,
    whole, the error maps in the page's colours.
    """
    for title, label, body, axis in _CHART.findall(page):
        chart = _chart(title, label, body, axis, content.methods)
        stem = _slug(html.unescape(label))
        yield f"{stem}.svg", chart.encode()
        yield f"{stem}.png", rasterised(chart)
    for number, shown in enumerate(content.shown):
        stem = f"{number:02d}-{_slug(shown.dataset)}-{_slug(shown.place)}"
        pictures = {INPUT: shown.input, **shown.outputs}
        for name, picture in pictures.items():
            yield f"{stem}-{_slug(name)}.png", png_bytes(to_bytes(picture))
            error = error_picture(picture, shown.target)
            yield f"{stem}-error-of-{_slug(name)}.png", png_bytes(error)
        yield f"{stem}-truth.png", png_bytes(to_bytes(shown.target))
    if content.explained is not None:
        for name, image in figures_of_findings(content.explained.findings):
            yield f"found-{name}.png", png_bytes(image)


def rasterised(svg: str) -> bytes:
    """Return an SVG as the content of a PNG file on white, the same with or without fonts of the
    system: its text is set in the one that comes with matplotlib."""
    import resvg_py

    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=_PNG_SCALE,
            background="white",
            skip_system_fonts=True,
            font_files=[str(_font())],
            font_family=_FONT,
            sans_serif_family=_FONT,
        )
    )


def _font() -> Path:
    found = importlib.util.find_spec("matplotlib")  # of which nothing else is needed
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0], "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")


def _chart(title: str, label: str, body: str, axis: str, methods: Sequence[str]) -> str:
    """A chart of the page with the style that the page gave it."""
    shades = "".join(
        f".line.s{i},.reach.s{i}{{stroke:{shade}}}.dot.s{i}{{fill:{shade}}}"
        for i, shade in enumerate(_SHADES)
    )
    joined = 'class="line s' in body  # else each point has its name beside it
    kinds = [f"s{i % COLOURS}" for i in range(len(methods) + 1)]
    drawn = zip(kinds, [INPUT, *methods], strict=True)
    names = [(kind, name) for kind, name in drawn if joined and f'class="line {kind}"' in body]
    legend = "".join(
        f'<circle class="dot {kind}" cx="12" cy="{HEIGHT + _LINE_PX * i + 26}" r="4"/>'
        f'<text x="24" y="{HEIGHT + _LINE_PX * i + 30}">{html.escape(name)}</text>'
        for i, (kind, name) in enumerate(names)
    )
    height = HEIGHT + _LINE_PX * (len(names) + 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-_LINE_PX} {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{label}">'
        f"<style>{_STYLE}{shades}</style>"
        f'<text x="4" y="-4">{title}</text>{body}'
        f'<text class="axis" x="{WIDTH - 14}" y="{HEIGHT + 8}" text-anchor="end">{axis}</text>'
        f"{legend}</svg>\n"
    )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.").lower() or "figure"
