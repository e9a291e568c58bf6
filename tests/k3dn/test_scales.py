"""Strong blur is restored at a smaller size, and only where the network says that it is strong."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import k3dn
from k3dn import Restorer, box, deblur
from k3dn.metrics import psnr
from k3dn.scales import scale_factors
from tests.k3dn.test_inference import awake, picture

EVEN = {"precision": "fp32"}


def finding(radius_px, **options):
    """A network that changes pictures and finds one radius everywhere, at every size."""
    model = awake(**options)
    torch.nn.init.zeros_(model.coc_readout.weight)
    torch.nn.init.constant_(model.coc_readout.bias, radius_px)
    return model


def by_hand(model, views):
    """The mean of the views sharpened by the enlarged change at half the size, float32."""
    pair = [torch.from_numpy(view / np.float32(255)).movedim(-1, 0)[None] for view in views]
    height, width = pair[0].shape[-2:]
    padded = [F.pad(view, (0, width % 2, 0, height % 2), mode="replicate") for view in pair]
    small = [F.interpolate(view, scale_factor=0.5, mode="area") for view in padded]
    with torch.no_grad():
        change = model(*small) - (small[0] + small[1]) / 2
    change = F.interpolate(change, scale_factor=2, mode="bicubic")[..., :height, :width]
    answer = (pair[0] + pair[1]) / 2 + change
    return answer[0].movedim(0, -1).clamp(0, 1).numpy()


@pytest.mark.parametrize("radius_px", [-9.0, 7.0])
@pytest.mark.parametrize("size", [(272, 304), (257, 259)])
def test_feature_strong_blur_takes_the_answer_of_half_the_size(radius_px, size):
    """7 px at half the size are 14: from there on nothing of the full size is left."""
    views = picture(*size)
    model = finding(radius_px)
    found = deblur(model, *views, scales=2, **EVEN) / 255
    np.testing.assert_allclose(found, by_hand(model, views), atol=0.5 / 255 + 1e-4)
    assert np.abs(found - deblur(model, *views, scales=1, **EVEN) / 255).max() > 2 / 255


@pytest.mark.parametrize("radius_px", [4.0, -1.0])
def test_feature_weak_blur_keeps_the_answer_of_the_full_size(radius_px):
    """4 px at half the size are 8: up to there nothing of the half is taken."""
    views, model = picture(272, 304), finding(radius_px)
    assert np.array_equal(deblur(model, *views, **EVEN), deblur(model, *views, scales=1, **EVEN))


def test_between_them_both_count():
    """11 px, in the middle: half of each."""
    views, model = picture(272, 304), finding(5.5)
    full = deblur(model, *views, scales=1, **EVEN).astype(float)
    half = 255 * by_hand(model, views)
    found = deblur(model, *views, scales=2, **EVEN)
    unclipped = (np.minimum(full, half) > 0.5) & (np.maximum(full, half) < 254.5)
    assert unclipped.mean() > 0.5
    np.testing.assert_allclose(found[unclipped], ((full + half) / 2)[unclipped], atol=1.01)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(520, 560), (530, 516)])
def test_tiles_give_the_picture_that_is_restored_whole(size):
    """At all three sizes, with borders of tiles across them."""
    views, model = picture(*size), finding(5.5)
    whole = deblur(model, *views, **EVEN)
    told = []
    tiled = deblur(
        model, *views, tile_px=96, halo_px=64, progress=lambda *done: told.append(done), **EVEN
    )
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert told == [(n, told[0][1]) for n in range(1, len(told) + 1)]
    assert told[-1][0] == told[-1][1] > 36
    quarter = deblur(model, *views, scales=2, **EVEN)
    assert not np.array_equal(whole, quarter)


def test_compiled_it_is_the_same(monkeypatch):
    views, model = picture(272, 304), finding(5.5)
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda m, **_: compiled.append(m) or m)
    found = Restorer(model, precision="fp32", compiled=True)(*views)
    assert np.abs(found.astype(int) - deblur(model, *views, **EVEN)).max() <= 1
    assert len(compiled) == 1


@pytest.mark.parametrize("reason", ["untaught", "drifted", "no query", "foreign"])
def test_who_does_not_know_the_blur_restores_the_full_size_alone(reason):
    model = awake(psf=False) if reason == "no query" else finding(9.0)
    if reason == "untaught":
        torch.nn.init.zeros_(model.coc_readout.bias)
    model.coc_drifted = reason == "drifted"
    if reason == "foreign":
        network = model

        class Foreign(torch.nn.Module):
            def forward(self, left, right):
                with torch.no_grad():
                    return network(left, right)

        model = Foreign()
    views, told = picture(272, 304), []
    found = deblur(model, *views, progress=lambda *done: told.append(done))
    assert np.array_equal(found, deblur(model, *views, scales=1))
    assert told == [(1, 1)]


@given(height=st.integers(16, 9000), width=st.integers(16, 9000), most=st.integers(1, 5))
def test_no_scale_is_smaller_than_it_may_be(height, width, most):
    factors = scale_factors(height, width, most)
    assert factors == [2**n for n in range(len(factors))]
    assert len(factors) <= most
    assert all(min(height, width) >= 128 * factor for factor in factors[1:])
    if len(factors) < most:
        assert min(height, width) < 128 * 2 * factors[-1]


def test_no_scale_is_refused():
    with pytest.raises(ValueError, match="scales must be at least 1, got 0"):
        deblur(awake(), *picture(32, 32), scales=0)


@pytest.mark.parametrize("name", ["nano", "tiny"])
@pytest.mark.parametrize("side", ["near", "far"])
def test_the_box_restores_strong_blur_better_by_smaller_sizes(name, side):
    """A flat scene, 20 px out of focus: half disks by an independent convolution."""
    radius = 20
    rng = np.random.default_rng(5)
    coarse = rng.uniform(0.1, 0.9, (1, 3, 32, 40)).astype(np.float32)
    sharp = F.interpolate(torch.from_numpy(coarse), scale_factor=10, mode="nearest")
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius) * (1.0 + 0.8 * x / radius)
    kernel = torch.from_numpy((disk / disk.sum()).astype(np.float32)).expand(3, 1, -1, -1)
    padded = F.pad(sharp, [radius] * 4, mode="replicate")
    views = [
        F.conv2d(padded, k, groups=3)[0].movedim(0, -1).numpy().copy()
        for k in (kernel, kernel.flip(-1))
    ]
    if side == "near":
        views.reverse()
    truth = sharp[0].movedim(0, -1).numpy()
    network = box.load(name)
    gains = [
        psnr(k3dn.deblur(network, *views, scales=scales), truth) - psnr(sum(views) / 2, truth)
        for scales in (1, 3)
    ]
    assert gains[1] > gains[0] + 0.3
