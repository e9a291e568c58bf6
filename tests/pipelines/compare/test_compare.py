"""The step on versions of a flat scene through known kernels."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import run_command_line
from pipelines.compare.apertures import FAMILIES
from pipelines.compare.config import CompareConfig
from pipelines.compare.measure import Measured
from pipelines.compare.result import CompareResult
from pipelines.compare.run import run, side_figures
from pipelines.compare.sample import Sample
from pipelines.dataset.record import Pair
from synth.color import linear_to_srgb, quantize
from tests.page_in_a_browser import looks_at
from tests.pipelines.compare.pictures import blurred, kernels_of, texture
from tests.pipelines.training.versions import make_pair, write_version

CAMERA_LIKE: dict[str, Any] = {"order": 1, "cutoff_factor": 1.0, "beta": 0.6}


def pair_of(
    number: int, family: str, *, noise: float, plain: bool = False, **parameters: Any
) -> Pair:
    """A flat scene, nearer than focus or farther in turn; plain: without combined and radii."""
    rng = np.random.default_rng(number)
    coc = (-1) ** number * rng.uniform(2.5, 6.0)
    sharp = texture(180, 260, number)
    kernels = kernels_of(family, coc, **parameters)
    views = [blurred(sharp, kernel) for kernel in kernels]
    left, right = (view + noise * rng.standard_normal(view.shape) for view in views)

    def stored(light: np.ndarray) -> np.ndarray:
        grey = quantize(linear_to_srgb(np.clip(light, 0.0, 1.0)), 8)
        return np.repeat(grey[..., None], 3, axis=2)

    return Pair(
        pair_id=f"p{number}",
        scene_id=f"p{number}",
        dataset="made",
        split="train",
        left=stored(left),
        right=stored(right),
        target=stored(sharp),
        combined=None if plain else stored(0.5 * (left + right)),
        coc=None if plain else np.full(sharp.shape, coc, np.float16),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("compare"))
    camera = [pair_of(i, "butterworth", noise=0.004, **CAMERA_LIKE) for i in range(6)]
    window = [pair_of(i, "integral", noise=0.012, plain=True) for i in range(6, 12)]
    write_version(folder, "camera", "v1", camera)
    write_version(folder, "window", "v1", window)
    write_version(folder, "small", "v1", [make_pair("small", "train", i) for i in range(3)])
    blind = [
        Pair(pair_id="b", scene_id="b", dataset="blind", split="train", left=p.left, right=p.right)
        for p in camera[:1]
    ]
    write_version(folder, "blind", "v1", blind)
    write_version(folder, "mixed", "v1", [*blind, *camera])
    return folder


@pytest.fixture(scope="module")
def compared(root: str) -> CompareResult:
    return run(CompareConfig(root=root, datasets=["camera", "window@v1"], patches=60))


@pytest.mark.slow
def test_what_made_the_pairs_is_recovered(compared: CompareResult) -> None:
    camera, window = compared.datasets
    rows = {row.name: row for row in compared.rows}
    middle = compared.shares.index(0.5)
    ratios = [quantiles[middle] for quantiles in rows["disparity_over_radius"].quantiles]
    # 0.461: the distance of the centroids of these kernels. A square of half side r blurs like a
    # disc of some 1.1 r, and its halves are r apart.
    assert ratios[0] == pytest.approx(0.461, rel=0.05)
    assert ratios[1] == pytest.approx(0.92, rel=0.08)
    assert camera.radius_over_truth is not None
    assert camera.radius_over_truth[1] == pytest.approx(1.0, abs=0.03)
    assert camera.side_is_true == 1.0
    assert camera.near == pytest.approx(0.5, abs=0.05)
    assert window.radius_over_truth is None, "nothing is stored to hold it against"
    # a flat disc with this ramp leaves as little: noise hides the difference
    least = min(camera.left_over, key=lambda name: camera.left_over[name])
    assert least in ("butterworth", "ramp")
    assert camera.left_over["butterworth"] < 1.02 * camera.left_over[least]
    assert min(window.left_over, key=lambda name: window.left_over[name]) == "integral"
    # green is grey here; 0.2 to 0.5 holds most of the picture
    noises = [quantiles[middle] for quantiles in rows["noise_2"].quantiles]
    assert noises[1] == pytest.approx(1.2, rel=0.25)
    assert noises[0] < 0.6 * noises[1]


@pytest.mark.slow
def test_other_kernels_are_told_apart_and_equal_scenes_are_not(compared: CompareResult) -> None:
    rows = {row.name: row for row in compared.rows}
    for name in ("disparity_over_radius", "fit_integral", "fit_butterworth", "noise_2"):
        row = rows[name]
        assert row.distance is not None and row.chance is not None
        assert row.distance > 0.9 and row.distance > row.chance, name
    for name in ("brightness", "contrast", "radius_px"):
        row = rows[name]
        assert row.distance is not None and row.chance is not None
        assert row.distance < row.chance, name


@pytest.mark.slow
def test_a_dataset_is_at_no_distance_from_itself(root: str) -> None:
    result = run(CompareConfig(root=root, datasets=["camera", "camera"], pairs=3, patches=24))
    assert {row.distance for row in result.rows} <= {0.0, None}
    measured = [row for row in result.rows if row.distance is not None]
    assert len(measured) > 15
    for row in measured:
        assert row.quantiles[0] == row.quantiles[1]


@pytest.mark.slow
def test_the_figures_lie_as_json_beside_a_page_that_asks_no_network(
    compared: CompareResult,
) -> None:
    folder = Path(compared.output)
    stored = json.loads((folder / "result.json").read_text())
    assert [row["name"] for row in stored["rows"]] == [row.name for row in compared.rows]
    for row in stored["rows"]:
        assert all(math.isfinite(value) for values in row["quantiles"] for value in values)
    page = (folder / "index.html").read_text()
    assert page.count('<svg class="densities"') >= 20
    assert "camera@v1" in page and "window@v1" in page
    assert "http:" not in page and "https:" not in page
    text = compared.describe()
    assert str(folder / "index.html") in text
    for row in compared.rows:
        assert row.title in text


@pytest.mark.browser
def test_the_page_in_a_browser(compared: CompareResult) -> None:
    for opened in looks_at(Path(compared.output, "index.html")):
        assert opened.locator("svg.densities").count() >= 20


@pytest.mark.slow
def test_the_draw_is_bounded_and_pairs_without_a_target_are_told(root: str) -> None:
    result = run(CompareConfig(root=root, datasets=["mixed", "camera"], pairs=7, patches=35))
    mixed, camera = result.datasets
    assert (mixed.pairs, mixed.skipped) == (6, 1)
    assert camera.pairs == 6
    assert mixed.patches == 30
    assert "without a target" in result.describe()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["datasets=camera"], ["datasets", "two"]),
        (["datasets=camera,cammera"], ["cammera", "did you mean 'camera'?"]),
        (["datasets=blind,camera"], ["blind@v1", "no target"]),
        (["datasets=small,camera"], ["small@v1", "patches", "20 are needed"]),
        (["datasets=camera,window", "splits=test"], ["camera@v1", "no test pairs"]),
        (["datasets=camera,window", "pairs=0"], ["pairs", "at least 1"]),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(
    arguments: list[str], words: list[str], root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["compare", f"root={root}", *arguments]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert all(word in line for word in words), line
    assert not Path(root, "_comparisons", "small@v1--camera@v1").exists()


def test_what_has_no_parallax_is_neither_near_nor_far() -> None:
    signed = np.array([0.004, -0.002, 0.0, 0.0])
    none = np.zeros(0)
    pair = Measured(
        values={"signed_radius_share": signed},
        left_over=dict.fromkeys(FAMILIES, none),
        radius_over_truth=none,
        side_is_true=none.astype(bool),
        patches=4,
        clean=4,
        beyond=0,
    )
    found = side_figures(Sample(reference="made@v1", pairs=(pair,), skipped=0))
    assert found.near == 0.25
    assert found.left_over == {} and found.radius_over_truth is None is found.side_is_true
