"""How a network runs while it answers: the same answer, in the memory and type that were asked."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k3dn import Restorer, build_model, deblur, inference
from k3dn.inference import TilePlan, choose_dtype, plan_tiles, prepare
from k3dn.network.convolutions import ResidualBlock
from k3dn.network.mixing import InvertibleMixing
from k3dn.scales import scale_factors
from tests.k3dn.test_model import SWITCHES

SIZES = {"width": 4, "disparity_channels": 8}


def awake(name="nano", **options):
    torch.manual_seed(0)
    model = build_model(name, {**SIZES, **options}).eval()
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.02)
    return model


SMALL = awake()


def picture(height, width):
    """A pair of smooth pictures with edges, uint8."""
    y, x = np.mgrid[:height, :width] / 16
    base = 0.5 + 0.3 * np.sin(x + y) + 0.2 * np.sign(np.sin(0.37 * x - 0.21 * y))
    views = np.stack([np.roll(base, shift, 1) for shift in (-1, 1)]).clip(0, 1)
    return (255 * np.stack([views] * 3, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_feature_prepared_network_equals_the_plain_one(switch):
    """Channels together, kernels made once, scores in strips: in every form and reading."""
    model = awake(**switch)
    views = torch.rand(2, 1, 3, 64, 96)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    prepared = prepare(model, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(prepared(*views), model(*views), atol=1e-4, rtol=1e-4)
        if model.psf_blocks:
            weights = model.restore(*views).kernel_weights
            again = prepared.reblur(views[0], weights), model.reblur(views[0], weights)
            torch.testing.assert_close(*again, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(isinstance(module, InvertibleMixing) for module in prepared.modules())


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_form_takes_channels_last(switch):
    model = awake(**switch).to(memory_format=torch.channels_last)
    weight = model.decoder.to_full.refine[0].first.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    kept = awake(**switch).state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    views = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(*views), awake(**switch)(*views), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_bfloat16_stays_within_a_step_and_fifty_decibels(name):
    """For a change of the picture as large as that of trained networks."""
    model = awake(name, width=8)
    views = picture(96, 128).astype(np.float32) / 255
    change = deblur(model, *views, precision="fp32") - views.mean(0)
    with torch.no_grad():
        model.decoder.to_image.weight *= 5 / 255 / float(np.sqrt(np.square(change).mean()))
    exact, rounded = (deblur(model, *views, precision=p) for p in ("fp32", "bf16"))
    error = np.abs(exact - rounded)
    assert 0 < error.max() < 1 / 255
    assert -10 * np.log10(np.square(error).mean()) > 50
    assert np.abs(exact - views.mean(0)).max() > 5 / 255, "the network must do something"


def test_first_layer_and_residual_stay_in_float32():
    model = awake()
    assert choose_dtype(model, "bf16") == torch.bfloat16
    prepared = prepare(model, torch.bfloat16)
    assert prepared.encoder.to_half.down.weight.dtype == torch.float32
    assert prepared.encoder.to_quarter.down.weight.dtype == torch.bfloat16
    still = awake()
    torch.nn.init.zeros_(still.decoder.to_image.weight)
    views = np.random.default_rng(0).integers(0, 65536, (2, 32, 32, 3)).astype(np.uint16)
    mean = np.rint(views.astype(np.float64).mean(0))
    assert np.abs(deblur(still, *views, precision="bf16") - mean).max() <= 1


@pytest.mark.parametrize(("speedup", "dtype"), [(0.7, torch.float32), (2.5, torch.bfloat16)])
def test_auto_takes_what_is_faster_here(monkeypatch, speedup, dtype):
    monkeypatch.setattr(inference, "bfloat16_speedup", lambda: speedup)
    assert choose_dtype(awake()) == dtype
    assert choose_dtype(awake().double()) == torch.float64
    assert choose_dtype(awake().bfloat16()) == torch.bfloat16
    views = picture(32, 48)
    expected = deblur(awake(), *views, precision="fp32")
    assert np.abs(deblur(awake().double(), *views).astype(int) - expected).max() <= 1


def test_the_speedup_is_that_of_a_convolution_of_this_machine():
    assert 0.01 < inference.bfloat16_speedup() < 100
    assert inference.bfloat16_speedup() == inference.bfloat16_speedup()


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(16, 9000),
    width=st.integers(16, 9000),
    memory_mib=st.integers(400, 20000),
    window_px=st.sampled_from([16, 64]),
)
def test_tiles_fit_into_the_memory_and_keep_to_the_grid(height, width, memory_mib, window_px):
    model = build_model("nano", {**SIZES, "window_px": window_px})
    plan = plan_tiles(model, height, width, torch.float32, memory_mib=memory_mib)
    rows = min(plan.tile_px[0] + 2 * plan.halo_px[0], height)
    columns = min(plan.tile_px[1] + 2 * plan.halo_px[1], width)
    assert plan.tile_px[0] % window_px == 0 and plan.tile_px[1] % window_px == 0
    # 480 bytes: nine feature maps of 10 float32 each, and the views.
    assert rows * columns * 480 + rows * width * 12 <= memory_mib * 2**20
    more = plan_tiles(model, height, width, torch.float32, memory_mib=10 * memory_mib)
    assert np.prod(more.tile_px) >= np.prod(plan.tile_px)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(16, 3000), width=st.integers(16, 3000), halo_px=st.sampled_from([0, 96, 200])
)
def test_the_least_memory_is_enough_and_less_is_not(height, width, halo_px):
    restorer = Restorer(SMALL, precision="fp32")
    least = restorer.least_memory_mib(height, width, halo_px=halo_px)
    sizes = [(-(-height // n), -(-width // n)) for n in scale_factors(height, width)]
    for size in sizes:
        plan_tiles(SMALL, *size, torch.float32, memory_mib=least, halo_px=halo_px)
    with pytest.raises(ValueError, match=f"takes {least} MiB; allow more"):
        for size in sizes:
            plan_tiles(SMALL, *size, torch.float32, memory_mib=least - 1, halo_px=halo_px)


def test_a_picture_that_fits_is_one_tile():
    assert plan_tiles(awake(), 500, 700) == TilePlan((512, 704), (96, 96))


def test_less_memory_gives_the_same_picture():
    model = awake()
    views = picture(300, 400)
    told = []
    whole = deblur(model, *views, precision="fp32", progress=lambda *done: told.append(done))
    assert told == [(1, 1)]
    told.clear()
    cut = deblur(
        model,
        *views,
        precision="fp32",
        memory_mib=165,
        progress=lambda *done: told.append(done),
    )
    assert len(told) > 2
    assert told == [(number + 1, len(told)) for number in range(len(told))]
    assert np.abs(whole.astype(int) - cut).max() <= 1


PEAK = """
import numpy as np, torch, k3dn
from tests.benchmarks.memory import now_mib, peak_mib
torch.set_num_threads(1)
model = k3dn.build_model("nano")
views = np.random.default_rng(0).integers(0, 256, (2, 800, 1100, 3)).astype(np.uint8)
k3dn.deblur(model, *views[:, :32, :32], precision="{precision}")
before = now_mib()
tiles = []
k3dn.deblur(model, *views, precision="{precision}", memory_mib={memory_mib},
            progress=lambda done, total: tiles.append(total))
