"""Errors by region, and registration, against pictures whose errors are known."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.evaluation.masks import digest_of, mask_of, remarks
from pipelines.evaluation.regions import ERROR_EDGES, focus_region, regions
from pipelines.evaluation.registration import RIM_PX, onto_truth
from pipelines.scores import quality
from pipelines.storage import locate

SIZE = (40, 60)


def test_each_kind_of_pixel_has_its_own_error() -> None:
    """Bands of the picture with a radius and an error each."""
    coc, before = np.zeros(SIZE, np.float16), np.zeros((*SIZE, 3), np.float32)
    bands = {
        (0, 10): (0.4, 1 / 255),
        (10, 20): (0.8, 0.1),
        (20, 30): (3.0, 0.2),
        (30, 40): (-6, 0.4),
    }
    for (top, bottom), (radius, error) in bands.items():
        coc[top:bottom] = radius
        before[top:bottom] = error
    target = np.zeros_like(before)
    found = {r.name: r for r in regions(before, before / 2, target, coc)}
    assert set(found) == {"in focus", "near", "far", "radius 0.5-1", "radius 2-4", "radius 4-8"}
    assert found["in focus"].pixels == 600 and found["near"].pixels == 1200
    assert found["near"].input_mse == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert found["far"].output_mse == pytest.approx(0.2**2)
    assert found["radius 2-4"].input_psnr == pytest.approx(-20 * np.log10(0.2))
    assert found["in focus"].input_counts[ERROR_EDGES.index(1 / 255)] == 1800
    assert found["in focus"].output_counts[ERROR_EDGES.index(0.5 / 255)] == 1800
    assert sum(found["in focus"].output_counts) == 1800


def test_few_pixels_are_left_out_and_sizes_must_agree() -> None:
    picture = np.zeros((*SIZE, 3), np.float32)
    coc = np.zeros(SIZE, np.float16)
    coc[:1] = 5  # 60 pixels
    assert {r.name for r in regions(picture, picture, picture, coc)} == {"in focus"}
    with pytest.raises(ValueError, match="one size"):
        regions(picture, picture, picture, coc[:-1])


def test_a_mask_says_what_is_in_focus(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:10, :20] = 255
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "a.png"), mask)
    cv2.imwrite(str(tmp_path / "a.png"), 255 - mask)
    folder = locate(str(tmp_path))
    known = mask_of(folder, "one", "a", SIZE)
    assert known is not None
    np.testing.assert_array_equal(known, mask > 0)
    other = mask_of(folder, "two", "a", SIZE)
    assert other is not None and not (other & known).any()
    assert mask_of(folder, "one", "b", SIZE) is None
    with pytest.raises(UserError, match=r"a.png is 40 x 60 px, its picture is 41 x 60"):
        mask_of(folder, "one", "a", (41, 60))
    before = np.where(known[..., None], 0.1, 0.4).astype(np.float32) * np.ones(3, np.float32)
    (found,) = focus_region(before, before / 2, np.zeros_like(before), known)
    assert (found.name, found.pixels) == ("in focus", 200)
    assert found.input_mse == pytest.approx(0.01) and found.output_mse == pytest.approx(0.0025)
    digest = digest_of(folder)
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    assert digest_of(folder) != digest
    with pytest.raises(UserError, match=r"there is no .png file"):
        digest_of(locate(str(tmp_path / "none")))


def test_masks_of_no_pair_are_refused_or_said(tmp_path: Path) -> None:
    folder = locate(str(tmp_path))
    for name in ("a", "one/b", "two/b", "one/c"):
        folder.child(*f"{name}.png".split("/")).write_bytes(b"only its name is asked for")
    assert remarks(folder, {"one@v1": ["a", "b", "c"], "two@v7": ["a", "b"]}) == []
    assert remarks(folder, {"two@v7": ["a", "b", "d"], "three@v1": ["a", "b"]}) == [
        "masks: 2 of 4 are of no pair that is measured here, such as one/b.png",
        "masks: 1 of 3 pairs of two@v7 have none",
        "masks: 1 of 2 pairs of three@v1 have none",
    ]
    with pytest.raises(UserError, match=r"a.png is of no pair .* such as b.png for one of three"):
        remarks(folder, {"three@v1": ["b", "d"]})


@given(st.floats(-2.5, 2.5), st.floats(-2.5, 2.5))
def test_a_moved_picture_is_moved_back(x: float, y: float) -> None:
    texture = np.random.default_rng(0).random((160, 192, 3)).astype(np.float32)
    truth = cv2.GaussianBlur(texture, (0, 0), 2.0)
    truth = (truth - truth.min()) / (truth.max() - truth.min())
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(truth, shift, (192, 160), flags=cv2.INTER_CUBIC, borderMode=2)
    back, inner = onto_truth(moved, truth)
    assert back.shape == inner.shape == (160 - 2 * RIM_PX, 192 - 2 * RIM_PX, 3)
    assert quality(back, inner).psnr > 34


def test_registration_lets_the_sharper_picture_win() -> None:
    """Half a pixel beside its truth, the sharp one has less plain PSNR than the blurred one."""
    truth = np.random.default_rng(1).random((160, 192, 3)).astype(np.float32)
    truth = cv2.GaussianBlur(truth, (0, 0), 0.8)
    shift = np.array([[1, 0, 1.5], [0, 1, -1.0]], np.float32)
    sharp = cv2.warpAffine(truth, shift, (192, 160), flags=cv2.INTER_CUBIC, borderMode=2)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.5)
    assert quality(sharp, truth).psnr < quality(blurred, truth).psnr
    scores = [quality(*onto_truth(picture, truth)).psnr for picture in (sharp, blurred)]
    assert scores[0] > scores[1] + 5


def test_registration_cannot_make_detail_of_a_blurred_picture() -> None:
    truth = np.random.default_rng(2).random((160, 192, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(truth, (0, 0), 3)
    inner = np.s_[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
    plain = quality(blurred[inner], truth[inner]).psnr
    assert quality(*onto_truth(blurred, truth)).psnr < plain + 0.1


def test_flat_and_small_pictures() -> None:
    flat = np.full((100, 100, 3), 0.5, np.float32)
    back, _ = onto_truth(flat, flat)
    np.testing.assert_allclose(back, 0.5, atol=1e-6)
    with pytest.raises(ValueError, match="at least 96 px"):
        onto_truth(flat[:90], flat[:90])
