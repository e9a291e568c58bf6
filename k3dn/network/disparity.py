"""Disparity estimator D: a pair of views to a map R of disparity feature vectors (Sec. 3.2).

It differs from the authors' form (``authors_disparity``) where that is weak: the cost volume
looks to both sides (near and far of the focal plane shift in opposite directions), the
normalisation works at batch 1, every operation is local (so a tile gives what the whole picture
gives), and R has one vector for each 16 x 16 px in place of 144 x 112.

Letters: B batch, C channels, h w the size at 1/8, S shifts of the cost volume.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import ChannelNorm, Conv3d, leaky_relu

VECTOR_PX = 16
"""Side in px of the square for which the estimator itself finds one vector; windows that are
larger take the mean."""


class ViewFeatures(nn.Module):
    """Features of one view at 1/8 of the resolution; both views share its weights."""

    def __init__(self, channels: int, *, local_norm: bool) -> None:
        super().__init__()
        norm = ChannelNorm if local_norm else nn.BatchNorm2d
        self.layers = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(3, channels, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            norm(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 2 * channels, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=2, dilation=2),
            norm(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, view_B3HW: Tensor) -> Tensor:
        return self.layers(view_B3HW)


def cost_volume(left_BChw: Tensor, right_BChw: Tensor, first: int, last: int) -> Tensor:
    """Concatenate left features with right features shifted by first .. last columns.

    Returns ``(B, 2C, S, h, w)``; what a shift brings in from outside is zero.
    """
    width = left_BChw.shape[-1]
    padded = F.pad(right_BChw, (max(0, -first), max(0, last)))
    origin = max(0, -first)
    slices = [
        torch.cat((left_BChw, padded[..., origin + shift : origin + shift + width]), dim=1)
        for shift in range(first, last + 1)
    ]
    return torch.stack(slices, dim=2)


class DisparityEstimator(nn.Module):
    """R = D(B_L, B_R), ``(B, C_d, H / window, W / window)``.

    With ``mirror_disparity`` the answer for mirrored, swapped views is the mirrored answer: the
    mean of the network on the pair and, mirrored back, on the mirrored pair. A dual-pixel
    kernel is symmetric (Eq. 2), so both must lead to one kernel.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        c, shifts = config.disparity_width, config.disparity_shifts
        self.shifts = (-shifts, shifts) if config.two_sided else (0, 2 * shifts)
        self.mirror_exact = config.mirror_disparity
        self.pool = nn.AvgPool2d(config.window_px // VECTOR_PX)
        norm = ChannelNorm if config.local_norm else nn.BatchNorm3d
        self.view_features = ViewFeatures(c, local_norm=config.local_norm)
        self.match = Conv3d(2 * c, 2 * c, 3, padding=1)
        self.match_norm = norm(2 * c)
        self.reduce = Conv3d(2 * c, 3 * c, 3, stride=(1, 2, 2), padding=1)
        self.reduce_norm = norm(3 * c)
        self.collapse = Conv3d(3 * c, 4 * c, (2 * shifts + 1, 3, 3), padding=(0, 1, 1))
        self.project = nn.Conv2d(4 * c, config.disparity_channels, 1)

    def forward(self, left_B3HW: Tensor, right_B3HW: Tensor) -> Tensor:
        if not self.mirror_exact:
            return self.pool(leaky_relu(self._estimate(left_B3HW, right_B3HW)))
        straight, mirrored = self._estimate(
            torch.cat((left_B3HW, right_B3HW.flip(-1))),
            torch.cat((right_B3HW, left_B3HW.flip(-1))),
        ).chunk(2)
        return self.pool(leaky_relu(0.5 * (straight + mirrored.flip(-1))))

    def _estimate(self, left_B3HW: Tensor, right_B3HW: Tensor) -> Tensor:
        left, right = self.view_features(torch.cat((left_B3HW, right_B3HW))).chunk(2)
        volume = cost_volume(left, right, *self.shifts)
        volume = leaky_relu(self.match_norm(self.match(volume)))
        volume = leaky_relu(self.reduce_norm(self.reduce(volume)))
        return self.project(leaky_relu(self.collapse(volume).squeeze(2)))


class SinglePictureEstimator(nn.Module):
    """What takes the disparity estimator's place where there is only one picture.

    A plain convolutional network: with one view there is nothing to match, and blur alone must
    tell how far from focus a place is.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        c = config.disparity_width
        self.view_features = ViewFeatures(c, local_norm=config.local_norm)
        self.reduce = nn.Conv2d(c, 3 * c, 3, stride=2, padding=1)
        self.refine = nn.Conv2d(3 * c, 4 * c, 3, padding=1)
        self.project = nn.Conv2d(4 * c, config.disparity_channels, 1)
        self.pool = nn.AvgPool2d(config.window_px // VECTOR_PX)

    def forward(self, picture_B3HW: Tensor) -> Tensor:
        x = leaky_relu(self.reduce(self.view_features(picture_B3HW)))
        return self.pool(leaky_relu(self.project(leaky_relu(self.refine(x)))))
