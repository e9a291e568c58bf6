"""The plain convolution blocks that encoder, decoder and SRP block are made of."""

import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.2


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with the network's slope of 0.2."""
    return F.leaky_relu(x, LEAKY_SLOPE)


class ResidualBlock(nn.Module):
    """3x3 convolution, leaky ReLU, 3x3 convolution, plus the input. ``(B, C, H, W)`` kept."""

    def __init__(self, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.second(leaky_relu(self.first(x_BCHW)))


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


def residual_stack(channels: int, blocks: int, *, bias: bool = False) -> nn.Sequential:
    """A number of residual blocks in series."""
    return nn.Sequential(*(ResidualBlock(channels, bias=bias) for _ in range(blocks)))
