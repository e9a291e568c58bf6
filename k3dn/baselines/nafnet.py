"""NAFNet over both views.

Chen et al., "Simple Baselines for Image Restoration", ECCV 2022: a U-Net of blocks without
nonlinear activations, in which halves of the channels are multiplied; here it adds to the mean of
the two views.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from k3dn.baselines.padded import padded


class LayerNorm2d(nn.Module):
    """Normalise over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        mean = features.mean(dim=1, keepdim=True)
        variance = (features - mean).square().mean(dim=1, keepdim=True)
        normal = (features - mean) * torch.rsqrt(variance + 1e-6)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


class NAFBlock(nn.Module):
    """Two residual parts: convolution with simplified channel attention, and a gated pair of 1 x 1
    convolutions; each joins by a learnt factor that begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = LayerNorm2d(channels), LayerNorm2d(channels)
        self.expand_1 = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project_1 = nn.Conv2d(channels, channels, 1)
        self.expand_2 = nn.Conv2d(channels, 2 * channels, 1)
        self.project_2 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        inner = _gate(self.depthwise(self.expand_1(self.norm_1(features))))
        inner = inner * self.attention(inner.mean(dim=(-2, -1), keepdim=True))
        features = features + self.beta * self.project_1(inner)
        inner = _gate(self.expand_2(self.norm_2(features)))
        return features + self.gamma * self.project_2(inner)


class NAFNet(nn.Module):
    """``(left, right) -> image``, all ``(B, 3, H, W)``, sRGB in [0, 1].

    width: channels at full size, each level has twice those above it. encoder, decoder: blocks by
    level, from the outside in and from the inside out; middle: blocks at the smallest size.
    """

    def __init__(
        self,
        width: int = 32,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(
                f"encoder and decoder must have equally many levels, got {len(encoder)} and "
                f"{len(decoder)}"
            )
        widths = [width * 2**level for level in range(len(encoder) + 1)]
        self.intro = nn.Conv2d(6, width, 3, padding=1)
        self.encoder = nn.ModuleList(
            _blocks(w, n) for w, n in zip(widths[:-1], encoder, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:-1])
        self.middle = _blocks(widths[-1], middle)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2))
            for w in widths[:0:-1]
        )
        self.decoder = nn.ModuleList(
            _blocks(w, n) for w, n in zip(widths[-2::-1], decoder, strict=True)
        )
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        views = torch.cat((left, right), dim=1)
        return 0.5 * (left + right) + padded(self._residual, views, 2 ** len(self.encoder))

    def _residual(self, views: Tensor) -> Tensor:
        features, skips = self.intro(views), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            features = blocks(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            features = blocks(up(features) + skips.pop())
        residual: Tensor = self.ending(features)
        return residual


def _gate(features: Tensor) -> Tensor:
    first, second = features.chunk(2, dim=1)
    return first * second


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))


def nafnet(
    width: int = 32,
    encoder: Sequence[int] = (1, 1, 1, 28),
    middle: int = 1,
    decoder: Sequence[int] = (1, 1, 1, 1),
) -> nn.Module:
    """Build the network; the defaults are the paper's smaller one."""
    return NAFNet(width, encoder, middle, decoder)
