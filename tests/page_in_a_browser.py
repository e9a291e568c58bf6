"""A page that stands alone, opened in a real browser as on a phone in the dark and on a desk."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PHONE_PX = 390
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def looks_at(path: Path) -> Iterator[Any]:
    """Open a page twice and yield it each time. Skips where there is no browser.

    Fails where it scrolls sideways, its script errs, it asks anything of a network, or axe-core
    finds something.
    """
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not looked at")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for width, scheme in ((PHONE_PX, "dark"), (1200, "light")):
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
            if width == PHONE_PX:
                assert barriers(opened) == []
            yield opened
            assert troubles == []
            context.close()
        browser.close()


def barriers(page: Any) -> list[str]:
    """Return what axe-core finds on a page as a phone shows it, light and dark, one line each.

    Leaves it dark.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    size, found = page.viewport_size, []
    page.set_viewport_size({"width": PHONE_PX, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [
            f"{scheme}: {rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for rule in axe.run(page).response["violations"]
            for node in rule["nodes"]
        ]
    page.set_viewport_size(size)
    return found
