"""What a pair cannot tell stays as it is: equal views, wholly or in a part of the picture."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import k3dn
from k3dn import box
from k3dn.equal_views import keep_equal


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile_px", [None, 64])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_views_come_back_bit_by_bit(dtype: type, tile_px: int | None, precision: str) -> None:
    white = np.iinfo(dtype).max
    view = np.random.default_rng(0).integers(0, white, (150, 267, 3), dtype, endpoint=True)
    assert np.array_equal(
        k3dn.deblur(view, view.copy(), weights="nano", tile_px=tile_px, precision=precision), view
    )


@given(top=st.integers(0, 94), left=st.integers(0, 94))
def test_one_pixel_that_differs_counts_around_it_and_nowhere_else(top: int, left: int) -> None:
    views = torch.zeros(2, 1, 3, 95, 95)
    views[1, 0, 1, top, left] = 0.5
    restored = torch.ones(1, 4, 95, 95)
    kept = keep_equal(restored, *views)
    assert torch.equal(kept[:, 3], restored[:, 3])
    y, x = (torch.arange(95) - at for at in (top, left))
    distance = torch.maximum(y.abs()[:, None], x.abs()[None])
    assert bool((kept[0, :3, distance <= 4] == 1.0).all())
    assert bool((kept[0, :3, distance > 40] == 0.0).all())


def test_what_differs_everywhere_is_the_networks_own() -> None:
    views = torch.rand(2, 1, 3, 48, 64)
    restored = torch.rand(1, 3, 48, 64)
    assert keep_equal(restored, *views) is restored


def test_the_network_of_somebody_else_answers_for_itself() -> None:
    class Dark(torch.nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return 0.5 * left

    view = np.full((32, 32, 3), 200, np.uint8)
    assert (k3dn.Restorer(Dark())(view, view) == 100).all()


def test_a_light_that_is_clipped_in_both_views_stays_white() -> None:
    left = np.random.default_rng(1).integers(0, 200, (96, 160, 3), np.uint8)
    right = np.random.default_rng(2).integers(0, 200, (96, 160, 3), np.uint8)
    left[:, 60:], right[:, 60:] = 255, 255
    answer = k3dn.Restorer(box.load("nano"))(left, right)
    assert (answer[:, 101:] == 255).all()
