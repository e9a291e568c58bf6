"""Disparity estimator D: a pair of views to a map R of disparity feature vectors (Sec. 3.2).

The disparities of dual-pixel pairs are small, a few px to either side of zero: half of the blur
radius or less. So both views are compared at 1/2, 1/4 and 1/8 of the resolution, in steps of 2, 4
and 8 px, and what is found is averaged over 8 x 8 px before a few convolutions make R of it. How
well two views match is their mean squared difference, which has its optimum at the true shift;
over the shifts it is brought to mean zero and spread one, so that R sees where the optimum lies
from the first step of training on, in strong and in weak texture alike. In R itself each vector is
normalised: features that grow without bound saturate the query behind them, and then nothing
learns there any more (docs/readings.md).

It differs from the authors' form (``authors_disparity``) where that is weak: it looks to both
sides (near and far of the focal plane shift in opposite directions), the normalisation works at
batch 1, every operation is local (so a tile gives what the whole picture gives), and R has one
vector for each 16 x 16 px in place of 144 x 112.

Letters: B batch, C channels, G groups of channels, S shifts, h w the size of a level.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.borders import repeat_borders
from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import ChannelNorm, leaky_relu
from k3dn.network.precision import at_least_float32, full_precision

VECTOR_PX = 16
"""Side in px of the square for which the estimator itself finds one vector; windows that are
larger take the mean."""
LEVELS = 3
"""Views are matched at 1/2, 1/4 and 1/8 of the resolution."""
MATCHED_CHANNELS = 8
"""Channels that are compared at each level: shifts are many, and each costs a pass over them."""
GROUPS = 2
"""Groups of these channels, each of which has a score of its own."""
_SMALLEST_SPREAD = 1e-4
"""Of the scores over the shifts; where there is less, there is no texture to match."""


class ViewFeatures(nn.Module):
    """Features of one view at each level; both views share its weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Conv2d(channels if level else 3, channels, 3, stride=2, padding=1)
            for level in range(LEVELS)
        )
        self.refine = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(LEVELS)
        )

    def forward(self, view_B3HW: Tensor) -> list[Tensor]:
        """``(B, C, h, w)`` at 1/2, 1/4 and 1/8 of the resolution."""
        x, levels = view_B3HW, []
        for down, refine in zip(self.down, self.refine, strict=True):
            x = leaky_relu(down(x))
            x = x + refine(x)
            levels.append(x)
        return levels


