"""Tiled restoration equals that of the whole picture, in bounded memory."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k3dn import build_model, deblur
from k3dn.tiling import _spans


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build_model("nano", {"width": 4, "disparity_channels": 8})
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)
    return model.eval()


@pytest.mark.parametrize("shape", [(200, 330), (97, 131), (16, 300)])
def test_feature_tiled_equals_whole(model, shape):
    """Within one of 65535 steps where the halo holds the receptive field."""
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 65536, (2, *shape, 3)).astype(np.uint16)
    whole = deblur(model, left, right, precision="fp32")
    tiled = deblur(model, left, right, tile_px=96, halo_px=128, precision="fp32")
    assert whole.dtype == np.uint16
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    mean = (left.astype(int) + right) // 2
    assert np.abs(whole - mean).max() > 100, "the network must do more than its residual"


@pytest.mark.parametrize(
    ("name", "options", "halo_px"),
    [
        ("tiny", {}, 128),
        ("large", {}, 128),
        ("nano", {"window_px": 64}, 192),
        ("nano", {"dense_kernels": 4, "window_px": 32}, 192),
        ("nano", {"mirror_whole": True}, 192),
        ("nano", {"local_norm": False}, 192),
        ("nano", {"form": "paper", "pad_to_grid": True, "authors_disparity": False}, 192),
        ("nano", {"single_picture": True}, 192),
    ],
    ids=str,
)
def test_other_variants_and_readings_tiled_equal_whole(name, options, halo_px):
    """One tile high and many wide; the width is not a multiple of any grid."""
    torch.manual_seed(0)
    sizes = {"width": 2, "disparity_width": 4, "disparity_channels": 8}
    if options.get("form") == "paper":
        options = {**options, "window_px": 64}
    model = build_model(name, {**sizes, **options}).eval()
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)
    views = np.random.default_rng(0).integers(0, 65536, (2, 48, 1003, 3)).astype(np.uint16)
    given = views[:1] if model.config.single_picture else views
    whole = deblur(model, *given, precision="fp32")
    tiled = deblur(model, *given, tile_px=64, halo_px=halo_px, precision="fp32")
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    mean = given.astype(int).mean(0)
    assert np.abs(whole - mean).max() > 100, "the network must do more than its residual"


def test_the_authors_form_takes_a_picture_whole():
    """It resizes what it gets: tiles would each be resized by another factor."""
    torch.manual_seed(0)
    model = build_model("nano", {"width": 2, "disparity_channels": 4, "form": "paper"})
    view = np.random.default_rng(0).integers(0, 256, (64, 100, 3)).astype(np.uint8)
    whole = deblur(model, view, view, tile_px=1024)
    assert np.array_equal(deblur(model, view, view, tile_px=32, halo_px=16), whole)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(16, 900), tile=st.integers(2, 20), halo=st.integers(0, 10))
def test_tiles_cover_everything_blend_and_start_on_the_grid(length, tile, halo):
    covered = np.zeros(length)
    for span, weight in _spans(length, 16 * tile, 16 * halo):
        assert span.start % 16 == 0
        assert span.stop - span.start >= 16
        covered[span] += weight
        if halo:  # from tile to tile by small steps, and from nothing at a rim that is a cut
            assert np.abs(np.diff(weight)).max() < 4 / (16 * halo)
            assert not span.start or weight[0] == 0
            assert span.stop == length or weight[-1] == 0
    np.testing.assert_allclose(covered, 1, atol=1e-5)


def test_sixteen_bit_values_survive(model):
    left = np.full((32, 32, 3), 40001, np.uint16)
    identity = build_model("nano", {"width": 4, "disparity_channels": 8})
    assert np.array_equal(deblur(identity, left, left), left)


class Darker(torch.nn.Module):
    """Somebody's network, of no memory to speak of."""

    def forward(self, left, right):
        return 0.25 * (left + right)


@pytest.mark.slow
def test_memory_beyond_the_pictures_is_that_of_a_row_of_tiles():
    """24 megapixels at 16 bit; one float32 copy of the picture would take 288 MB."""
    view = np.full((4000, 6000, 3), 40000, np.uint16)
    tracemalloc.start()
    try:
        found = deblur(Darker(), view, view, tile_px=256, halo_px=64)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(found == 20000)
    row_of_tiles = (256 + 2 * 64) * 6000 * 3 * 4
    assert peak < found.nbytes + 2 * row_of_tiles


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_type_is_kept(model, dtype):
    view = np.ones((20, 24, 3), dtype)
    assert deblur(model, view, view).dtype == dtype


class Halved(torch.nn.Module):
    """Somebody's network that answers in another size, or with two tensors."""

    def __init__(self, twice):
        super().__init__()
        self.twice = twice

    def forward(self, left, right):
        return (left, right) if self.twice else left[..., ::2, ::2]


def test_a_model_is_left_in_the_mode_it_came_in():
    view = np.zeros((32, 32, 3), np.uint8)
    own = build_model("nano", {"width": 2, "disparity_channels": 4, "local_norm": False}).train()
    own.decoder.eval()  # a frozen part
    before = [module.training for module in own.modules()]
    statistics = [buffer.clone() for buffer in own.buffers()]
    deblur(own, view, view)
    assert [module.training for module in own.modules()] == before
    assert all(map(torch.equal, own.buffers(), statistics))


class Divided(torch.nn.Module):
    """Divides nothing by nothing."""

    def forward(self, left, right):
        return (left - left) / (right - right)


def test_exception(model):
    view = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="one size and type"):
        deblur(model, view, view[:16])
    with pytest.raises(ValueError, match="at least 32 and halo_px not negative, got 8 and -1"):
        deblur(model, view, view, tile_px=8, halo_px=-1)
    with pytest.raises(ValueError, match=r"return a tensor \(1, 3, 32, 32\), got \(1, 3, 16, 16\)"):
        deblur(Halved(twice=False), view, view)
    with pytest.raises(ValueError, match="got tuple"):
        deblur(Halved(twice=True), view, view)
    with pytest.raises(ValueError, match="at least 16 x 16 px"):
        deblur(model, view[:8], view[:8])
    with pytest.raises(ValueError, match="needs the left and the right view"):
        deblur(model, view)
    with pytest.raises(ValueError, match="has NaN"):
        deblur(model, *np.full((2, 32, 32, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="returned NaN"):
        deblur(Divided(), view, view)
    with pytest.raises(ValueError, match="uint8, uint16 or floating"):
        deblur(model, view.astype(np.int64), view.astype(np.int64))
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        deblur(model, view[..., 0], view[..., 0])
