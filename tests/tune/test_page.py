"""The page of a search, from trials that are known; looked at in a browser."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.page_in_a_browser import looks_at
from tune.charts import Scale, scale_of
from tune.figures import TrialFigures, seconds_of
from tune.page import SearchContent, search_page
from tune.records import Score, TrialRecord
from tune.space import Choice, Combination, Range

SPACE = {
    "lambda_1": Range(0.01, 1.0, log=True, whole=False),
    "num_kernels": Choice((16, 24, 32, 48)),
    "model": Choice(("nano", "a<b")),
}


def trial(index: int, status: str = "finished", steps: int = 400) -> TrialFigures:
    """Best at lambda_1 = 0.1, and the better the more kernels."""
    values = {
        "lambda_1": round(0.01 * 10 ** (index / 5), 4),
        "num_kernels": (16, 24, 32, 48)[index % 4],
        "model": ("nano", "a<b")[index // 6],
    }
    peak = 26 - (math.log10(values["lambda_1"]) + 1) ** 2 + values["num_kernels"] / 48
    scores = tuple(Score(step=step, value=peak - 300 / step) for step in range(100, steps + 1, 100))
    if status in ("diverged", "failed"):
        scores = scores[:1]
    return TrialFigures(
        record=TrialRecord(
            combination=Combination(index=index, values=values),
            run=f"t-{index}",
            status=status,  # type: ignore[arg-type]
            scores=scores,
            reason="the loss is not finite after step 120" if status == "diverged" else "",
        ),
        quality={"val_psnr": scores[-1].value, "val_ssim": 0.9, "val_mae": 0.02},
        seconds=30.0 + index,
        parameters=1000 * values["num_kernels"],
        macs=10**9 * values["num_kernels"],
    )


@pytest.fixture(scope="module")
def content() -> SearchContent:
    kinds = [("finished", 400), ("stopped", 100), ("stopped", 200)]
    trials = [trial(index, *kinds[index % 3]) for index in range(10)]
    trials[7] = trial(7, "diverged")
    return SearchContent(
        name="s",
        metric="val_psnr",
        space=SPACE,
        sampler="tpe",
        steps=400,
        wanted=12,
        data=("synth@v1*2", "dpd<blur>@v1"),
        trials=tuple(trials),
        best=3,
        command="k3dn train lambda_1=0.1",
    )


def rows_of(page: str, label: str) -> list[list[str]]:
    """The cells of a table of the page."""
    (table,) = re.findall(rf'aria-label="{label}"><table>.*?<tbody>(.*?)</tbody>', page)
    return [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", table)
    ]


def test_the_longest_trained_come_first_and_those_without_weights_last(
    content: SearchContent,
) -> None:
    rows = rows_of(search_page(content), "Trials")
    assert [row[0] for row in rows] == ["4", "7", "10", "1", "6", "3", "9", "5", "2", "8"]
    assert [row[4] for row in rows] == ["400"] * 4 + ["200"] * 3 + ["100"] * 3
    assert rows[-1][-1] == "the loss is not finite after step 120"


def test_a_table_by_value_takes_trials_of_one_length(content: SearchContent) -> None:
    rows = rows_of(search_page(content), "By N")
    psnr = {n: f"{content.trials[n].record.last.value:.2f}" for n in (3, 6)}
    assert rows == [
        ["16", "3", "1", f"{content.trials[0].record.last.value:.2f}", "0.9000"],
        ["24", "3", "1", f"{content.trials[9].record.last.value:.2f}", "0.9000"],
        ["32", "2", "1", psnr[6], "0.9000"],
        ["48", "2", "1", psnr[3], "0.9000"],
    ]


def test_every_trial_is_in_the_charts(content: SearchContent) -> None:
    page = search_page(content)
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert titles == [
        "The trials", "What each key does", "By value", "All keys together", "Over the steps",
        "Cost against quality", "To train the best in full",
    ]  # fmt: skip
    # Nine have a score that compares; four of them were trained in full, in three costs as well.
    assert page.count('class="dot s') - page.count('r="3"') == 3 * 4 + 3 * 4
    assert page.count('class="hollow s') == 3 * 5
    assert page.count('class="ring"') == 3 + 3
    kinds = re.findall(r'class="trial (\w+)"', page)
    assert sorted(kinds) == ["best", "diverged", *["stopped"] * 5, *["whole"] * 3]
    assert "10 of 12 trials" in page
    assert "dpd&lt;blur&gt;" in page and "a&lt;b" in page and "a<b" not in page


def test_a_search_over_one_key_of_one_cost_has_a_page(content: SearchContent) -> None:
    alone = replace(trial(3), parameters=None, macs=None, quality={}, record=trial(3).record)
    page = search_page(
        replace(content, space={"lambda_1": SPACE["lambda_1"]}, trials=(alone,), wanted=1)
    )
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", page) == [
        "The trials", "What each key does", "Over the steps", "To train the best in full",
    ]  # fmt: skip


def test_a_scale_is_even_where_its_axis_is() -> None:
    log = scale_of("lambda_1", SPACE["lambda_1"])
    assert [round(log.place(v), 6) for v in (0.01, 0.1, 1.0)] == [0.0, 0.5, 1.0]
    assert {text: round(place, 6) for place, text in log.marks()}["0.1"] == 0.5
    assert scale_of("N", SPACE["num_kernels"]).marks()[0] == (0.125, "16")
    point = scale_of("lambda_1", Range(0.3, 0.3, log=True, whole=False))
    assert point.place(0.3) == pytest.approx(0.5) and point.marks()
    narrow = scale_of("lr", Range(0.3, 0.4, log=True, whole=False))
    assert all(0 <= place <= 1 for place, _ in narrow.marks()) and len(narrow.marks()) > 1
    assert Scale("x", 0.0, 10.0).marks()[-1] == (1.0, "10")


def test_seconds_are_those_of_steps_however_often_it_stopped() -> None:
    rows = [
        {"step": 10, "s_per_step": 0.5},
        {"step": 10, "val_psnr": 20.0},
        {"step": 30, "s_per_step": 1.0},
    ]
    assert seconds_of(rows) == 10 * 0.5 + 20 * 1.0


@pytest.mark.usefixtures("own_browser")
def test_the_page_in_a_browser(content: SearchContent, tmp_path: Path) -> None:
    """Nothing scrolls sideways, marks have colours, nothing is asked of a network."""
    path = tmp_path / "index.html"
    path.write_text(search_page(content))
    for opened in looks_at(path):
        for marks in (".plot .line", ".parallel .trial", ".plot .hollow", ".parallel .upright"):
            colours = opened.evaluate(
                f"[...document.querySelectorAll('{marks}')].map(e => getComputedStyle(e).stroke)"
            )
            assert colours and "none" not in colours, marks
