"""A page that stands alone, opened in a real browser as on a phone in the dark and on a desk."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def looks_at(path: Path) -> Iterator[Any]:
    """Open a page twice and yield it each time. Skips where there is no browser.

    Fails where it scrolls sideways, its script errs, or it asks anything of a network.
    """
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not looked at")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for width, scheme in ((390, "dark"), (1200, "light")):
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme
            )
            opened = context.new_page()
            troubles: list[str] = []
            opened.on("pageerror", lambda error, seen=troubles: seen.append(str(error)))
            opened.on(
                "request",
                lambda request, seen=troubles: (
                    None if request.url.startswith(("data:", "file:")) else seen.append(request.url)
                ),
            )
            opened.goto(path.as_uri())
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            yield opened
            assert troubles == []
            context.close()
        browser.close()
