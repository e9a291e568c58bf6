"""SRP block: preserve sharp regions by comparing features before and after deblurring
(Eq. 11-16)."""

import torch
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu, residual_stack
from k3dn.network.correlation import correlate, local_correlation, surround

_STRIP_SCORES = 1 << 21
"""Without gradients, scores are made and used strip by strip, so that they stay in the cache:
beside the features they would take the most memory of all."""
_STRIP_SCORES_ON_GPU = 1 << 25
"""There few and large operations count."""


class SRPBlock(nn.Module):
    """Refine the concatenation of F_B and deblurred F_B by their local similarity O_B.

    Reading of Eq. 14 (as the authors'): the two values stay concatenated where the paper adds
    them, so that no channel is lost, and the block has a residual connection. Ours
    (``gated_values``): Phi_v of Eq. 15 and 16 ends in a gate between 0 and 2. Scores are products
    of features and so are the values; without a bound a rare picture grows with the third power
    and training diverges.
    """

    def __init__(self, channels: int, config: K3DNConfig) -> None:
        super().__init__()
        self.window = config.attention_window
        self.gated = config.gated_values
        scores = config.attention_window**2
        side = config.value_kernel
        self.query = nn.Conv2d(channels, channels, 3, padding=1)
        self.key = nn.Conv2d(channels, channels, 3, padding=1)
        self.values = nn.Conv2d(scores, channels, side, padding=side // 2)
        self.feed_forward = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            residual_stack(channels, config.srp_residual_blocks, bias=config.extra_biases),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def start_open(self) -> None:
        """Start as nearly the identity: a gate lets all features pass, and little is added."""
        nn.init.normal_(self.values.weight, std=0.1 * self.values.weight[0].numel() ** -0.5)
        last = self.feed_forward[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.normal_(last.weight, std=0.1 * (last.weight[0].numel()) ** -0.5)

    def similarity(self, x_BCHW: Tensor) -> Tensor:
        """O_B of Eq. 11, ``(B, s^2, H, W)``."""
        return local_correlation(self.query(x_BCHW), self.key(x_BCHW), self.window)

    def phi_v(self, scores_BSHW: Tensor) -> Tensor:
        """Phi_v of Eq. 15 and 16 for both values, ``(B, C, H, W)``; gated, between 0 and 2."""
        phi_BCHW: Tensor = self.values(scores_BSHW)
        return 2.0 * phi_BCHW.sigmoid() if self.gated else phi_BCHW

    def value(self, x_BCHW: Tensor) -> Tensor:
        """What enters the feed-forward part: Eq. 15 and 16, ``(B, C, H, W)``."""
        traced = torch.compiler.is_compiling() or torch.compiler.is_exporting()
        if torch.is_grad_enabled() or x_BCHW.is_meta or traced:
            return self._weigh(self.similarity(x_BCHW), x_BCHW)
        query, surrounded = self.query(x_BCHW), surround(self.key(x_BCHW), self.window)
        batch, _, height, width = query.shape
        most = _STRIP_SCORES if x_BCHW.device.type == "cpu" else _STRIP_SCORES_ON_GPU
        rows = max(1, most // (batch * width * self.window**2))
        reach = self.values.kernel_size[0] // 2
        value = torch.empty_like(query)
        for first in range(0, height, rows):
            last = min(first + rows, height)
            # The convolution of the values sees the scores of a few rows more.
            top, bottom = max(first - reach, 0), min(last + reach, height)
            scores = correlate(
                query[:, :, top:bottom],
                surrounded[:, :, top : bottom + self.window - 1],
                self.window,
            )
            strip = self._weigh(scores, x_BCHW[:, :, top:bottom])
            value[:, :, first:last] = strip[:, :, first - top : last - top]
        return value

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Eq. 14. x_BCHW: CAT(F_B, deblurred F_B)."""
        return x_BCHW + self.feed_forward(self.value(x_BCHW))

    def _weigh(self, scores_BSHW: Tensor, x_BCHW: Tensor) -> Tensor:
        value = self.phi_v(scores_BSHW) * x_BCHW
        return leaky_relu(value) if self.gated else value
