"""K3DN: a dual-pixel pair to an all-in-focus image (Fig. 3), and the way back (Fig. 5)."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.authors_disparity import (
    AuthorsDisparityEstimator,
    AuthorsSinglePictureEstimator,
)
from k3dn.network.config import VARIANTS, K3DNConfig
from k3dn.network.convolutions import initialise
from k3dn.network.decoder import Decoder
from k3dn.network.dense import DensePSFBlock
from k3dn.network.disparity import DisparityEstimator, SinglePictureEstimator
from k3dn.network.encoder import Encoder
from k3dn.network.fitting import fit_to_grid, fitted_size, unfit
from k3dn.network.precision import at_least_float32, autocasts, full_precision
from k3dn.network.psf import PSFBlock, SparsePSFBlock
from k3dn.network.query import KernelQuery
from k3dn.network.srp import SRPBlock
from k3dn.shapes import check_picture, check_views


@dataclass(frozen=True)
class Restoration:
    """What one pass of the network found, for a pair of ``(B, 3, H, W)``."""

    image: Tensor
    """Restored picture, ``(B, 3, H, W)``, sRGB; not clipped to [0, 1]."""
    kernel_weights: list[Tensor]
    """a of Eq. 8 for each PSF block in the order of ``K3DN.blocks()``, ``(B, N, h, w)``, h x w
    windows; none without PSF blocks."""
    features: Tensor
    """F_B, ``(B, C_f, h, w)``, an eighth of the height and width brought to whole windows."""
    deblurred_features: Tensor
    """F_B behind the PSF blocks, same shape."""
    disparity_features: Tensor | None = None
    """R, ``(B, C_d, h, w)``; None without PSF blocks."""
    coc_px: Tensor | None = None
    """Estimated signed radius of the circle of confusion in px of the picture, ``(B, 1, h, w)``,
    one for each vector of R; positive: nearer than focus. At least float32. None without a
    readout (``coc_readout``)."""


class K3DN(nn.Module):
    """Disparity-aware kernel estimation for dual-pixel defocus deblurring.

    ``forward(left, right)`` takes two views ``(B, 3, H, W)``, sRGB in [0, 1], of any size from
    16 px, and returns the restored picture of that size. With ``single_picture`` the second one
    may be left out; given two, the network sees their mean.

    Views have the type of the parameters. A network held in bfloat16 takes views in float32 too,
    and adds what it found to them in that type. Raises ValueError on views of another size, type or
    channel count and on NaN; under ``torch.compile`` values are not looked at, and NaN in a
    view becomes NaN in the picture, which ``deblur`` refuses.

    coc_drifted: set by who trains it where the disparity estimator went on learning without known
    radii: what the readout, taught before, says of it is not to be believed any more. Kept with
    the weights.
    """

    def __init__(self, config: K3DNConfig = VARIANTS["tiny"]) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        blocks = config.psf_blocks if config.psf else 0
        self.disparity = _estimator(config) if blocks else None
        self.coc_readout = nn.Conv2d(config.disparity_channels, 1, 1) if config.reads_coc else None
        self.coc_drifted = False
        self.kernel_queries = nn.ModuleList(KernelQuery(config) for _ in range(blocks))
        block = DensePSFBlock if config.dense_kernels else SparsePSFBlock
        self.psf_blocks = nn.ModuleList(block(config) for _ in range(blocks))
        skips = (2 * config.width, config.width) if blocks and config.skip_psf else ()
        self.skip_queries = nn.ModuleList(KernelQuery(config, channels) for channels in skips)
        self.skip_blocks = nn.ModuleList(SparsePSFBlock(config, channels) for channels in skips)
        self.decoder = Decoder(config)
        self._initialise()

    def _initialise(self) -> None:
        if self.config.scaled_start:
            initialise(self)
            for module in self.modules():
                if isinstance(module, SRPBlock):
                    module.start_open()
                elif isinstance(module, KernelQuery):
                    module.start_even()
        if self.config.mean_residual:
            for parameter in self.decoder.to_image.parameters():
                nn.init.zeros_(parameter)
        if self.coc_readout is not None:
            for parameter in self.coc_readout.parameters():
                nn.init.zeros_(parameter)

    def forward(self, left: Tensor, right: Tensor | None = None) -> Tensor:
        return self.restore(left, right).image

    def restore(self, left: Tensor, right: Tensor | None = None) -> Restoration:
        """Restore a pair, with the quantities on the way. Raises ValueError on bad views."""
        left, right = self._views(left, right)
        found = self._restore(left, right)
        if not self.config.mirror_whole:
            return found
        mirrored = self._restore(right.flip(-1), left.flip(-1)).image.flip(-1)
        return replace(found, image=0.5 * (found.image + mirrored))

    def _restore(self, left: Tensor, right: Tensor) -> Restoration:
        height, width = left.shape[-2:]
        left, right = self._fit(torch.cat((left, right), dim=1)).split(3, dim=1)
        disparity = self._disparity_features(left, right)
        weights = self._kernel_weights(disparity)
        views = self._join(left, right)
        half, quarter, features = self.encoder(views.to(self._first_type))
        deblurred = self._through_blocks(features, weights, reblur=False)
        quarter, half = self._through_skips((quarter, half), weights, reblur=False)
        image = self._decode(deblurred, quarter, half, views)
        return Restoration(
            self._unfit(image, height, width),
            weights,
            features,
            deblurred,
            disparity,
            self._read_coc(disparity),
        )

    def reblur(self, sharp: Tensor, kernel_weights: list[Tensor]) -> Tensor:
        """Blur a sharp picture by the kernels found in its blurred pair (Sec. 3.3, Fig. 5).

        sharp: ``(B, 3, H, W)``; kernel_weights: of ``restore`` on the pair. Returns the mean
        of the two blurred views as the network sees it, ``(B, 3, H, W)``. Raises ValueError for
        weights of another network or of a pair of another size, and where there are no PSF blocks.
        """
        if not self.psf_blocks:
            raise ValueError("a network without PSF blocks has no kernels to blur by")
        check_picture("sharp", sharp)
        self._check_type("sharp", sharp)
        height, width = sharp.shape[-2:]
        fitted = self._fit(sharp)
        self._check_weights(kernel_weights, fitted)
        views = self._join(fitted, fitted)
        half, quarter, features = self.encoder(views.to(self._first_type))
        blurred = self._through_blocks(features, kernel_weights, reblur=True)
        quarter, half = self._through_skips((quarter, half), kernel_weights, reblur=True)
        return self._unfit(self._decode(blurred, quarter, half, views), height, width)

    @property
    def knows_coc(self) -> bool:
        """Whether ``Restoration.coc_px`` can be believed: the readout has left its start, at which
        every radius is zero, and fits its R (``coc_drifted``)."""
        readout = self.coc_readout
        taught = readout is not None and any(bool(p.any()) for p in readout.parameters())
        return taught and not self.coc_drifted

    def enlarge(self, found_BChw: Tensor, height: int, width: int) -> Tensor:
        """Bring what was found in each window to the picture's size, ``(B, C, height, width)``."""
        config, fitted = self.config, (height, width)
        if config.pad_to_grid:
            fitted = fitted_size(fitted, config.grid_px, config.smallest_px)
        return F.interpolate(found_BChw, size=fitted, mode="bilinear")[..., :height, :width]

    def _views(self, left: Tensor, right: Tensor | None) -> tuple[Tensor, Tensor]:
        if right is None and not self.config.single_picture:
            raise ValueError(
                "this network needs the left and the right view; one that restores a single "
                "picture is built and trained with single_picture=true"
            )
        if right is None:
            check_picture("picture", left)
            self._check_type("picture", left)
            return left, left
        check_views(left, right)
        self._check_type("left", left)
        if self.config.single_picture:
            left = right = 0.5 * (left + right)
        return left, right

    @property
    def _type(self) -> torch.dtype:
        return self.decoder.to_image.weight.dtype

    @property
    def _first_type(self) -> torch.dtype:
        """Of the first layer, which a network prepared for inference keeps in float32."""
        return self.encoder.to_half.down.weight.dtype

    def _check_type(self, name: str, picture: Tensor) -> None:
        allowed = (self._type, torch.promote_types(self._type, torch.float32))
        if picture.dtype not in allowed and not autocasts(picture.device):
            raise ValueError(f"the network computes in {self._type}, {name} is {picture.dtype}")

    def _check_weights(self, kernel_weights: list[Tensor], sharp: Tensor) -> None:
        queries = self._queries()
        if len(kernel_weights) != len(queries):
            raise ValueError(
                f"kernel_weights must be of {len(queries)} PSF blocks, got {len(kernel_weights)}"
            )
        down, across = self.config.vector_px
        grid = (sharp.shape[-2] // down, sharp.shape[-1] // across)
        for query, weights in zip(queries, kernel_weights, strict=True):
            expected = (sharp.shape[0], query.num_kernels, *grid)
            if weights.shape != expected:
                raise ValueError(
                    "kernel_weights must be of this network and of a pair of the sharp picture's "
                    f"size, {expected}, got {tuple(weights.shape)}"
                )

    def _join(self, left: Tensor, right: Tensor) -> Tensor:
        """What enters: the pair, or the one picture (left and right are the same then)."""
        return (left if self.config.single_picture else torch.cat((left, right), dim=1)) - 0.5

    def _fit(self, picture: Tensor) -> Tensor:
        config = self.config
        return fit_to_grid(picture, config.grid_px, config.smallest_px, pad=config.pad_to_grid)

    def _unfit(self, picture: Tensor, height: int, width: int) -> Tensor:
        return unfit(picture, height, width, pad=self.config.pad_to_grid)

    def _disparity_features(self, left: Tensor, right: Tensor) -> Tensor | None:
        if self.disparity is None:
            return None
        views = (left,) if self.config.single_picture else (left, right)
        disparity: Tensor = self.disparity(*((view - 0.5).to(self._type) for view in views))
        return disparity

    def _kernel_weights(self, disparity: Tensor | None) -> list[Tensor]:
        if disparity is None:
            return []
        return [
            query(disparity, block.query_kernels())
            for query, block in zip(self._queries(), self.blocks(), strict=True)
        ]

    def _queries(self) -> list[KernelQuery]:
        """The queries in the order of ``blocks``."""
        queries = [*self.kernel_queries, *self.skip_queries]
        return [query for query in queries if isinstance(query, KernelQuery)]

    def _read_coc(self, disparity: Tensor | None) -> Tensor | None:
        if self.coc_readout is None or disparity is None:
            return None
        with full_precision(disparity.device):
            return at_least_float32(self.coc_readout(disparity.to(self._type)))

    def _through_blocks(self, x: Tensor, weights: list[Tensor], *, reblur: bool) -> Tensor:
        count = len(self.psf_blocks)
        pairs = list(zip(self.blocks()[:count], weights[:count], strict=True))
        if reblur and self.config.reversed_reblur:
            pairs.reverse()
        for block, grid in pairs:
            x = block(x, grid, reblur=reblur)
        return x

    def _through_skips(
        self, skips: tuple[Tensor, Tensor], weights: list[Tensor], *, reblur: bool
    ) -> tuple[Tensor, Tensor]:
        """Features at 1/4 and 1/2, deblurred or blurred by the block of their resolution."""
        if not self.skip_blocks:
            return skips
        count = len(self.psf_blocks)
        quarter, half = (
            block(x, grid, reblur=reblur)
            for block, x, grid in zip(self.blocks()[count:], skips, weights[count:], strict=True)
        )
        return quarter, half

    def _decode(self, x: Tensor, quarter: Tensor, half: Tensor, views: Tensor) -> Tensor:
        # The decoder may end in bfloat16, whose steps near 0.5 are coarser than 8 bit.
        image = at_least_float32(self.decoder(x, quarter, half, views.to(self._type)))
        if not self.config.mean_residual:
            return image.clamp(-1.0, 1.0) + 0.5
        pictures = at_least_float32(views).split(3, dim=1)
        mean = pictures[0] if len(pictures) == 1 else 0.5 * (pictures[0] + pictures[1])
        return image + 0.5 + mean

    def blocks(self) -> list[PSFBlock]:
        """The PSF blocks: those at 1/8 in the order of deblurring, then at 1/4 and 1/2."""
        blocks = [*self.psf_blocks, *self.skip_blocks]
        return [block for block in blocks if isinstance(block, PSFBlock)]


def as_k3dn(model: nn.Module) -> K3DN | None:
    """The K3DN that a module is, also behind ``torch.compile``; None for somebody else's."""
    model = getattr(model, "_orig_mod", model)
    return model if isinstance(model, K3DN) else None


def _estimator(config: K3DNConfig) -> nn.Module:
    if config.single_picture:
        single = (SinglePictureEstimator, AuthorsSinglePictureEstimator)
        return single[config.authors_disparity](config)
    pair = (DisparityEstimator, AuthorsDisparityEstimator)
    return pair[config.authors_disparity](config)
