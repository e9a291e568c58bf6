"""Copies of a picture are found however they were made; pictures of one kind are not copies."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.content.copies import copies, trace
from tests.pipelines.content.scenes import clean, jpeg

KNOWN = [trace(clean(seed).target) for seed in range(8)]
cuts = st.floats(0, 0.06)


@settings(max_examples=12)
@given(seed=st.integers(0, 30), sides=st.tuples(cuts, cuts, cuts, cuts), scale=st.floats(0.5, 1.5))
def test_a_copy_is_found_and_no_other(
    seed: int, sides: tuple[float, float, float, float], scale: float
) -> None:
    """Cut at each side, resized and saved as JPEG; scenes behind the eighth are not known."""
    picture = clean(seed).target
    height, width = picture.shape[:2]
    top, bottom, left, right = (
        round(share * side)
        for share, side in zip(sides, (height, height, width, width), strict=True)
    )
    cut = picture[top : height - bottom, left : width - right]
    made = jpeg(cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 70)
    for one, other in (([trace(made)], KNOWN), (KNOWN, [trace(made)])):
        expected = [] if seed >= 8 else [0] if other is KNOWN else [seed]
        assert copies(one, other) == expected


def test_nothing_is_told_of_small_and_flat_pictures() -> None:
    assert trace(np.zeros((63, 200, 3), np.uint8)) is None
    grain = np.random.default_rng(0).integers(118, 122, (80, 120, 3), dtype=np.uint8)
    assert trace(cv2.resize(grain, (960, 640))) is None
    assert copies([None], [None]) == []
    assert copies([None, KNOWN[1]], [KNOWN[1], None]) == [1]