def matching_scores(
    left_BChw: Tensor, right_BChw: Tensor, first: int, last: int, side: int = 1
) -> Tensor:
    """How well left(x) matches right(x - shift), for shifts of first .. last features.

    The negative mean squared difference over each group of channels: zero is a perfect match. A
    positive shift is that of what is nearer than focus (x_L - x_R > 0). What a shift brings in
    from outside is the border's value. side: the mean over squares of so many features is taken.
    Returns ``(B, G, S, h / side, w / side)``.
    """
    width = left_BChw.shape[-1]
    before, after = max(0, last), max(0, -first)
    padded = repeat_borders(right_BChw, (before, after, 0, 0))
    scores = []
    for shift in range(first, last + 1):
        squared = (left_BChw - padded[..., before - shift : before - shift + width]).square()
        # Over places before channels: that way round it takes a quarter of the time.
        pooled = F.avg_pool2d(squared, side) if side > 1 else squared
        scores.append(-pooled.unflatten(1, (GROUPS, -1)).mean(dim=2))
    return torch.stack(scores, dim=2)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Part a batch of two halves; unlike ``chunk``, also where its length is a symbol."""
    first, second = x.unflatten(0, (2, -1)).unbind()
    return first, second


class DisparityEstimator(nn.Module):
    """R = D(B_L, B_R), ``(B, C_d, H / window, W / window)``.

    With ``mirror_disparity`` the answer for mirrored, swapped views is the mirrored answer, where
    the width is a multiple of the window: the mean of the network on the pair and, mirrored back,
    on the mirrored pair. A dual-pixel kernel is symmetric (Eq. 2), so both must lead to one kernel.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        c, reach = config.disparity_width, config.disparity_shifts
        reaches = [max(1, reach - level) for level in range(LEVELS)]
        self.shifts = [(-r, r) if config.two_sided else (0, 2 * r) for r in reaches]
        self.mirror_exact = config.mirror_disparity
        self.pool = nn.AvgPool2d(config.window_px // VECTOR_PX)
        self.view_features = ViewFeatures(c)
        self.to_match = nn.ModuleList(nn.Conv2d(c, MATCHED_CHANNELS, 1) for _ in range(LEVELS))
        scores = GROUPS * sum(last - first + 2 for first, last in self.shifts)
        self.join = nn.Conv2d(scores + 2 * c, 3 * c, 3, padding=1)
        self.reduce = nn.Conv2d(3 * c, 4 * c, 3, stride=2, padding=1)
        self.context = nn.Conv2d(4 * c, 4 * c, 3, padding=2, dilation=2)
        self.project = nn.Conv2d(4 * c, config.disparity_channels, 1)
        norm = ChannelNorm if config.local_norm else nn.BatchNorm2d
        self.norm = norm(config.disparity_channels)

    def forward(self, left_B3HW: Tensor, right_B3HW: Tensor) -> Tensor:
        if self.mirror_exact:
            straight, mirrored = halves(
                self._estimate(
                    torch.cat((left_B3HW, right_B3HW.flip(-1))),
                    torch.cat((right_B3HW, left_B3HW.flip(-1))),
                )
            )
            estimated = 0.5 * (straight + mirrored.flip(-1))
        else:
            estimated = self._estimate(left_B3HW, right_B3HW)
        return self.pool(self.norm(leaky_relu(estimated)))

    def _estimate(self, left_B3HW: Tensor, right_B3HW: Tensor) -> Tensor:
        levels = self.view_features(torch.cat((left_B3HW, right_B3HW)))
        found = [
            part
            for level in range(LEVELS)
            for part in self._match(self.to_match[level](levels[level]), level)
        ]
        left, right = halves(levels[-1])
        x = leaky_relu(self.join(torch.cat((*(x.to(left.dtype) for x in found), left, right), 1)))
        x = leaky_relu(self.reduce(x))
        return self.project(x + leaky_relu(self.context(x)))

    def _match(self, features: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Normalised scores ``(B, G S, h, w)`` and their spread ``(B, G, h, w)`` at 1/8.

        In full precision: scores of neighbouring shifts differ by less than bfloat16 tells apart.
        """
        with full_precision(features.device):
            left, right = halves(at_least_float32(features))
            side = 2 ** (LEVELS - 1 - level)
            scores = matching_scores(left, right, *self.shifts[level], side)
            centred = scores - scores.mean(dim=2, keepdim=True)
            spread = (centred.square().mean(dim=2, keepdim=True) + 1e-12).sqrt() + _SMALLEST_SPREAD
            return (centred / spread).flatten(1, 2), 0.25 * spread.log().squeeze(2)


class SinglePictureEstimator(nn.Module):
    """What takes the disparity estimator's place where there is only one picture.

    A plain convolutional network: with one view there is nothing to match, and blur alone must
    tell how far from focus a place is.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        c = config.disparity_width
        self.view_features = ViewFeatures(c)
        self.reduce = nn.Conv2d(c, 3 * c, 3, stride=2, padding=1)
        self.refine = nn.Conv2d(3 * c, 4 * c, 3, padding=1)
        self.project = nn.Conv2d(4 * c, config.disparity_channels, 1)
        norm = ChannelNorm if config.local_norm else nn.BatchNorm2d
        self.norm = norm(config.disparity_channels)
        self.pool = nn.AvgPool2d(config.window_px // VECTOR_PX)

    def forward(self, picture_B3HW: Tensor) -> Tensor:
        x = leaky_relu(self.reduce(self.view_features(picture_B3HW)[-1]))
        return self.pool(self.norm(leaky_relu(self.project(leaky_relu(self.refine(x))))))
