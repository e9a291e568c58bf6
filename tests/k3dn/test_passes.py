"""The mean of several passes over a picture that is turned over."""

import numpy as np
import pytest
import torch

from k3dn import deblur
from tests.k3dn.test_inference import awake, picture


def turned(model, views, axes):
    """One pass by hand: turn the views over, exchange them where they are mirrored, turn back."""
    given = [np.flip(view, axes).copy() for view in views]
    if 1 in axes:
        given.reverse()
    return np.flip(deblur(model, *given, precision="fp32"), axes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("passes", "all_axes"), [(2, [(), (1,)]), (4, [(), (1,), (0,), (0, 1)])], ids=str
)
@pytest.mark.parametrize("tile_px", [None, 96])
def test_feature_the_mean_of_pictures_turned_over(passes, all_axes, tile_px):
    views = [view / np.float32(255) for view in picture(208, 272)]
    model = awake()
    single = [turned(model, views, axes) for axes in all_axes]
    found = deblur(model, *views, passes=passes, tile_px=tile_px, halo_px=96, precision="fp32")
    inside = (np.min(single, axis=0) > 0) & (np.max(single, axis=0) < 1)  # none was clipped
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], np.mean(single, axis=0)[inside], atol=2e-3)
    assert all(np.abs(one - found).max() > 1e-2 for one in single)


def test_a_network_for_single_pictures_sees_one():
    model = awake(single_picture=True)
    view = picture(64, 96)[0] / np.float32(255)
    mirrored = deblur(model, view[:, ::-1].copy(), precision="fp32")[:, ::-1]
    plain = deblur(model, view, precision="fp32")
    found = deblur(model, view, passes=2, precision="fp32")
    inside = (np.minimum(plain, mirrored) > 0) & (np.maximum(plain, mirrored) < 1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], ((plain + mirrored) / 2)[inside], atol=1e-5)


def test_feature_an_even_number_of_passes_treats_near_as_far():
    """Exchanged views of a mirrored scene give the mirrored picture, whatever the network."""
    views = [view / np.float32(255) for view in picture(64, 96)]
    model = awake()
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.1)
    found = deblur(model, *views, passes=2, precision="fp32")
    again = deblur(
        model, *(view[:, ::-1].copy() for view in views[::-1]), passes=2, precision="fp32"
    )
    np.testing.assert_allclose(again[:, ::-1], found, atol=1e-5)


@pytest.mark.parametrize("passes", [0, 3, 8])
def test_other_numbers_are_refused(passes):
    with pytest.raises(ValueError, match=f"passes must be 1, 2 or 4, got {passes}"):
        deblur(awake(), *picture(32, 32), passes=passes)
