"""Figures, tables and page of an evaluation, from scores that are known."""

import dataclasses
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.evaluation.explained import Explained
from pipelines.evaluation.figures import figures_of_page
from pipelines.evaluation.page import PageContent, evaluation_page
from pipelines.evaluation.pictures import Shown, chosen
from pipelines.evaluation.regions import regions
from pipelines.evaluation.summary import MethodFigures, figures_of
from pipelines.evaluation.tables import cost_cells, latex, markdown, text_table
from pipelines.report.page_data import Findings
from pipelines.report.pictures import ramp
from pipelines.report.plot import Series, lines, points
from pipelines.scores import INPUT, Cost, PairScore, quality
from tests.page_in_a_browser import looks_at

SHAPE = (48, 64, 3)
PLACE_OF = """
i => [i.offsetLeft, i.offsetTop, i.offsetWidth].map(
    v => Math.round(v / i.parentNode.clientWidth * 99)).join()
"""
"""Where a picture lies in its tile, in shares of the tile."""


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, answer, truth."""
    random = np.random.default_rng(seed)
    truth = random.random(SHAPE, dtype=np.float32) * 0.5 + 0.25
    noise = random.normal(0, 1, SHAPE).astype(np.float32)
    return truth + 0.1 * noise, truth + 0.05 * noise, truth


def scores(closer: float, *, coc: bool = True, count: int = 12) -> list[PairScore]:
    """Scores of a method whose error is a share of the input's; two pairs a scene."""
    found = []
    radius = np.linspace(-6, 6, SHAPE[0] * SHAPE[1]).reshape(SHAPE[:2])
    for seed in range(count):
        before, _, truth = pictures(seed)
        after = (truth + closer * (before - truth) * (1 + 0.1 * seed)).astype(np.float32)
        found.append(
            PairScore(
                "soft@v1",
                f"pair-{seed}",
                quality(before, truth),
                quality(after, truth),
                scene_id=f"scene-{seed // 2}",
                regions=regions(before, after, truth, radius) if coc else (),
                cost=Cost(0.1, 300.0, "CPU", megapixels=0.5),
            )
        )
    return found


@pytest.fixture(scope="module")
def rows() -> tuple[MethodFigures, ...]:
    return figures_of({"first & best": scores(0.5), "second": scores(0.8)})


def test_differences_are_paired_and_intervals_by_scene(rows: tuple[MethodFigures, ...]) -> None:
    before, first, second = rows
    assert [row.method for row in rows] == [INPUT, "first & best", "second"]
    assert (first.psnr.pictures, first.psnr.scenes) == (12, 6)
    assert before.over_input is None and first.over_first is None
    assert first.over_input is not None and second.over_first is not None
    expected = np.mean([-20 * math.log10(0.5 * (1 + 0.1 * i)) for i in range(12)])
    assert first.over_input.mean == pytest.approx(expected, abs=1e-3)
    # Each picture differs by the same: the interval of the difference is a point.
    assert second.over_first.mean == pytest.approx(20 * math.log10(0.5 / 0.8), abs=1e-3)
    assert second.over_first.high - second.over_first.low < 1e-3
    assert first.psnr.high - first.psnr.low > 0.1
    assert first.seconds_per_megapixel == pytest.approx(0.2)
    assert set(first.by_kind) >= {"in focus", "near", "far", "radius 2-4"}
    assert first.by_kind["far"].mean == pytest.approx(expected, abs=0.05)
    few = figures_of({"few": scores(0.5, count=8)})
    assert math.isnan(few[1].psnr.low)  # four scenes
    assert sum(first.focus_errors) == sum(before.focus_errors) > 0


def test_the_tables_say_the_figures(rows: tuple[MethodFigures, ...]) -> None:
    gain = rows[1].over_input
    assert gain is not None
    said = f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"
    assert said in text_table(rows)
    lines = markdown(rows).splitlines()
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert said in lines[3]
    tex = latex(rows)
    assert r"first \& best" in tex and said[:5] in tex and said[6:] in tex
    of_rows = [line for line in tex.splitlines() if line.endswith(r" \\")]
    assert len(of_rows) == 4
    assert len({line.count("&") - line.count(r"\&") for line in of_rows}) == 1


@given(st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "S", "Zs"]), min_size=1))
@example(r"50% of a_b {c} #1 & $x$ ~ ^ \ end")
def test_any_name_is_text_in_latex(rows: tuple[MethodFigures, ...], name: str) -> None:
    """With what is escaped taken out: nothing is open, a comment or a cell more."""
    renamed = [dataclasses.replace(row, method=name, dataset=f"{name}@v1") for row in rows]
    text = latex(renamed)
    for command in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        text = text.replace(command, "")
    text = re.sub(r"\\[&%$#_{}]", "", text.replace(r"\\", " "))
    assert text.count("{") == text.count("}") and text.count("$") % 2 == 0
    assert not set("%#~^") & set(text)
    cells = [line.count("&") for line in text.splitlines() if "&" in line]
    assert set(cells) == {8} and len(cells) == 1 + len(rows)
    assert re.sub(r"\$\\mathrm\{rel\}\$|_\\mathrm", "", text).count("_") == 0


