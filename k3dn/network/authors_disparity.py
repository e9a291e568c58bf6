"""The disparity estimator of the authors' form (``form: paper``), as far as it is known.

Kept to compare with: it is tied to pictures of multiples of 288 x 224 px, looks for shifts to one
side only, normalises over the batch, and gives one vector for 144 x 112 px.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import Conv3d, leaky_relu
from k3dn.network.disparity import cost_volume

_SHIFTS = 4
_WINDOW_FEATURES = (5, 4)
"""Features (of 32 px, stretched) that are averaged to one vector."""


class _Convolution(nn.Sequential):
    """3x3 convolution without bias, batch normalisation, ReLU; 2-D or 3-D."""

    def __init__(
        self,
        kind: type[nn.Conv2d] | type[Conv3d],
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        norm = nn.BatchNorm2d if kind is nn.Conv2d else nn.BatchNorm3d
        convolution = kind(
            inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        super().__init__(convolution, norm(outputs), nn.ReLU())


class _Branch(nn.Module):
    """Averages over side x side features, 32 channels of them, stretched back."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.squeeze = nn.Sequential(nn.Conv2d(128, 32, 1, bias=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        means = F.avg_pool2d(x, self.side, ceil_mode=True, count_include_pad=False)
        return F.interpolate(self.squeeze(means), size=x.shape[-2:], mode="bilinear")


class AuthorsDisparityEstimator(nn.Module):
    """R = D(B_L, B_R), ``(B, C_d, H / 144, W / 112)``; H, W multiples of 288 and 224."""

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.AvgPool2d(4),
            _Convolution(nn.Conv2d, 3, 32),
            _Convolution(nn.Conv2d, 32, 64),
            _Convolution(nn.Conv2d, 64, 128, dilation=4),
            _Convolution(nn.Conv2d, 128, 128, stride=2, dilation=8),
        )
        self.coarse = _Branch(32)
        self.fine = _Branch(16)
        self.fuse = nn.Sequential(
            _Convolution(nn.Conv2d, 192, 96), nn.Conv2d(96, 32, 1, bias=False)
        )
        self.match = nn.Sequential(
            _Convolution(Conv3d, 64, 32),
            _Convolution(Conv3d, 32, 48, stride=2),
            _Convolution(Conv3d, 48, 48),
            _Convolution(Conv3d, 48, 64, stride=2),
            _Convolution(Conv3d, 64, 64),
        )
        self.project = nn.Conv2d(64, config.disparity_channels, 1)

    def forward(self, left_B3HW: Tensor, right_B3HW: Tensor) -> Tensor:
        left, right = self._view_features(left_B3HW), self._view_features(right_B3HW)
        matched = self.match(cost_volume(left, right, 0, _SHIFTS - 1)).squeeze(2)
        height, width = left_B3HW.shape[-2:]
        stretched = (height // 32 + height // 288, width // 32 + width // 224)
        matched = F.interpolate(matched, size=stretched, mode="nearest")
        return leaky_relu(self.project(F.avg_pool2d(matched, _WINDOW_FEATURES)))

    def _view_features(self, view_B3HW: Tensor) -> Tensor:
        x = self.features(view_B3HW)
        return self.fuse(torch.cat((x, self.coarse(x), self.fine(x)), dim=1))
