"""SRP block: preserve sharp regions by comparing features before and after deblurring
(Eq. 11-16)."""

from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu, residual_stack
from k3dn.network.correlation import local_correlation


class SRPBlock(nn.Module):
    """Refine the concatenation of F_B and deblurred F_B by their local similarity O_B.

    Reading of Eq. 14 (as the authors'): the two values stay concatenated where the paper adds
    them, so that no channel is lost, and the block has a residual connection.
    """

    def __init__(self, channels: int, config: K3DNConfig) -> None:
        super().__init__()
        self.window = config.attention_window
        scores = config.attention_window**2
        side = config.value_kernel
        self.query = nn.Conv2d(channels, channels, 3, padding=1)
        self.key = nn.Conv2d(channels, channels, 3, padding=1)
        self.values = nn.Conv2d(scores, channels, side, padding=side // 2)
        self.feed_forward = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            residual_stack(channels, config.srp_residual_blocks, bias=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def start_open(self) -> None:
        """Start with values of one: all features pass, and training learns what to hold back."""
        nn.init.ones_(self.values.bias)  # type: ignore[arg-type]
        last = self.feed_forward[-1]
        nn.init.normal_(last.weight, std=0.1 * (last.weight[0].numel()) ** -0.5)

    def similarity(self, x_BCHW: Tensor) -> Tensor:
        """O_B of Eq. 11, ``(B, s^2, H, W)``."""
        return local_correlation(self.query(x_BCHW), self.key(x_BCHW), self.window)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """x_BCHW: CAT(F_B, deblurred F_B)."""
        values = self.values(self.similarity(x_BCHW)) * x_BCHW
        return x_BCHW + self.feed_forward(leaky_relu(values))
