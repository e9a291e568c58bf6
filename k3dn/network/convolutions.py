"""The plain convolution blocks that encoder, decoder and SRP block are made of."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.2


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with the network's slope of 0.2."""
    return F.leaky_relu(x, LEAKY_SLOPE)


class Conv3d(nn.Conv3d):
    """A 3-D convolution that ``model.to(memory_format=torch.channels_last)`` passes over.

    torch refuses that format for weights of five axes and with them for the whole network.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Conv3d":
        def as_four(weight: Tensor) -> Tensor:
            if weight.ndim < 5:
                return fn(weight)
            return fn(weight.flatten(1, 2)).unflatten(1, weight.shape[1:3]).contiguous()

        return super()._apply(as_four, recurse)


class ResidualBlock(nn.Module):
    """3x3 convolution, leaky ReLU, 3x3 convolution, plus the input. ``(B, C, H, W)`` kept."""

    def __init__(self, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # In place: nothing else looks at what the first convolution gave, nor does its gradient.
        return x_BCHW + self.second(F.leaky_relu_(self.first(x_BCHW), LEAKY_SLOPE))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position.

    It has no statistics over the batch or the picture, so it works at batch 1 and a tile of a
    picture gives what the whole picture gives. Any number of trailing axes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def initialise(module: nn.Module) -> None:
    """Start convolutions so that features keep their scale through the network.

    There is no normalisation on the way of the picture, and torch's default start shrinks
    features by about 0.4 a layer: behind the encoder nothing would be left to learn from.
    Residual blocks start near the identity.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, LEAKY_SLOPE)
        elif isinstance(layer, nn.ConvTranspose2d):
            taps = layer.kernel_size[0] * layer.kernel_size[1] / (layer.stride[0] * layer.stride[1])
            nn.init.normal_(layer.weight, std=(2.0 / (layer.in_channels * taps)) ** 0.5)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for block in module.modules():
        if isinstance(block, ResidualBlock):
            with torch.no_grad():
                block.second.weight.mul_(0.1)


def residual_stack(channels: int, blocks: int, *, bias: bool = False) -> nn.Sequential:
    """A number of residual blocks in series."""
    return nn.Sequential(*(ResidualBlock(channels, bias=bias) for _ in range(blocks)))
