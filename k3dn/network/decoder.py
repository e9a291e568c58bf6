"""Decoder G: deblurred features back to a picture, joined by the encoder's through SRP blocks."""

import torch
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu, residual_stack
from k3dn.network.srp import SRPBlock


class DecoderStage(nn.Module):
    """Double the resolution, join the skip features, preserve what is sharp, refine."""

    def __init__(self, in_channels: int, channels: int, skip: int, config: K3DNConfig) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1, bias=False)
        joined = channels + skip
        self.srp = SRPBlock(joined, config) if config.srp else nn.Identity()
        self.refine = residual_stack(joined, config.residual_blocks)

    def join(self, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        """CAT(F_B, deblurred F_B) at this stage's resolution."""
        return torch.cat((skip_BCHW, leaky_relu(self.up(x_BCHW))), dim=1)

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        return self.refine(self.srp(self.join(x_BCHW, skip_BCHW)))


class Decoder(nn.Module):
    """Three stages with 4b, 2b and b + 6 channels (b + 3 for one picture), then three channels.

    With ``mean_residual`` the last convolution starts at zero: together with the mean view added
    behind it, an untrained network returns its input.
    """

    def __init__(self, config: K3DNConfig) -> None:
        super().__init__()
        b, joined = config.width, config.picture_channels
        self.to_quarter = DecoderStage(4 * b, 2 * b, 2 * b, config)
        self.to_half = DecoderStage(4 * b, b, b, config)
        self.to_full = DecoderStage(2 * b, b, joined, config)
        self.to_image = nn.Conv2d(b + joined, 3, 3, padding=1, bias=config.extra_biases)

    def forward(self, features: Tensor, quarter: Tensor, half: Tensor, views: Tensor) -> Tensor:
        """features: deblurred, at 1/8; quarter, half, views: what the encoder saw on its way."""
        x = self.to_quarter(features, quarter)
        x = self.to_half(x, half)
        return self.to_image(self.to_full(x, views))
