"""PSF block: deblur features by queried kernels (Eq. 10) or blur them again (Eq. 17)."""

import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.borders import repeat_borders
from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu
from k3dn.network.kernels import AUTHORS_EPSILON, kernel_set
from k3dn.network.mixing import InvertibleMixing
from k3dn.network.windows import align_to_features, cut_windows, join_windows

MAX_INVERSE_WEIGHT = 10.0
"""1 / a is clipped here, at the bound of the kernels' own gain, for weights of mean one."""
AUTHORS_MAX_INVERSE_WEIGHT = 100.0
"""The authors clip here, weights that sum to one, and scale to unit norm over the channels."""


def depthwise(x_BCHW: Tensor, kernels_CKK: Tensor) -> Tensor:
    """Convolve each channel with its own kernel; border values are repeated outwards.

    A convolution, not a correlation: the kernel is an image of a point.
    """
    reach = kernels_CKK.shape[-1] // 2
    padded = repeat_borders(x_BCHW, (reach, reach, reach, reach))
    weight = kernels_CKK.flip((-2, -1))[:, None].to(x_BCHW.dtype)
    return F.conv2d(padded, weight, groups=x_BCHW.shape[1])


def depthwise_in_windows(x_BCHW: Tensor, kernels_CKK: Tensor, grid: tuple[int, int]) -> Tensor:
    """The same window by window, each with zeros around it (the authors' form)."""
    reach = kernels_CKK.shape[-1] // 2
    windows = cut_windows(x_BCHW, grid, reach, shared=False)
    weight = kernels_CKK.flip((-2, -1))[:, None].to(x_BCHW.dtype)
    filtered = F.conv2d(windows.flatten(0, 2), weight, groups=x_BCHW.shape[1])
    return join_windows(filtered.unflatten(0, windows.shape[:3]))


def inverse_weights(weights_BNhw: Tensor, largest: float) -> Tensor:
    """1 / a, clipped at ``largest``. Clipping a first keeps the gradient finite where a is zero."""
    return weights_BNhw.clamp(min=1.0 / largest).reciprocal()


def authors_inverse_weights(weights_BNhw: Tensor) -> Tensor:
    """1 / a, clipped at 100 and scaled to unit norm over the kernels.

    a sums to one: with 100 kernels or more all of them clip at the start, and no gradient of
    reblurring reaches a.
    """
    inverse = inverse_weights(weights_BNhw + AUTHORS_EPSILON, AUTHORS_MAX_INVERSE_WEIGHT)
    return inverse * (inverse.square().sum(1, keepdim=True) + AUTHORS_EPSILON).rsqrt()


class PSFBlock(nn.Module):
    """What the two readings of Eq. 9 share: the order of the steps, there and back.

    Deblurring filters by inverse kernels and mixes the channels; reblurring takes the inverse of
    each step in reverse order. A leaky ReLU follows each step and the block's input is added at
    the end: neither is undone. Everywhere weights are a of Eq. 8 on the grid of R,
    ``(B, N, h, w)``, for features ``(B, C, H, W)``.
    """

    def forward(self, x_BCHW: Tensor, weights_BNhw: Tensor, *, reblur: bool = False) -> Tensor:
        """Deblur features (Eq. 10), or blur those of a sharp picture by the same kernels (17)."""
        if reblur:
            unmixed = leaky_relu(self.unmix(x_BCHW, weights_BNhw))
            return x_BCHW + leaky_relu(self.blur(unmixed, weights_BNhw))
        filtered = leaky_relu(self.sharpen(x_BCHW, weights_BNhw))
        return x_BCHW + leaky_relu(self.mix(filtered, weights_BNhw))

    def linear(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """The linear part of deblurring alone."""
        return self.mix(self.sharpen(x_BCHW, weights_BNhw), weights_BNhw)

    def inverse_linear(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """The inverse operators of ``linear`` in reverse order."""
        return self.blur(self.unmix(x_BCHW, weights_BNhw), weights_BNhw)

    def query_kernels(self) -> Tensor:
        """The kernels that Eq. 8 looks at, ``(N, K, K)``."""
        raise NotImplementedError

    def blur_kernels(self) -> Tensor:
        """The kernels that blur, to look at, ``(N, K, K)``."""
        raise NotImplementedError

    def sharpen(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """Filter by the inverse kernels."""
        raise NotImplementedError

    def blur(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """Filter by the kernels."""
        raise NotImplementedError

    def mix(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """Mix the channels."""
        raise NotImplementedError

    def unmix(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """Undo ``mix``."""
        raise NotImplementedError


class SparsePSFBlock(PSFBlock):
    """One kernel a channel, the same everywhere, times the channel's weight a of the place.

    a weights the deblurring kernels and 1 / a the blurring ones. The paper says it the other
    way round; a is a positive trained quantity, so it is the same family read backwards.
    channels: of the features; None: at 1/8.
    """

    def __init__(self, config: K3DNConfig, channels: int | None = None) -> None:
        super().__init__()
        self.bounded = config.bounded_inverse
        channels = channels or config.channels
        mean_weight = 1.0 if config.scaled_softmax else 1.0 / channels
        self.max_inverse_weight = MAX_INVERSE_WEIGHT / mean_weight
        self.shared_windows = config.shared_windows
        self.kernel_set = kernel_set(config, channels)
        self.mixing = InvertibleMixing(channels, bounded=config.bounded_inverse)

    def query_kernels(self) -> Tensor:
        return self.kernel_set.query_kernels()

    def blur_kernels(self) -> Tensor:
        return self.kernel_set.blurring_kernels()

    def sharpen(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        return self._filter(x_BCHW, self.kernel_set.deblurring_kernels(), weights_BNhw)

    def blur(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        return self._filter(x_BCHW, self.kernel_set.blurring_kernels(), weights_BNhw)

    def mix(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        """The weights a, behind the kernels' leaky ReLU as in the authors' form, then mixing."""
        return self.mixing(_weigh(x_BCHW, weights_BNhw))

    def unmix(self, x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
        if self.bounded:
            inverse = inverse_weights(weights_BNhw, self.max_inverse_weight)
        else:
            inverse = authors_inverse_weights(weights_BNhw)
        return _weigh(self.mixing(x_BCHW, inverse=True), inverse)

    def _filter(self, x_BCHW: Tensor, kernels_CKK: Tensor, weights_BNhw: Tensor) -> Tensor:
        if self.shared_windows:
            return depthwise(x_BCHW, kernels_CKK)
        grid = (weights_BNhw.shape[-2], weights_BNhw.shape[-1])
        return depthwise_in_windows(x_BCHW, kernels_CKK, grid)


def _weigh(x_BCHW: Tensor, weights_BNhw: Tensor) -> Tensor:
    return x_BCHW * align_to_features(weights_BNhw, x_BCHW.shape[-2], x_BCHW.shape[-1])