def test_pictures_are_chosen_by_rank_not_by_hand() -> None:
    found = chosen(scores(0.5), 3)
    names = [(place, score.pair_id) for place, score in found]
    assert names == [("worst gain", "pair-11"), ("median gain", "pair-6"), ("best gain", "pair-0")]
    assert [place for place, _ in chosen(scores(0.5)[:1], 3)] == ["the only one"]
    of_two = [place for place, _ in chosen(scores(0.5)[:2], 3)]
    assert of_two == ["worst gain", "best gain"]


@pytest.fixture(scope="module")
def content(rows: tuple[MethodFigures, ...]) -> PageContent:
    before, after, truth = pictures(0)
    shown = Shown(
        dataset="soft@v1",
        pair_id="pair-0",
        place="worst gain",
        input=before,
        outputs={"first & best": after, "second": before},
        target=truth,
        psnr={"first & best": 26.0, "second": 21.0},
        input_psnr=20.0,
    )
    random = np.random.default_rng(0)
    found = Findings(
        picture=before,
        kernels=random.normal(size=(8, 5, 5)),
        kernels_deblur=True,
        kernel_weights=random.random((3, 4, 8)),
        in_focus=random.random(SHAPE[:2]),
        coc_px=random.normal(size=SHAPE[:2]),
    )
    return PageContent(
        methods=("first & best", "second"),
        split="test",
        rows=rows,
        costs={"first & best": (240_000, 10**10), "second": None},
        cost_size="64x64",
        marks=("second was trained on <these>",),
        shown=(shown,),
        registered=False,
        explained=Explained("first & best", "soft@v1", "pair-0", found),
    )


@pytest.fixture(scope="module")
def page(content: PageContent) -> str:
    return evaluation_page(content)


