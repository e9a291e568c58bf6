"""The whole network: sizes, symmetry, switches, refusals."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k3dn import K3DN, VARIANTS, K3DNConfig, TrainingObjective, build_model


def small(**options):
    torch.manual_seed(0)
    return build_model("nano", {"width": 4, "disparity_channels": 8, **options})


def awake(model):
    """A network that does something: the untrained one is the identity by design."""
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.1)
    for query in model.kernel_queries:
        if not query.key_weights.any():  # the refined query is blind to the kernels at its start
            torch.nn.init.normal_(query.key_weights, std=0.1)
    return model.eval()


@pytest.mark.parametrize("options", [{}, {"scaled_start": False}, {"bounded_inverse": False}])
def test_smoke_untrained_network_returns_the_mean_view(options):
    left, right = torch.rand(2, 1, 3, 32, 48)
    torch.testing.assert_close(small(**options)(left, right), (left + right) / 2)


@settings(max_examples=12, deadline=None)
@given(height=st.integers(16, 70), width=st.integers(16, 70))
def test_any_size_is_restored_as_if_its_border_went_on_to_whole_windows(height, width):
    views = torch.rand(2, 1, 3, height, width)
    margin = ((0, 0),) * 3 + ((0, -height % 16), (0, -width % 16))
    padded = torch.from_numpy(np.pad(views.numpy(), margin, mode="edge"))
    model = awake(small())
    with torch.no_grad():
        found, expected = model(*views), model(*padded)
    assert found.shape == views[0].shape
    torch.testing.assert_close(found, expected[..., :height, :width])


SWITCHES = [
    {"psf": False},
    {"srp": False},
    {"single_picture": True},
    {"dense_kernels": 6, "window_px": 32},
    {"pad_to_grid": False},
    {"shared_windows": False, "window_px": 64},
    {
        "authors_disparity": True,
        "two_sided": False,
        "local_norm": False,
        "mirror_disparity": False,
    },
    {"two_sided": False},
    {"local_norm": False},
    {"mirror_disparity": False},
    {"mirror_whole": True},
    {"scaled_softmax": False},
    {"refined_query": True},
    {"coc_readout": False},
    {"skip_psf": False},
    {"extra_biases": False},
    {"bounded_inverse": False},
    {"reversed_reblur": False},
    {"gated_values": False},
    {"mean_residual": False},
    {"scaled_start": False},
    {"window_px": 32},
    {"form": "paper"},
    {"form": "paper", "single_picture": True},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_changes_the_network_and_trains(switch):
    model = awake(small(**switch)).train()
    left, right, target = torch.rand(3, 1, 3, 90, 100)
    coc = torch.full((1, 1, 90, 100), 3.0)
    TrainingObjective(model, disparity_loss=0.1)(left, right, target, coc).total.backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    # The same weights, as far as both have them, must give another picture.
    sizes = {"window_px": switch["window_px"]} if len(switch) > 1 and "window_px" in switch else {}
    plain = awake(small(**sizes))
    theirs = model.state_dict()
    for name, value in plain.state_dict().items():
        if name in theirs and theirs[name].shape == value.shape:
            theirs[name] = value
    model.load_state_dict(theirs)
    model.eval()
    assert model(left, right).shape == left.shape
    if set(switch) == {"reversed_reblur"}:  # the way there is the same
        weights = model.restore(left, right).kernel_weights
        found, otherwise = (m.reblur(target, weights) for m in (model, plain))
        assert not torch.allclose(found, otherwise, atol=1e-5)
    elif not set(switch) <= {"scaled_start", "coc_readout"}:
        assert not torch.allclose(model(left, right), plain(left, right), atol=1e-5)


def test_every_boolean_option_has_a_test():
    booleans = {f.name for f in fields(K3DNConfig) if f.type is bool}
    assert booleans <= {name for switch in SWITCHES for name in switch}


def test_paper_form_sets_switches_that_options_may_set_back():
    model = build_model("nano", {"form": "paper", "mean_residual": True})
    assert model.config.mean_residual
    assert not model.config.scaled_softmax
    assert model.config.authors_disparity


def test_paper_form_resizes_to_whole_windows_and_back():
    model = awake(small(form="paper"))
    left, right = torch.rand(2, 1, 3, 100, 230)
    assert model(left, right).shape == left.shape
    assert model.restore(left, right).features.shape[-2:] == (288 // 8, 448 // 8)
    padded = awake(small(form="paper", pad_to_grid=True))
    assert not torch.allclose(padded(left, right), model(left, right), atol=1e-3)


def test_one_picture_is_restored_by_a_network_for_it():
    model = awake(small(single_picture=True))
    left, right = torch.rand(2, 1, 3, 32, 48)
    mean = 0.5 * (left + right)
    torch.testing.assert_close(model(mean), model(left, right))
    torch.testing.assert_close(model(mean, mean), model(mean))
    with pytest.raises(ValueError, match="single_picture=true"):
        small()(mean)


def test_mirror_whole_is_exact_and_the_plain_network_is_not():
    left, right = torch.rand(2, 1, 3, 64, 90)
    for options, exact in (({"mirror_whole": True}, True), ({}, False)):
        model = awake(small(**options))
        mirrored = model(right.flip(-1), left.flip(-1)).flip(-1)
        gap = (mirrored - model(left, right)).abs().max()
        assert (gap < 1e-5) == exact


def test_mirrored_and_swapped_views_mirror_the_disparity_exactly():
    model = awake(small())
    left, right = torch.rand(2, 2, 3, 64, 96)
    straight = model.disparity(left, right)
    mirrored = model.disparity(right.flip(-1), left.flip(-1))
    torch.testing.assert_close(mirrored.flip(-1), straight, atol=1e-6, rtol=1e-5)
    # ... and the check can fail: without the second pass it does not hold.
    loose = awake(small(mirror_disparity=False))
    gap = loose.disparity(right.flip(-1), left.flip(-1)).flip(-1) - loose.disparity(left, right)
    assert gap.abs().max() > 1e-3


def test_disparity_tells_near_from_far():
    """Swapping the views alone turns near into far: the features must differ."""
    model = awake(small())
    left, right = torch.rand(2, 1, 3, 64, 64)
    assert not torch.allclose(model.disparity(left, right), model.disparity(right, left))


def test_each_block_is_weighed_by_its_own_query_of_r_and_of_its_kernels_that_blur():
    """Eq. 8: W_k looks at K of the block that a is for."""
    model = awake(small())
    found = model.restore(*torch.rand(2, 1, 3, 32, 48))
    queries = [*model.kernel_queries, *model.skip_queries]
    assert len(queries) == len(model.blocks()) == len(found.kernel_weights) == 4
    for query, block, weights in zip(queries, model.blocks(), found.kernel_weights, strict=True):
        kernels = block.kernel_set
        assert torch.equal(weights, query(found.disparity_features, kernels.blurring_kernels()))
        other = query(found.disparity_features, kernels.deblurring_kernels())
        assert not torch.equal(weights, other)


def test_reblurring_uses_the_kernels_of_the_blurred_pair():
    model = awake(small())
    left, right, sharp = torch.rand(3, 1, 3, 32, 40)
    weights = model.restore(left, right).kernel_weights
    assert model.reblur(sharp, weights).shape == sharp.shape
    other = [w * 2 for w in weights]
    assert not torch.equal(model.reblur(sharp, weights), model.reblur(sharp, other))


@pytest.mark.parametrize("reverses", [True, False])
def test_restoring_deblurs_in_every_block_and_reblurring_blurs_in_every_one(reverses):
    model, ran = awake(small(psf_blocks=3, reversed_reblur=reverses)), []
    for number, block in enumerate(model.blocks()):
        block.register_forward_pre_hook(
            lambda _block, _views, how, number=number: ran.append((number, how["reblur"])),
            with_kwargs=True,
        )
    left, right, sharp = torch.rand(3, 1, 3, 32, 48)
    weights = model.restore(left, right).kernel_weights
    assert ran == [(number, False) for number in range(5)]  # three at 1/8, then at 1/4 and 1/2
    ran.clear()
    model.reblur(sharp, weights)
    eighth = [2, 1, 0] if reverses else [0, 1, 2]
    assert ran == [(number, True) for number in (*eighth, 3, 4)]


def test_every_parameter_of_the_network_has_a_part_in_training():
    model = awake(small())
    left, right, target = torch.rand(3, 2, 3, 64, 96)
    coc = torch.full((2, 1, 64, 96), 2.0)
    objective = TrainingObjective(model, disparity_loss=0.2)
    with torch.no_grad():
        model.coc_readout.weight.normal_()  # zero at the start, it sends the estimator nothing
    objective(left, right, target, coc).total.backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_reblurring_wants_the_weights_of_its_own_pair():
    model = awake(small())
    left, right = torch.rand(2, 1, 3, 32, 48)
    weights = model.restore(left, right).kernel_weights
    expected = r"pair of the sharp picture's size, \(1, 16, 3, 3\), got \(1, 16, 2, 3\)"
    with pytest.raises(ValueError, match=expected):
        model.reblur(torch.rand(1, 3, 48, 48), weights)
    with pytest.raises(ValueError, match=r"got \(1, 5, 2, 3\)"):
        model.reblur(left, [w[:, :5] for w in weights])
    with pytest.raises(ValueError, match=r"computes in torch.float32, sharp is torch.float64"):
        model.reblur(left.double(), weights)
    with pytest.raises(ValueError, match="of 4 PSF blocks, got 1"):
        model.reblur(left, weights[:1])


def test_without_psf_blocks_there_is_no_reblurring():
    """Encoder and decoder alone cannot both sharpen and blur: such a loss would fight itself."""
    model = awake(small(psf=False))
    left, right, sharp = torch.rand(3, 1, 3, 32, 48)
    loss = TrainingObjective(model)(left, right, sharp)
    assert loss.reblur == 0
    assert loss.total == loss.deblur
    with pytest.raises(ValueError, match="no kernels to blur by"):
        model.reblur(sharp, [])


def test_output_under_autocast_is_not_quantised():
    """bfloat16 has steps of 2^-9 near one half; 16 bit pictures have 2^-16."""
    model = awake(small())
    torch.nn.init.normal_(model.decoder.to_image.weight, std=1e-3)  # sharpening changes little
    left, right = torch.rand(2, 1, 3, 32, 48)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        residual = model(left, right) - 0.5 * (left + right)
    steps = residual * 2**9
    assert ((steps - steps.round()).abs() > 1e-3).float().mean() > 0.5


def test_disparity_learns_through_both_losses():
    model = awake(small())
    objective = TrainingObjective(model, lambda_1=0.5)
    left, right, target = torch.rand(3, 1, 3, 32, 32)
    loss = objective(left, right, target)
    torch.testing.assert_close(loss.total, loss.deblur + 0.5 * loss.reblur)
    loss.reblur.backward()
    assert model.disparity.project.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options", [{}, {"form": "paper"}, {"dense_kernels": 6, "window_px": 32}], ids=str
)
def test_bfloat16_autocast_trains_and_stays_near(options):
    model = awake(small(**options))
    left, right, target = torch.rand(3, 1, 3, 40, 48)
    with torch.no_grad():
        expected = model(left, right)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(left, right)
        objective = TrainingObjective(model, disparity_loss=0.1)
        objective(left, right, target, target[:, :1]).total.backward()
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    "options", [{}, {"bounded_inverse": False}, {"dense_kernels": 6, "window_px": 32}], ids=str
)
def test_a_network_held_in_bfloat16_trains_and_stays_near(options):
    """Also on views in float32, whose precision the answer keeps."""
    model = awake(small(**options))
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.01)
    left, right, target = torch.rand(3, 1, 3, 40, 48)
    with torch.no_grad():
        expected = model(left, right)
        found = model.bfloat16()(left, right)
        rounded = model(left.bfloat16(), right.bfloat16())
    assert found.dtype == rounded.dtype == torch.float32
    assert (found - expected).abs().max() < 0.2 * (expected - 0.5 * (left + right)).abs().max()
    assert (rounded - expected).abs().max() < 0.01
    objective = TrainingObjective(model, disparity_loss=0.1)
    objective(left, right, target, target[:, :1]).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_widths_follow_the_design():
    assert [VARIANTS[n].num_kernels for n in ("nano", "tiny", "lightweight", "large")] == [
        32, 96, 128, 192,
    ]  # fmt: skip


def _with(*values):
    """A view with single bad values."""
    view = torch.rand(1, 3, 32, 32)
    view[0, 1, 5, : len(values)] = torch.tensor(values)
    return view


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 40), "one shape"),
        (torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32), r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8),) * 2 + ("floating point",),
        (torch.rand(1, 3, 32, 32), _with(torch.nan), "right has NaN"),
        (_with(torch.inf), torch.rand(1, 3, 32, 32), "left has NaN or inf"),
        (_with(torch.inf, -torch.inf), torch.rand(1, 3, 32, 32), "left has NaN or inf"),
        (torch.rand(1, 3, 8, 32),) * 2 + ("at least 16",),
        (torch.rand(0, 3, 32, 32),) * 2 + ("at least one picture",),
        (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32).double(), "one type"),
        (torch.rand(1, 3, 32, 32).double(),) * 2 + ("computes in torch.float32",),
        (torch.rand(1, 3, 32, 32).numpy(),) * 2 + ("torch.Tensor, got a ndarray",),
    ],
)
def test_exception_bad_views(left, right, words):
    with pytest.raises(ValueError, match=words):
        small()(left, right)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("nanno", {}, "did you mean 'nano'"),
        ("nano", {"psf_block": 3}, "did you mean 'psf_blocks'"),
        ("nano", {"kernel_size": 4}, "kernel_size must be odd"),
        ("nano", {"form": "papper"}, "form must be k3dn or paper"),
        ("nano", {"width": 2.5}, "width must be a whole number"),
        ("nano", {"srp": 0}, "srp must be true or false"),
        ("nano", {"window_px": 24}, "16 or a larger power of 2"),
        ("nano", {"shared_windows": False}, "window_px of at least 64"),
        ("nano", {"dense_kernels": 8}, "window_px of at least 32"),
        ("nano", {"authors_disparity": True}, "two_sided=false local_norm=false"),
        ("no.such.module:factory", {}, "cannot find the model"),
        ("k3dn:build_model", {"nonsense": 1}, "does not take these options"),
        ("nano", {1: 2}, "unknown network option 1"),
        ("builtins:dict", {}, "expected torch.nn.Module"),
        ("k3dn:VARIANTS", {}, "is a dict, expected a callable"),
    ],
)
def test_exception_unknown_model(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_model(name, options)


def test_any_module_takes_the_place_of_k3dn():
    model = build_model("tests.k3dn.test_model:MeanView", {"gain": 2.0})
    left, right = torch.rand(2, 1, 3, 16, 16)
    assert torch.equal(model(left, right), left + right)
    assert TrainingObjective(model)(left, right, left).reblur == 0


class MeanView(torch.nn.Module):
    """Anybody's network: two views to a picture."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, left, right):
        return self.gain * (left + right) / 2


def test_default_configuration_is_tiny():
    assert K3DN().config == VARIANTS["tiny"] == K3DNConfig()
