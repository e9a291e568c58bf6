"""Encoder E: a pair of views to features at 1/2, 1/4 and 1/8 of the resolution (Sec. 3.2)."""

from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu, residual_stack


class EncoderStage(nn.Module):
    """Halve the resolution by a strided convolution, then refine by residual blocks."""

    def __init__(self, in_channels: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
        self.refine = residual_stack(channels, blocks)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.refine(leaky_relu(self.down(x_BCHW)))


class Encoder(nn.Module):
    """F_B = E(B_L, B_R), with the features of the stages before it for the decoder."""

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        b, blocks = config.width, config.residual_blocks
        self.to_half = EncoderStage(config.picture_channels, b, blocks)
        self.to_quarter = EncoderStage(b, 2 * b, blocks)
        self.to_eighth = EncoderStage(2 * b, 4 * b, blocks)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """views: ``(B, 6, H, W)``, or ``(B, 3, H, W)`` of a network for one picture.

        Features at 1/2 (b channels), 1/4 (2b) and 1/8 (4b: F_B) of the resolution."""
        half = self.to_half(views)
        quarter = self.to_quarter(half)
        return half, quarter, self.to_eighth(quarter)
