"""The frame of a self-contained HTML page: head, sections, style. It asks no network."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

# The browser itself refuses whatever is not in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

GENERATOR = '<meta name="generator" content="k3dn">'
"""Tells a page of ours, which a newer one may replace, from anybody else's."""

_MARK = (
    '<svg class="mark" viewBox="0 0 64 64" aria-hidden="true">'
    '<path class="left" d="M29 8a24 24 0 0 0 0 48z"/>'
    '<path class="right" d="M35 8a24 24 0 0 1 0 48z"/>'
    "</svg>"
)


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a page."""

    key: str
    """Its anchor."""
    title: str
    body: str
    """HTML."""


def document(
    *,
    title: str,
    head: str,
    sections: Sequence[Section],
    script: str = "",
    style: str = "",
    data: Mapping[str, str] | None = None,
) -> str:
    """Return a page as one HTML text.

    head: HTML under the title. style: beyond that of all pages. data: for a script, as data-NAME;
    a page that has any may ask the server that it came from, and nothing else.
    """
    policy = _POLICY + ("; connect-src 'self'" if data else "")
    given = "".join(f' data-{key}="{html.escape(value)}"' for key, value in (data or {}).items())
    links = "".join(f'<a href="#{part.key}">{html.escape(part.title)}</a>' for part in sections)
    main = "".join(
        f'<section id="{part.key}" aria-labelledby="{part.key}-title"><h2 id="{part.key}-title">'
        f"{html.escape(part.title)}</h2>{part.body}</section>"
        for part in sections
    )
    return (
        f'<!doctype html><html lang="en"{given}><head><meta charset="utf-8">'
        f"{GENERATOR}"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{asset('page.css')}{style}</style></head>"
        f"<body><header>{_MARK}<h1>{html.escape(title)}</h1>{head}"
        + (f'<nav aria-label="On this page">{links}</nav>' if len(sections) > 1 else "")
        + f"</header><main>{main}</main>"
        f"<script>{script}</script></body></html>"
    )


def asset(name: str) -> str:
    """Return the text of a style sheet or script of this package."""
    return resources.files("pipelines.report").joinpath(name).read_text(encoding="utf-8")


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Return a row of names with their values."""
    if not entries:
        return ""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in entries
    )
    return f'<dl class="facts">{items}</dl>'


def notes(texts: Sequence[str]) -> str:
    """Return framed remarks."""
    return "".join(f'<p class="notice">{html.escape(text)}</p>' for text in texts)
