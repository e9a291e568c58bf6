"""The contact sheet: crops where blur is strongest and weakest, and the views' difference shown."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipelines.dataset.record import Pair, Provenance
from pipelines.making.preview import contact_sheet, sharpest, strongest_blur


def pair_of(height: int = 240, width: int = 320) -> Pair:
    """Grey with noise; blurred by -6 px, where the right view is brighter, in one place."""
    rng = np.random.default_rng(0)
    picture = rng.integers(90, 110, (height, width, 3), dtype=np.uint8)
    coc = np.full((height, width), 1.0, np.float16)
    coc[150:180, 40:70] = -6.0
    coc[20:60, 250:290] = 0.0
    right = picture.copy()
    right[150:180, 40:70] += 60
    return Pair(
        pair_id="p",
        scene_id="p",
        dataset="d",
        split="train",
        left=picture,
        right=right,
        target=picture,
        combined=None,
        coc=coc,
        provenance=Provenance(sources=(), kernel_family=None, parameters={}, seed=None),
    )


@pytest.mark.parametrize("known", [True, False])
def test_the_crop_holds_the_strongest_blur_of_either_sign(known: bool) -> None:
    pair = pair_of() if known else replace(pair_of(), coc=None)
    rows, columns = strongest_blur(pair, (48, 48))
    assert rows.start <= 150
    assert rows.stop >= 180
    assert columns.start <= 40
    assert columns.stop >= 70
    assert (rows.stop - rows.start, columns.stop - columns.start) == (48, 48)


def test_the_other_crop_is_in_focus() -> None:
    pair = pair_of()
    rows, columns = sharpest(pair, (40, 40))
    assert pair.coc is not None
    assert np.abs(pair.coc[rows, columns]).max() == 0.0


def test_crops_of_small_pictures_are_the_whole() -> None:
    window = strongest_blur(pair_of(190, 100), (192, 192))
    assert window == (slice(0, 190), slice(0, 100))


@pytest.mark.parametrize("depth", [8, 16])
def test_the_sheet_shows_pixels_as_they_are_and_the_difference_in_colour(depth: int) -> None:
    pair = pair_of()
    if depth == 16:
        assert pair.target is not None
        pair = replace(
            pair,
            left=pair.left.astype(np.uint16) * 257,
            right=pair.right.astype(np.uint16) * 257,
            target=pair.target.astype(np.uint16) * 257,
        )
    data = np.frombuffer(contact_sheet([pair, replace(pair, target=None, coc=None)]), np.uint8)
    sheet = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    plain = pair_of()
    window = strongest_blur(plain, (192, 192))
    blurred = (
        slice(26 + 150 - window[0].start, 26 + 180 - window[0].start),
        slice(40 - window[1].start, 70 - window[1].start),
    )

    def cell(column: int) -> np.ndarray:
        left = 6 + column * 198
        return sheet[blurred[0], left + blurred[1].start : left + blurred[1].stop]

    np.testing.assert_array_equal(cell(1), plain.left[150:180, 40:70])
    np.testing.assert_array_equal(cell(2), plain.right[150:180, 40:70])
    np.testing.assert_array_equal(cell(4), plain.left[150:180, 40:70])
    for column in (3, 5):  # the right one is brighter, and it is far: blue
        red, _, blue = cell(column).reshape(-1, 3).mean(axis=0)
        assert blue > 200
        assert red < 80
