"""What is no pair of pictures is refused in one line that says what to give."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import k3dn
from k3dn.views import check_views

PICTURE = np.random.default_rng(0).random((24, 32, 3), np.float32)


@pytest.fixture(scope="module")
def restorer() -> k3dn.Restorer:
    options = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}
    return k3dn.Restorer(k3dn.build_model("nano", options), precision="fp32")


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (PICTURE.tolist(), r"got list; numpy\.asarray makes one"),
        (Image.new("RGB", (32, 24)), r"got Image; numpy\.asarray\(picture"),
        (torch.zeros(3, 24, 32), r"got Tensor; view\.permute\(1, 2, 0\)\.cpu\(\)"),
        ("left.png", r"got str; names of files are for the command"),
        (Path("left.png"), r"got \w*Path; names of files are for the command"),
        (3, "got int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_is_named(restorer: k3dn.Restorer, view: Any, told: str) -> None:
    for call in (k3dn.deblur, restorer):
        for pair in ((view, view), (view, PICTURE), (PICTURE, view)):
            with pytest.raises(ValueError, match=rf"^views must be numpy arrays .*, {told}"):
                call(*pair)


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (PICTURE * 255, r"must be in \[0, 1\], got .* to 25\d.*; divide them by 255, clip"),
        (PICTURE * 65535, r"must be in \[0, 1\], got .*; divide them by 65535, clip"),
        (PICTURE - 0.5, r"must be in \[0, 1\], got -0\.\d+ to 0\.\d+, clip them"),
        (np.where(PICTURE > 0.9, np.float32(np.inf), PICTURE), r"got .* to inf, clip them"),
        (np.where(PICTURE > 0.9, np.float32(np.nan), PICTURE), "has NaN"),
        (PICTURE[:0], r"must have pixels, got \(0, 32, 3\)"),
        (PICTURE[:, :0], r"must have pixels, got \(24, 0, 3\)"),
        (PICTURE[..., :1], r"must be \(H, W, 3\), got \(24, 32, 1\)"),
        (PICTURE[..., 0], r"must be \(H, W, 3\), got \(24, 32\)"),
        (np.zeros((), np.float32), r"must be \(H, W, 3\), got \(\)"),
        *((PICTURE.astype(kind), "must be uint8, uint16 or floating") for kind in "?bilLGFSO"),
        (PICTURE.astype(">u2"), r"got >u2; \.astype\('uint16'\) makes them so"),
        (PICTURE.astype(">f4"), r"got >f4; \.astype\('float32'\) makes them so"),
    ],
    ids=lambda value: f"{value.shape}{value.dtype.str}" if hasattr(value, "dtype") else None,
)
def test_what_is_no_picture_is_a_value_error(
    restorer: k3dn.Restorer, view: np.ndarray, told: str
) -> None:
    for call in (k3dn.deblur, restorer):
        with pytest.raises(ValueError, match=told) as caught:
            call(view, view)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["500", 500.5, None, True, [500]])
@pytest.mark.parametrize("name", ["memory_mib", "halo_px", "tile_px", "scales", "passes"])
def test_settings_that_are_no_numbers_are_a_type_error(
    restorer: k3dn.Restorer, name: str, value: object
) -> None:
    if (name, value) == ("tile_px", None):
        return
    told = re.escape(f"{name} must be a whole number, got {value!r} ({type(value).__name__})")
    with pytest.raises(TypeError, match=told):
        restorer(PICTURE, PICTURE, **{name: value})
    restorer(PICTURE, PICTURE, memory_mib=np.int64(500), passes=np.uint8(1))


@settings(deadline=None, max_examples=40)
@given(
    beyond=st.floats(-1, 1),
    where=st.tuples(st.integers(0, 23), st.integers(0, 31), st.integers(0, 2)),
    kind=st.sampled_from([np.float32, np.float64]),
    right=st.booleans(),
)
def test_rounding_may_leave_the_range_and_nothing_else(
    beyond: float, where: tuple[int, int, int], kind: type, right: bool
) -> None:
    other = PICTURE.astype(kind)
    view = other.copy()
    view[where] = 1 + beyond if beyond > 0 else beyond
    pair = [other, view] if right else [view, other]
    if abs(beyond) < 0.00099:
        assert check_views(pair) == 1.0
    elif abs(beyond) > 0.00101:
        with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
            check_views(pair)


def test_an_answer_to_values_barely_out_of_range_is_in_it(restorer: k3dn.Restorer) -> None:
    view = PICTURE * np.float32(1 + 2e-6) - np.float32(1e-6)
    view[0, 0], view[0, 1] = -1e-6, 1 + 1e-6
    answer = restorer(view, view)
    assert answer.min() >= 0 and answer.max() <= 1
    assert np.abs(answer - view).max() < 1e-5  # equal views come back as they are


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (15, 15)])
def test_too_small_pictures_are_refused(restorer: k3dn.Restorer, size: tuple[int, int]) -> None:
    view = np.full((*size, 3), 100, np.uint8)
    with pytest.raises(ValueError, match="16 x 16"):
        restorer(view, view)
