"""The page in a real browser: it shows, moves, copies, and asks nothing of any network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.report import PageData, render_page
from tests.page_in_a_browser import barriers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not looked at")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, page_data: PageData) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(page_data))
    return path.as_uri()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """A fresh page that fails the test on a script error or on any request but its own."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("console", lambda message: troubles.append(message.text))

    def watch(request: Any) -> None:
        if request.url != url and not request.url.startswith("data:"):
            troubles.append(request.url)

    opened.on("request", watch)
    opened.goto(url)
    yield opened
    context.close()
    assert troubles == []


def look(page: Any, stage: Any) -> np.ndarray:
    """Return what a stage shows, RGB, as the browser painted it."""
    data = np.frombuffer(stage.screenshot(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def colour_at(picture: np.ndarray, share: float) -> str:
    """Name the plain colour at a share of the width, in the upper quarter."""
    row = picture[picture.shape[0] // 5]
    pixel = row[int(share * (len(row) - 1))]
    names = {0: "blurred", 1: "sharpened", 2: "truth"}
    assert pixel.max() > 200 and sorted(pixel)[1] < 60, pixel
    return names[int(pixel.argmax())]


def test_nothing_keeps_people_from_using_it(page: Any) -> None:
    assert barriers(page) == []
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<button>')")
    assert any("button-name" in line for line in barriers(page))


def test_every_picture_loads_and_the_title_is_text(page: Any, page_data: PageData) -> None:
    sizes = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(sizes) > 20 and all(sizes)
    assert page.title() == page_data.title
    assert page.inner_text("h1") == page_data.title
    assert "<k3dn ingest>" in page.inner_text(".notice")


def test_the_slider_moves_by_mouse_and_by_keys(page: Any) -> None:
    stage = page.locator(".stage").first
    picture = look(page, stage)
    assert (colour_at(picture, 0.3), colour_at(picture, 0.7)) == ("blurred", "sharpened")

    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 30, steps=5)
    page.mouse.up()
    picture = look(page, stage)
    assert (colour_at(picture, 0.1), colour_at(picture, 0.3)) == ("blurred", "sharpened")
    value = float(stage.locator("input").input_value())
    assert value == pytest.approx(20, abs=1)  # the line is where the pointer is

    stage.locator("input").focus()
    page.keyboard.press("End")
    assert colour_at(look(page, stage), 0.95) == "blurred"
    page.keyboard.press("Home")
    assert colour_at(look(page, stage), 0.05) == "sharpened"
    page.keyboard.press("ArrowRight")
    assert float(stage.locator("input").input_value()) > 0
    assert "sharpened" in stage.locator("input").get_attribute("aria-valuetext")


def test_any_two_of_the_three_pictures_compare(page: Any) -> None:
    figure = page.locator(".compare").first
    stage = figure.locator(".stage")
    for words, left, right in (
        ("Sharpened | truth", "sharpened", "truth"),
        ("Blurred | truth", "blurred", "truth"),
        ("Blurred | sharpened", "blurred", "sharpened"),
    ):
        button = figure.get_by_role("button", name=words.replace(" | ", " "))
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert figure.locator("[aria-pressed=true]").count() == 1
        picture = look(page, stage)
        assert (colour_at(picture, 0.3), colour_at(picture, 0.7)) == (left, right)


def test_a_pair_without_truth_offers_no_choice(page: Any) -> None:
    figure = page.locator("#real .compare")
    assert figure.count() == 1
    assert figure.locator(".modes").count() == 0
    assert figure.locator(".crop").count() == 2


def test_the_curve_tells_its_values(page: Any) -> None:
    figure = page.locator(".course-of").first
    figure.locator(".chart").focus()
    page.keyboard.press("Home")
    assert figure.locator("output").inner_text() == "20.00 dB at step 0"
    page.keyboard.press("End")
    assert figure.locator("output").inner_text() == "22.25 dB at step 99"
    chart = figure.locator(".chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + box["height"] / 2)
    assert figure.locator("output").inner_text() == "21.00 dB at step 50"


def test_a_command_is_copied_or_selected(page: Any, page_data: PageData) -> None:
    page.locator(".copy").first.click()
    page.wait_for_function(
        "document.querySelector('.copy').textContent === 'Copied' || String(getSelection())"
    )
    selected = page.evaluate("String(getSelection())")
    assert selected in ("", page_data.next_steps[0].line)


@pytest.mark.parametrize("width", [320, 390, 820, 1600])
def test_no_width_scrolls_sideways(browser: Any, url: str, width: int) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        opened = context.new_page()
        opened.goto(url)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        context.close()


def test_text_stands_out_in_light_and_dark(browser: Any, url: str) -> None:
    """WCAG AA: 4.5 to 1 for the text colours against the page."""

    def luminance(channels: list[float]) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (value / 255 for value in channels)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        opened = context.new_page()
        opened.goto(url)
        colours = opened.evaluate(
            """() => {
              const rgb = (e, p) => getComputedStyle(document.querySelector(e))[p]
                .match(/[\\d.]+/g).slice(0, 3).map(Number);
              return [rgb("body", "backgroundColor"), rgb("body", "color"),
                      rgb(".lead", "color"), rgb(".gain.better", "color")];
            }"""
        )
        paper, *texts = (luminance(channels) for channels in colours)
        for text in texts:
            high, low = max(paper, text), min(paper, text)
            assert (high + 0.05) / (low + 0.05) >= 4.5
        context.close()


def test_the_guard_against_requests_can_fail(browser: Any, tmp_path: Path) -> None:
    """Without the page's policy, the same watch does see a request that leaves."""
    path = tmp_path / "leaky.html"
    path.write_text('<img src="http://127.0.0.1:9/pixel.png">')
    context = browser.new_context()
    opened = context.new_page()
    seen: list[str] = []
    opened.on("request", lambda request: seen.append(request.url))
    opened.goto(path.as_uri())
    assert "http://127.0.0.1:9/pixel.png" in seen
    context.close()
