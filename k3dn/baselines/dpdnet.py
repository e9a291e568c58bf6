"""A U-Net over both views, in the manner of DPDNet.

Abuolaim and Brown, "Defocus Deblurring Using Dual-Pixel Data", ECCV 2020: an encoder of four
levels and a bottleneck, two 3 x 3 convolutions each, max pooling; a decoder that doubles the size,
joins what the encoder had at that size, and convolves twice; dropout at the two lowest levels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.baselines.padded import padded

LEVELS = 4


class DPDNet(nn.Module):
    """``(left, right) -> image``, all ``(B, 3, H, W)``, sRGB in [0, 1]; the answer is a sigmoid's.

    width: channels of the first level, 64 in the paper; each level has twice those above it.
    dropout: at the lowest level and the bottleneck, 0.4 in the paper.
    """

    def __init__(self, width: int = 64, dropout: float = 0.4) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.encoder = nn.ModuleList(
            _two_convolutions(before, after)
            for before, after in zip((6, *widths[:-2]), widths[:-1], strict=True)
        )
        self.bottleneck = _two_convolutions(widths[-2], widths[-1])
        self.up = nn.ModuleList(
            nn.Conv2d(2 * after, after, 3, padding=1) for after in widths[-2::-1]
        )
        self.decoder = nn.ModuleList(
            _two_convolutions(2 * after, after) for after in widths[-2::-1]
        )
        self.to_image = nn.Conv2d(width, 3, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return padded(self._restore, torch.cat((left, right), dim=1), 2**LEVELS)

    def _restore(self, views: Tensor) -> Tensor:
        features, skips = views, []
        for number, level in enumerate(self.encoder, 1):
            features = level(features)
            if number == LEVELS:
                features = self.dropout(features)
            skips.append(features)
            features = F.max_pool2d(features, 2)
        features = self.dropout(self.bottleneck(features))
        for up, level in zip(self.up, self.decoder, strict=True):
            larger = F.relu(up(F.interpolate(features, scale_factor=2.0)))
            features = level(torch.cat((skips.pop(), larger), dim=1))
        return torch.sigmoid(self.to_image(features))


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(),
    )


def dpdnet(width: int = 64, dropout: float = 0.4) -> nn.Module:
    """Build the network."""
    return DPDNet(width, dropout)
