"""Networks of others: as large as their papers say, right in their parts, for any size."""

import pytest
import torch
from torch import nn

import k3dn
from k3dn.baselines.dpdnet import DPDNet, dpdnet
from k3dn.baselines.nafnet import LayerNorm2d, NAFBlock, nafnet
from k3dn.baselines.padded import padded
from k3dn.summary import summarize

SMALL = {
    "k3dn.baselines.dpdnet:dpdnet": {"width": 4},
    "k3dn.baselines.nafnet:nafnet": {
        "width": 4,
        "encoder": [1, 2],
        "middle": 1,
        "decoder": [1, 1],
    },
}


def test_nafnet_costs_what_its_paper_says() -> None:
    """Table 6 there: width 32, 36 blocks, 16.0 G and 17.1 M for one picture of 256 x 256 px."""
    summary = summarize(nafnet(), 256, 256)
    assert summary.macs == pytest.approx(16.0e9, rel=0.02)
    assert summary.parameters == pytest.approx(17.1e6, rel=0.01)


def test_dpdnet_costs_what_a_u_net_of_its_filters_does() -> None:
    """Convolutions counted one by one: 64 to 1024 filters, two a level, one to go up."""
    widths = [64, 128, 256, 512, 1024]
    layers = []  # channels in, channels out, side of the kernel, halvings of the picture
    for level, (before, after) in enumerate(zip([6, *widths[:-1]], widths, strict=True)):
        layers += [(before, after, 3, level), (after, after, 3, level)]
    for level, after in reversed(list(enumerate(widths[:-1]))):
        layers += [(2 * after, after, 3, level)] * 2 + [(after, after, 3, level)]
    layers.append((64, 3, 1, 0))
    summary = summarize(DPDNet(), 256, 256)
    assert summary.macs == sum(i * o * k * k * (256 >> s) ** 2 for i, o, k, s in layers)
    assert summary.parameters == sum(i * o * k * k + o for i, o, k, _ in layers)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(16, 16), (33, 50), (64, 48)])
def test_any_size_goes_through_and_everything_learns(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = k3dn.build_model(name, SMALL[name])
    left, right = torch.rand(2, 2, 3, *size)
    image = model(left, right)
    assert image.shape == left.shape and image.isfinite().all()
    (image - left).square().mean().backward()
    unused = {key for key, p in model.named_parameters() if p.grad is None}
    assert unused == set()


def test_the_border_goes_on_as_it_is() -> None:
    picture = torch.rand(1, 2, 17, 22)
    seen = []

    def network(larger: torch.Tensor) -> torch.Tensor:
        seen.append(larger)
        return 2 * larger

    assert torch.equal(padded(network, picture, 8), 2 * picture)
    assert seen[0].shape == (1, 2, 24, 24)
    assert torch.equal(seen[0][..., 17:, :22], picture[..., -1:, :].expand(-1, -1, 7, -1))


def test_nafnet_begins_near_the_mean_of_the_views_and_a_block_as_identity() -> None:
    torch.manual_seed(0)
    features = torch.rand(2, 6, 9, 7)
    assert torch.equal(NAFBlock(6)(features), features)
    left, right = torch.rand(2, 1, 3, 32, 32)
    model = nafnet(width=4, encoder=[1], middle=1, decoder=[1])
    nn.init.zeros_(model.ending.weight)
    nn.init.zeros_(model.ending.bias)
    assert torch.equal(model(left, right), 0.5 * (left + right))


def test_a_block_is_the_papers_formulas() -> None:
    """Fig. 3 (d) and Eq. 4, 6 there, each step by functions of another kind."""
    torch.manual_seed(1)
    block = NAFBlock(4)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    given = torch.rand(1, 4, 5, 6)

    def norm(layer: LayerNorm2d, y: torch.Tensor) -> torch.Tensor:
        last = y.movedim(1, -1)
        return nn.functional.layer_norm(last, (4,), layer.weight, layer.bias, 1e-6).movedim(-1, 1)

    def pointwise(layer: nn.Conv2d, y: torch.Tensor) -> torch.Tensor:
        return (
            torch.einsum("oi,bihw->bohw", layer.weight[:, :, 0, 0], y) + layer.bias[:, None, None]
        )

    y = block.depthwise(pointwise(block.expand_1, norm(block.norm_1, given)))
    y = y[:, :4] * y[:, 4:]
    y = y * pointwise(block.attention, y.mean((2, 3), keepdim=True))
    x = given + block.beta * pointwise(block.project_1, y)
    y = pointwise(block.expand_2, norm(block.norm_2, x))
    expected = x + block.gamma * pointwise(block.project_2, y[:, :4] * y[:, 4:])
    assert torch.allclose(block(given), expected, atol=1e-5)


def test_dropout_is_for_training_alone() -> None:
    model = dpdnet(width=4).eval()
    left, right = torch.rand(2, 1, 3, 32, 32)
    assert torch.equal(model(left, right), model(left, right))
    model.train()
    assert not torch.equal(model(left, right), model(left, right))


def test_levels_must_match() -> None:
    with pytest.raises(ValueError, match="equally many levels, got 2 and 1"):
        nafnet(encoder=[1, 1], decoder=[1])
