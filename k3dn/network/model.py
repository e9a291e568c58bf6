"""K3DN: a dual-pixel pair to an all-in-focus image (Fig. 3), and the way back (Fig. 5)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.config import VARIANTS, K3DNConfig
from k3dn.network.convolutions import initialise
from k3dn.network.decoder import Decoder
from k3dn.network.disparity import GRID_PX, DisparityEstimator
from k3dn.network.encoder import Encoder
from k3dn.network.kernels import KernelQuery
from k3dn.network.psf import PSFBlock, align_to_features
from k3dn.network.srp import SRPBlock
from k3dn.shapes import check_picture, check_views


@dataclass(frozen=True)
class Restoration:
    """What one pass of the network found, for a pair of ``(B, 3, H, W)``."""

    image: Tensor
    """Restored picture, ``(B, 3, H, W)``, sRGB; not clipped to [0, 1]."""
    kernel_weights: list[Tensor]
    """a of Eq. 8 for each PSF block, ``(B, N, H / 16, W / 16)``."""
    features: Tensor
    """F_B, ``(B, C_f, H / 8, W / 8)``."""
    deblurred_features: Tensor
    """F_B behind the PSF blocks, same shape."""


class K3DN(nn.Module):
    """Disparity-aware kernel estimation for dual-pixel defocus deblurring.

    ``forward(left, right)`` takes two views ``(B, 3, H, W)``, sRGB in [0, 1], of any size from
    16 px, and returns the restored picture of that size.
    """

    def __init__(self, config: K3DNConfig = VARIANTS["tiny"]) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        blocks = config.psf_blocks if config.psf else 0
        self.disparity = DisparityEstimator(config) if blocks else None
        self.kernel_queries = nn.ModuleList(KernelQuery(config) for _ in range(blocks))
        self.psf_blocks = nn.ModuleList(PSFBlock(config) for _ in range(blocks))
        self.decoder = Decoder(config)
        self._initialise()

    def _initialise(self) -> None:
        initialise(self)
        for module in self.modules():
            if isinstance(module, SRPBlock):
                module.start_open()
            elif isinstance(module, KernelQuery):
                module.start_even()
        if self.config.mean_residual:
            nn.init.zeros_(self.decoder.to_image.weight)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.restore(left, right).image

    def restore(self, left: Tensor, right: Tensor) -> Restoration:
        """Restore a pair, with the quantities on the way. Raises ValueError on bad views."""
        check_views(left, right)
        height, width = left.shape[-2:]
        left, right = _pad_to_grid(left), _pad_to_grid(right)
        weights = self._kernel_weights(left, right)
        views = torch.cat((left, right), dim=1) - 0.5
        half, quarter, features = self.encoder(views)
        deblurred = self._through_blocks(features, weights, reblur=False)
        image = self._decode(deblurred, quarter, half, views)
        return Restoration(image[..., :height, :width], weights, features, deblurred)

    def reblur(self, sharp: Tensor, kernel_weights: list[Tensor]) -> Tensor:
        """Blur a sharp picture by the kernels found in its blurred pair (Sec. 3.3, Fig. 5).

        sharp: ``(B, 3, H, W)``; kernel_weights: of ``restore`` on the pair. Returns the mean
        of the two blurred views as the network sees it, ``(B, 3, H, W)``.
        """
        check_picture("sharp", sharp)
        height, width = sharp.shape[-2:]
        padded = _pad_to_grid(sharp)
        views = torch.cat((padded, padded), dim=1) - 0.5
        half, quarter, features = self.encoder(views)
        blurred = self._through_blocks(features, kernel_weights, reblur=True)
        return self._decode(blurred, quarter, half, views)[..., :height, :width]

    def _kernel_weights(self, left: Tensor, right: Tensor) -> list[Tensor]:
        if self.disparity is None:
            return []
        disparity = self.disparity(left - 0.5, right - 0.5)
        return [
            query(disparity, block.kernel_set.deblurring_kernels())
            for query, block in zip(self.kernel_queries, self._blocks(), strict=True)
        ]

    def _through_blocks(self, x: Tensor, weights: list[Tensor], *, reblur: bool) -> Tensor:
        pairs = list(zip(self._blocks(), weights, strict=True))
        for block, grid in reversed(pairs) if reblur else pairs:
            aligned = align_to_features(grid, x.shape[-2], x.shape[-1])
            x = block(x, aligned, reblur=reblur)
        return x

    def _decode(self, x: Tensor, quarter: Tensor, half: Tensor, views: Tensor) -> Tensor:
        image = self.decoder(x, quarter, half, views) + 0.5
        if self.config.mean_residual:
            image = image + 0.5 * (views[:, :3] + views[:, 3:])
        return image

    def _blocks(self) -> list[PSFBlock]:
        return [block for block in self.psf_blocks if isinstance(block, PSFBlock)]


def _pad_to_grid(picture: Tensor) -> Tensor:
    """Repeat the right and bottom border until both sides are multiples of the grid."""
    down, across = -picture.shape[-2] % GRID_PX, -picture.shape[-1] % GRID_PX
    if not down and not across:
        return picture
    return F.pad(picture, (0, across, 0, down), mode="replicate")
