"""The metrics table against scikit-image and against the definition."""

from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from pipelines.errors import UserError
from pipelines.evaluation.labels import on_labels, read_labels, with_labels
from pipelines.evaluation.summary import figures_of
from pipelines.scores import (
    INPUT,
    OVERALL,
    PSNR_CEILING_DB,
    PairScore,
    Quality,
    format_table,
    mean_view,
    quality,
    table,
    to_unit,
)


def test_sixteen_bits_keep_what_eight_cannot_hold() -> None:
    picture = np.full((16, 16, 3), 12345, np.uint16)
    assert to_unit(picture)[0, 0, 0] == np.float32(12345 / 65535)


def test_quality_matches_independent_definitions() -> None:
    rng = np.random.default_rng(1)
    image, target = rng.random((2, 24, 31, 3), dtype=np.float32)
    found = quality(image, target)
    error = image.astype(np.float64) - target
    assert found.psnr == pytest.approx(10 * np.log10(1 / np.mean(error**2)), abs=1e-6)
    assert found.mae == pytest.approx(np.abs(error).mean(), abs=1e-7)
    assert found.rmse == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-7)
    expected = structural_similarity(image, target, channel_axis=2, data_range=1.0)
    assert found.ssim == pytest.approx(expected, abs=1e-5)


def test_equal_pictures_count_as_the_ceiling() -> None:
    picture = np.ones((16, 16, 3), np.float32)
    assert quality(picture, picture).psnr == PSNR_CEILING_DB


def test_rmse_rel_derives_from_the_mean_psnr() -> None:
    def score(dataset: str, pair_id: str, psnr: float) -> PairScore:
        return PairScore(
            dataset,
            pair_id,
            Quality(20, 0.5, 0.1, 0.1),
            Quality(psnr, 0.9, 0.05, 10 ** (-psnr / 20)),
        )

    rows = table([score("a@v1", "1", 20), score("a@v1", "2", 40), score("b@v1", "1", 30)], "m")
    assert [(r.dataset, r.method, r.pairs) for r in rows] == [
        ("a@v1", INPUT, 2),
        ("a@v1", "m", 2),
        ("b@v1", INPUT, 1),
        ("b@v1", "m", 1),
        (OVERALL, INPUT, 3),
        (OVERALL, "m", 3),
    ]
    assert rows[1].psnr == 30
    assert rows[1].rmse_rel == pytest.approx(10**-1.5)
    assert rows[1].mean_rmse == pytest.approx((0.1 + 0.01) / 2)  # another figure
    assert rows[5].psnr == 30
    text = format_table(rows)
    assert text.splitlines()[1].startswith("a@v1") and "30.00" in text


def test_one_dataset_has_no_overall_row() -> None:
    one = PairScore("a@v1", "1", Quality(20, 0.5, 0.1, 0.1), Quality(21, 0.6, 0.1, 0.1))
    assert [row.dataset for row in table([one], "m")] == ["a@v1", "a@v1"]


def test_mean_view_is_symmetric() -> None:
    left, right = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    np.testing.assert_array_equal(mean_view(left, right), mean_view(right, left))


def test_labels_of_no_pair_are_refused_or_said(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"

    def said(lines: str) -> list[str]:
        path.write_text(f"pair_id,label\n{lines}")
        return on_labels(read_labels(str(path)), {"set@v1": ["a", "b"], "more@v2": ["c"]}, "FILE")

    assert said("a,in\nb,out\nc,in\n") == []
    assert said("a,in\nb,\nx,in\ny,out\n") == [
        "labels: 2 of 3 are of no pair that is measured here, such as x",
        "labels: 1 of 2 pairs of set@v1 have none and count in the whole alone",
        "labels: 1 of 1 pairs of more@v2 have none and count in the whole alone",
    ]
    for lines, words in (
        ("x,in\n", r"labels=FILE: no pair that .* a pair_id of set@v1 is a$"),
        ("a,\n", "no pair that is measured here has a label"),
        ("a,in\nb,out\na,out\n", "line 4 names a again"),
        ("a,in\n a ,in\n", "line 3 names a again"),
        ("a,in\n,in\n", "line 3 names no pair_id"),
    ):
        with pytest.raises(UserError, match=words):
            said(lines)


def test_labels_give_figures_of_their_own_behind_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("pair_id,label\na,outdoor\nb,indoor\nc,outdoor\nd,\nof another set,indoor\n")
    psnr = {"a": 20.0, "b": 30.0, "c": 24.0, "d": 40.0}
    scores = [
        PairScore("set@v1", pair, Quality(10, 0.5, 0.1, 0.1), Quality(value, 0.5, 0.1, 0.1))
        for pair, value in psnr.items()
    ]
    rows = figures_of({"mine": with_labels(scores, read_labels(str(path)))})
    assert [(row.dataset, row.psnr.pictures) for row in rows if row.method == "mine"] == [
        ("set@v1", 4),
        ("set@v1, indoor", 1),
        ("set@v1, outdoor", 2),
    ]
    assert [row.psnr.mean for row in rows if row.method == "mine"] == [28.5, 30.0, 22.0]
    for content, words in (("a,b\n", "must name the columns pair_id, label"), (None, "not to be")):
        path.unlink()
        if content:
            path.write_text(content)
        with pytest.raises(UserError, match=words):
            read_labels(str(path))
        path.touch()
