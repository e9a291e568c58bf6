"""SRP block: preserve sharp regions by comparing features before and after deblurring
(Eq. 11-16)."""

from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu, residual_stack
from k3dn.network.correlation import local_correlation


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

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Eq. 14. x_BCHW: CAT(F_B, deblurred F_B)."""
        values = self.phi_v(self.similarity(x_BCHW)) * x_BCHW
        if self.gated:
            values = leaky_relu(values)
        return x_BCHW + self.feed_forward(values)
