"""The disparity estimators of the authors' form (``form: paper``).

Kept to compare with, and to run their weights: they are tied to pictures of multiples of
288 x 224 px, look for shifts to one side only, normalise over the batch, and give one vector for
144 x 112 px.

Letters: B batch, C channels, h w the size at 1/8, D = C_d.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import Conv3d, leaky_relu

_SHIFTS = 4
_WINDOW_FEATURES = (5, 4)
"""Features (of 32 px, stretched) that are averaged to one vector."""


class _Convolution(nn.Sequential):
    """Convolution without bias that keeps the size, batch normalisation, ReLU; 2-D or 3-D."""

    def __init__(
        self,
        kind: type[nn.Conv2d] | type[Conv3d],
        inputs: int,
        outputs: int,
        *,
        side: int = 3,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        norm = nn.BatchNorm2d if kind is nn.Conv2d else nn.BatchNorm3d
        padding = dilation * (side // 2)
        convolution = kind(inputs, outputs, side, stride, padding, dilation=dilation, bias=False)
        super().__init__(convolution, norm(outputs), nn.ReLU())


class _Branch(nn.Module):
    """Means over side x side features, 32 channels of them, stretched back corner to corner.

    Around the means stands a ring of zeros, which the normalisation makes a ring of constants:
    the authors pad the 1x1 convolution by one.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        convolution = nn.Conv2d(128, 32, 1, padding=1, bias=False)
        self.squeeze = nn.Sequential(convolution, nn.BatchNorm2d(32), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        means = self.squeeze(F.avg_pool2d(x, self.side))
        return F.interpolate(means, size=x.shape[-2:], mode="bilinear", align_corners=True)


class _VectorForWindow(nn.Module):
    """64 features of 32 px to one vector for 144 x 112 px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(64, channels, 1)

    def forward(self, x_BChw: Tensor, height_px: int, width_px: int) -> Tensor:
        # 9 x 7 features are 288 x 224 px; stretched to 10 x 8 they are 2 x 2 windows.
        stretched = (height_px // 32 + height_px // 288, width_px // 32 + width_px // 224)
        x_BChw = F.interpolate(x_BChw, size=stretched, mode="nearest")
        return leaky_relu(self.linear(F.avg_pool2d(x_BChw, _WINDOW_FEATURES)))


def near_cost_volume(left_BChw: Tensor, right_BChw: Tensor, shifts: int) -> Tensor:
    """Concatenate left(x) with right(x - i) for i from 0 to shifts - 1, ``(B, 2C, shifts, h, w)``.

    Where x < i, both are zero (the authors leave that memory as they find it).
    """
    width = left_BChw.shape[-1]
    pairs = (
        torch.cat((left_BChw[..., i:], right_BChw[..., : width - i]), dim=1) for i in range(shifts)
    )
    return torch.stack([F.pad(pair, (i, 0)) for i, pair in enumerate(pairs)], dim=2)


class AuthorsDisparityEstimator(nn.Module):
    """R = D(B_L, B_R), ``(B, D, H / 144, W / 112)``; H, W multiples of 288 and 224, from 256."""

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
        self.project = _VectorForWindow(config.disparity_channels)
        _start(self)

    def forward(self, left_B3HW: Tensor, right_B3HW: Tensor) -> Tensor:
        left, right = self._view_features(left_B3HW), self._view_features(right_B3HW)
        matched = self.match(near_cost_volume(left, right, _SHIFTS)).squeeze(2)
        return self.project(matched, left_B3HW.shape[-2], left_B3HW.shape[-1])

    def _view_features(self, view_B3HW: Tensor) -> Tensor:
        x = self.features(view_B3HW)
        return self.fuse(torch.cat((self.coarse(x), self.fine(x), x), dim=1))


class AuthorsSinglePictureEstimator(nn.Module):
    """R from one picture, ``(B, D, H / 144, W / 112)``; H, W multiples of 288 and 224."""

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.AvgPool2d(4),
            _Convolution(nn.Conv2d, 3, 32),
            _Convolution(nn.Conv2d, 32, 64),
            _Convolution(nn.Conv2d, 64, 128, dilation=4),
            _Convolution(nn.Conv2d, 128, 128),
            _Convolution(nn.Conv2d, 128, 128, stride=2, dilation=4),
            _Convolution(nn.Conv2d, 128, 256, side=1),
            _Convolution(nn.Conv2d, 256, 128),
            _Convolution(nn.Conv2d, 128, 64, stride=2),
            _Convolution(nn.Conv2d, 64, 64),
            _Convolution(nn.Conv2d, 64, 64, stride=2),
            _Convolution(nn.Conv2d, 64, 64),
        )
        self.project = _VectorForWindow(config.disparity_channels)
        _start(self)

    def forward(self, picture_B3HW: Tensor) -> Tensor:
        x = self.features(picture_B3HW)
        return self.project(x, picture_B3HW.shape[-2], picture_B3HW.shape[-1])


def _start(estimator: nn.Module) -> None:
    """The authors' first weights: Kaiming over the outputs in 2-D, torch's in 3-D and linear."""
    for name, layer in estimator.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.startswith("project"):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
