"""Exported networks: one graph for many sizes, equal to the network that it was made of."""

import onnxruntime
import pytest
import torch

from k3dn import build_model
from k3dn.export import (
    export_onnx,
    export_program,
    input_names,
    size_step_px,
    smallest_size_px,
)
from k3dn.frozen import freeze
from k3dn.network.correlation import by_offsets, local_correlation

NARROW = {
    "width": 4,
    "disparity_channels": 8,
    "disparity_width": 4,
    "attention_window": 3,
    "psf_blocks": 1,
}
SIZES = [(1, 16, 16), (1, 33, 50), (3, 64, 100)]
FORMS = {
    "default": {},
    "no psf": {"psf": False},
    "no srp, whole mirrored": {"srp": False, "mirror_whole": True},
    "single picture": {"single_picture": True},
    "dense": {"dense_kernels": 3, "window_px": 32, "srp": False},
    "own windows": {"window_px": 64, "shared_windows": False, "srp": False},
    "paper": {"form": "paper", "srp": False},
}
IN_ONNX = ("default", "dense", "paper")
"""Translation takes longest; the other forms have no operators beside those of these."""


def awake(**options):
    """A narrow network whose answer is none of its inputs."""
    torch.manual_seed(0)
    model = build_model("nano", NARROW | options).eval()
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)
    return model


def sizes_of(model):
    down, across = size_step_px(model)
    if (down, across) == (1, 1):
        return SIZES
    height, width = smallest_size_px(model)
    return [(1, height, width), (2, height, width + across)]


def views_of(model, size):
    batch, height, width = size
    return [torch.rand(batch, 3, height, width) for _ in input_names(model)]


def by_onnxruntime(proto, views):
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [node.name for node in session.get_inputs()]
    feed = {name: view.numpy() for name, view in zip(names, views, strict=True)}
    return torch.from_numpy(session.run(["image"], feed)[0])


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_one_program_and_one_onnx_file_hold_for_many_sizes(form):
    model = awake(**FORMS[form])
    program = export_program(model)
    exported = program.module()
    onnx = export_onnx(program, input_names(model)) if form in IN_ONNX else None
    for size in sizes_of(model):
        views = views_of(model, size)
        with torch.no_grad():
            expected = model(*views)
            torch.testing.assert_close(exported(*views), expected, rtol=0, atol=1e-5)
        if onnx is not None:
            found = by_onnxruntime(onnx, views)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_program_is_saved_loaded_and_called_with_gradients_on(tmp_path):
    model = awake(srp=False)
    torch.export.save(export_program(model), tmp_path / "network.pt2")
    exported = torch.export.load(tmp_path / "network.pt2").module()
    views = views_of(model, (1, 33, 50))
    gradients = []
    for network in (exported, model):
        left = views[0].clone().requires_grad_()
        network(left, views[1]).square().sum().backward()
        gradients.append(left.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


@pytest.mark.slow
def test_nan_in_a_view_is_nan_in_the_picture():
    exported = export_program(awake(srp=False), size=(32, 48)).module()
    left, right = torch.full((2, 1, 3, 32, 48), 0.5)
    assert torch.isfinite(exported(left, right)).all()
    left[0, 1, 3, 4] = torch.nan
    assert torch.isnan(exported(left, right)).any()


@pytest.mark.slow
def test_a_graph_of_one_size_takes_no_other_and_no_window_needs_to_be_whole():
    model = awake(form="paper", single_picture=True)
    exported = export_program(model, size=(40, 50)).module()
    (picture,) = views_of(model, (1, 40, 50))
    with torch.no_grad():
        torch.testing.assert_close(exported(picture), model(picture))
    with pytest.raises(AssertionError):
        exported(torch.rand(1, 3, 40, 64))


class Halving(torch.nn.Module):
    """Somebody else's network, which works at half the resolution."""

    def __init__(self):
        super().__init__()
        self.down = torch.nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.up = torch.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, left, right):
        return left + self.up(self.down(torch.cat((left, right), dim=1)))


class Peeking(torch.nn.Module):
    """One that decides by the values of its input."""

    def forward(self, left, right):
        return left if left.mean() > 0.5 else right


def test_somebody_elses_network_is_exported_or_refused_in_a_sentence():
    model = Halving().eval()
    exported = export_program(model).module()
    for size in [(1, 32, 48), (2, 64, 32)]:
        views = views_of(model, size)
        torch.testing.assert_close(exported(*views), model(*views))
    with pytest.raises(ValueError, match=r"^the network cannot be exported") as refusal:
        export_program(Peeking())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("options", [{}, {"bounded_inverse": False}, FORMS["dense"]], ids=str)
def test_a_frozen_network_gives_the_same_pictures_there_and_back(options):
    model = awake(**options).train()
    frozen = freeze(model)
    assert model.training and not frozen.training
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    views = torch.rand(2, 1, 3, 48, 64)
    with torch.no_grad():
        found, expected = frozen.restore(*views), model.eval().restore(*views)
        assert torch.equal(found.image, expected.image)
        weights = expected.kernel_weights
        assert torch.equal(frozen.reblur(views[0], weights), model.reblur(views[0], weights))
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(frozen(*views), found.image)


@pytest.mark.parametrize("window", [1, 3, 9])
def test_the_correlation_of_a_graph_is_that_of_the_network(window):
    query, key = torch.randn(2, 2, 5, 11, 13)
    found = by_offsets(query, key, window)
    torch.testing.assert_close(found, local_correlation(query, key, window))