def test_the_figures_are_files_of_their_own(page: str, content: PageContent) -> None:
    """Charts that any SVG reader takes, with a colour for each line; pictures as they are."""
    explained = content.explained
    assert explained is not None and explained.findings.in_focus is not None
    files = dict(figures_of_page(page, content))
    charts = {name: data for name, data in files.items() if name.endswith(".svg")}
    assert len(charts) == page.count('class="plot"')
    style = "{http://www.w3.org/2000/svg}style"
    for name, data in charts.items():
        root = ElementTree.fromstring(data)
        rules = root.find(style)
        assert rules is not None and rules.text
        drawn = {mark.get("class") for mark in root.iter() if mark.get("class")}
        for kind in drawn - {"tick", "grid", "point-name"}:
            selector = re.escape("." + ".".join(kind.split()))
            assert re.search(rf"{selector}[,{{]", rules.text), (name, kind)
        assert "first & best" in "".join(root.itertext())
        drawn_png = cv2.imdecode(np.frombuffer(files[name[:-3] + "png"], np.uint8), 1)
        size = [int(root.attrib[side]) * 4 for side in ("height", "width")]
        assert list(drawn_png.shape[:2]) == size
        assert (drawn_png[:70] < 100).any(axis=2).sum() > 500  # its title, with or without fonts
        shades = {"dot s1": (114, 107, 11), "dot s2": (31, 65, 195)}  # blue first
        for kind in drawn & set(shades):
            assert (drawn_png == shades[kind]).all(axis=2).sum() > 100, (name, kind)
    input_ = files["00-soft-v1-worst-gain-input-mean-of-the-views.png"]
    read = cv2.imdecode(np.frombuffer(input_, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_allclose(read / 255, content.shown[0].input.clip(0, 1), atol=0.51 / 255)
    assert "00-soft-v1-worst-gain-error-of-first-best.png" in files
    found = {name: data for name, data in files.items() if name.startswith("found-")}
    assert len(found) == 1 + 1 + 6 + 1  # in-focus map, radius, six kernels' use, the kernels
    assert len(files) == 2 * len(charts) + 7 + len(found)
    sheet = cv2.imdecode(np.frombuffer(found["found-kernels.png"], np.uint8), 1)
    assert sheet.shape == (3 * 64, 3 * 64, 3)  # eight kernels of 5 taps, 12 px each, with a rim
    focus = cv2.imdecode(np.frombuffer(found["found-in-focus-map.png"], np.uint8), 1)
    np.testing.assert_array_equal(focus[..., ::-1], ramp(explained.findings.in_focus))


PLACE = st.tuples(st.floats(0.1, 20), st.floats(20, 30))


@given(st.lists(PLACE, min_size=2, max_size=6))
@example([(0.2, 24.0)] * 5)
def test_no_name_of_a_point_lies_on_another(places: list[tuple[float, float]]) -> None:
    """At 7 px a letter and 12 px a line."""
    names = [f"model {i} of some" for i in range(len(places))]
    svg = points([Series(n, [p]) for n, p in zip(names, places, strict=True)], label="any")
    boxes = []
    for mark in ElementTree.fromstring(svg).iter("text"):
        if mark.get("class") == "point-name":
            x, y = float(mark.attrib["x"]), float(mark.attrib["y"])
            width = 6.5 * len(mark.text or "")
            left = x - width if mark.get("text-anchor") == "end" else x
            boxes.append((left, left + width, y))
    assert len(boxes) == len(places)
    for i, (left, right, y) in enumerate(boxes):
        for other, far, theirs in boxes[:i]:
            assert right <= other or far <= left or abs(y - theirs) >= 12


@pytest.mark.parametrize(
    ("seconds", "cells"),
    [((0.01234, 2.5), ["12.3 ms", "2500 ms"]), ((9.0, 12.3), ["9.00 s", "12.3 s"])],
)
def test_times_of_one_table_have_one_unit(
    rows: tuple[MethodFigures, ...], seconds: tuple[float, float], cells: list[str]
) -> None:
    before, *methods = rows
    timed = [
        dataclasses.replace(row, seconds_per_megapixel=value)
        for row, value in zip(methods, seconds, strict=True)
    ]
    assert [cost_cells(row.method, [before, *timed], {})[2] for row in timed] == cells


def test_a_chart_of_costs_shows_how_gains_differ_not_how_scenes_do(
    content: PageContent, rows: tuple[MethodFigures, ...]
) -> None:
    wide = [
        dataclasses.replace(row, psnr=dataclasses.replace(row.psnr, low=-40.0, high=90.0))
        for row in rows
    ]
    page = evaluation_page(dataclasses.replace(content, rows=tuple(wide)))
    charts = re.findall(r'<svg class="plot"[^>]*aria-label="PSNR[^>]*>.*?</svg>', page)
    assert len(charts) == 2
    for chart in charts:
        ticks = [float(value) for value in re.findall(r'text-anchor="end">([-\d.]+)<', chart)]
        assert min(ticks) > 10 and max(ticks) < 40


def test_who_takes_longer_stands_further_to_the_right(
    content: PageContent, rows: tuple[MethodFigures, ...]
) -> None:
    times = (None, 0.01, 1.0)
    timed = [
        dataclasses.replace(row, seconds_per_megapixel=seconds)
        for row, seconds in zip(rows, times, strict=True)
    ]
    page = evaluation_page(dataclasses.replace(content, rows=tuple(timed), costs={}))
    (chart,) = re.findall(r'<svg class="plot"[^>]*aria-label="PSNR[^>]*>.*?</svg>', page)
    first, second = (float(x) for x in re.findall(r'<circle[^>]* cx="([\d.]+)"', chart))
    assert first < second


def test_bars_of_methods_stand_beside_each_other() -> None:
    series = [Series(name, [(0, 1.0), (1, 2.0)], [(0.0, 2.0), (1.0, 3.0)]) for name in "abc"]
    svg = ElementTree.fromstring(lines(series, ["low", "high"], label="any"))
    bars = [float(m.attrib["x1"]) for m in svg.iter("line") if "reach" in m.get("class", "")]
    assert len(set(bars)) == len(bars) == 6
    assert bars[0] < bars[2] < bars[4] < bars[1]  # in the order of the methods, by place


def test_the_page_has_every_section_and_escapes_names(page: str) -> None:
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert titles == [
        "In figures",
        "What it costs",
        "From the worst to the best",
        "By blur",
        "What was sharp already",
        "What it found",
    ]
    assert "first &amp; best" in page and "first & best" not in page
    assert "trained on &lt;these&gt;" in page
    assert page.count('class="plot"') >= 3 and "0.24 M" in page


@pytest.mark.usefixtures("own_browser")
def test_the_page_in_a_browser(page: str, tmp_path: Path) -> None:
    """Nothing scrolls sideways, everything loads, nothing is asked of a network."""
    path = tmp_path / "index.html"
    path.write_text(page)
    for opened in looks_at(path):
        sizes = opened.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
        assert len(sizes) >= 10 and all(sizes)
        colours = opened.evaluate(
            "[...document.querySelectorAll('.plot .line')].map(e => getComputedStyle(e).stroke)"
        )
        assert len(set(colours)) >= 3 and "none" not in colours
        shown_at = f"[...document.querySelectorAll('.same-place img')].map({PLACE_OF})"
        before = opened.evaluate(shown_at)
        assert len(before) == 4 and len(set(before)) == 1
        opened.locator(".same-place").focus()
        for key in ("+", "ArrowUp", "ArrowLeft"):
            opened.keyboard.press(key)
        after = opened.evaluate(shown_at)
        assert len(set(after)) == 1 and after != before  # all of them, together
        opened.locator(".stage input").first.focus()
        opened.keyboard.press("End")