print(peak_mib() - before - views[0].nbytes / 2**20, tiles[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(("precision", "memory_mib"), [("fp32", 350), ("bf16", 250)])
def test_peak_memory_is_within_what_was_allowed_and_uses_it(precision, memory_mib):
    command = PEAK.format(precision=precision, memory_mib=memory_mib)
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    added_mib, tiles = (float(word) for word in done.stdout.split())
    assert tiles > 1
    assert 0.25 * memory_mib < added_mib < memory_mib


class Theirs(torch.nn.Module):
    """Somebody's network, which takes what it is given."""

    def forward(self, left, right):
        assert left.dtype == torch.float32
        return 0.5 * (left + right)


def test_a_network_of_somebody_else_runs_as_it_came():
    model = Theirs()
    assert choose_dtype(model) is None
    assert plan_tiles(model, 2000, 2000).tile_px == (512, 512)
    assert prepare(model, None) is model
    with pytest.raises(ValueError, match="not for Theirs"):
        choose_dtype(model, "bf16")


@pytest.mark.slow
def test_a_restorer_compiles_once_for_all_pictures():
    """Traced by torch, run by its own operators: no C compiler is needed."""
    torch.compiler.reset()
    shapes = []

    def backend(graph, inputs):
        shapes.append(tuple(next(x for x in inputs if x.ndim == 4 and x.shape[1] == 3).shape))
        return graph.forward

    model = awake(psf_blocks=1, residual_blocks=0, srp_residual_blocks=0)
    with pytest.MonkeyPatch.context() as patch:
        compiler = torch.compile
        patch.setattr(
            torch,
            "compile",
            lambda m, *, dynamic, mode: compiler(m, dynamic=dynamic, backend=backend),
        )
        restorer = Restorer(model, precision="fp32", compiled=True)
        for width in (160, 192, 200, 160):
            views = picture(64, width)
            found = restorer(*views, tile_px=32, halo_px=32)
            expected = deblur(model, *views, precision="fp32", tile_px=32, halo_px=32)
            assert np.abs(found.astype(int) - expected).max() <= 1
    # All tiles of a picture of whole windows have one shape, and so have those of another one.
    assert shapes == [(1, 3, 64, 96), (1, 3, 64, 104)]


def test_a_restorer_restores_as_deblur_does_and_keeps_what_it_prepared(monkeypatch):
    model = awake()
    restorer = Restorer(model, precision="fp32")
    monkeypatch.setattr("k3dn.tiling.prepare", None)
    views = picture(64, 96)
    found = [restorer(*views), restorer(*views, tile_px=32)]
    monkeypatch.undo()
    assert np.array_equal(found[0], deblur(model, *views, precision="fp32"))
    assert np.array_equal(found[1], deblur(model, *views, precision="fp32", tile_px=32))
    torch.nn.init.zeros_(model.decoder.to_image.weight)
    assert np.array_equal(restorer(*views), found[0])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_stay_laid_out_as_convolutions_want_them(precision, monkeypatch):
    """One array that lies the other way is copied in each layer behind it: 20% of all time."""
    wrong = []

    def look(name):
        def hook(module, given, found):
            for x in (*given, found):
                if x.ndim == 4 and x.shape[1] > 1 and x.stride(1) != 1:
                    wrong.append((name, x.shape, x.stride()))

        return hook

    def watched(model, dtype):
        network = prepare(model, dtype)
        for name, module in (*network.encoder.named_modules(), *network.decoder.named_modules()):
            if isinstance(module, torch.nn.Conv2d | ResidualBlock | inference._FirstLayer):
                module.register_forward_hook(look(name))
        return network

    monkeypatch.setattr("k3dn.tiling.prepare", watched)
    deblur(awake(), *picture(64, 96), precision=precision)
    assert not wrong


@pytest.mark.slow
def test_tiles_of_one_shape_give_the_same_picture(monkeypatch):
    """Those at the rims see more of the picture instead of less."""
    model, views, seen = awake(), picture(200, 234), []

    def compile_nothing(network, **options):
        network.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[-2:]))
        return network

    monkeypatch.setattr(torch, "compile", compile_nothing)
    restorer = Restorer(model, precision="fp32", compiled=True)
    found = restorer(*views, tile_px=32, halo_px=64)
    assert len(seen) == 6 * 7
    assert set(seen) == {(160, 160), (160, 170), (168, 160), (168, 170)}
    expected = deblur(model, *views, precision="fp32")
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory_mib": 0}, "memory_mib must be positive, got 0"),
        ({"memory_mib": 129}, "memory_mib=129 is too little: the smallest tile of"),
        ({"tile_px": 8}, "at least 32 and halo_px not negative, got 8 and 96"),
    ],
)
def test_exception(options, words):
    with pytest.raises(ValueError, match="one of auto, fp32, bf16, got 'fp16'"):
        choose_dtype(awake(), "fp16")
    with pytest.raises(ValueError, match=words):
        plan_tiles(awake(), 4000, 6000, torch.float32, **options)
