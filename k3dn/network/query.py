"""The query of the kernel set by disparity features (Eq. 8).

Letters: N kernels, D = C_d, h w the grid of R.
"""

import torch
from torch import Tensor, nn

from k3dn.network.config import K3DNConfig
from k3dn.network.convolutions import leaky_relu
from k3dn.network.kernels import MAX_LOG_GAIN
from k3dn.network.precision import at_least_float32


class KernelQuery(nn.Module):
    """a^i = softmax(W_v (Sum(W_k . K) * (W_r r^i))) (Eq. 8).

    ``scaled_softmax`` is ours: times N, since a plain softmax over N channels starts at 1 / N and
    all but switches the PSF block off; and logits are bounded, so that two weights of a place
    differ by at most a factor of ten and neither a nor 1 / a (Eq. 17) explodes. The bound is soft
    and follows a limit of the logits' root mean square over the kernels: however large the logits
    become, some lie where the bound has a gradient, and the query goes on learning. Before the
    factor, the weights of a place sum to one as in the paper. A dense mixture is a mean of kernels
    and has the plain softmax. Ours is also a trained number added to each Sum(W_k . K)
    (``extra_biases``).

    ``refined_query`` is the authors' reading: W_v leads back to C_d numbers, a leaky ReLU and r
    itself added make the refined query, and one more linear layer turns that into logits. It
    starts as theirs does: W_k zero, W_r and W_v near it, so that r alone decides.
    """

    def __init__(self, config: K3DNConfig, channels: int | None = None) -> None:
        """channels: of the features, one kernel each; None: at 1/8, whose set may be dense."""
        super().__init__()
        kernels, vector = channels or config.num_kernels, config.disparity_channels
        self.num_kernels = kernels
        side = config.kernel_size
        self.scaled = config.scaled_softmax and not (config.dense_kernels and channels is None)
        # A symmetric kernel has K x (K + 1) / 2 distinct values; so has what weighs it.
        self.key_weights = nn.Parameter(torch.randn(kernels, side, side // 2 + 1) / side)
        self.key_bias = nn.Parameter(torch.ones(kernels)) if config.extra_biases else None
        self.from_disparity = nn.Conv2d(vector, kernels, 1)
        self.to_disparity = nn.Conv2d(kernels, vector, 1) if config.refined_query else None
        self.to_weights = nn.Conv2d(vector if config.refined_query else kernels, kernels, 1)
        if self.to_disparity is not None:
            self._start_at_disparity(self.to_disparity)

    def _start_at_disparity(self, to_disparity: nn.Conv2d) -> None:
        nn.init.zeros_(self.key_weights)
        for layer in (self.from_disparity, to_disparity):
            nn.init.trunc_normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.to_weights.weight, std=self.to_weights.in_channels**-0.5)
        nn.init.ones_(self.to_weights.bias)  # type: ignore[arg-type]

    def start_even(self) -> None:
        """Start with nearly equal weights, whatever the disparity."""
        nn.init.normal_(self.to_weights.weight, std=0.1 * self.to_weights.in_channels**-0.5)

    def forward(self, disparity_BDhw: Tensor, kernels_NKK: Tensor) -> Tensor:
        """Weights of the kernels at each place of the disparity grid, ``(B, N, h, w)``."""
        half = kernels_NKK[..., : self.key_weights.shape[-1]]
        key_N = (self.key_weights * half).sum((-2, -1))
        if self.key_bias is not None:
            key_N = key_N + self.key_bias
        query = self.from_disparity(disparity_BDhw)
        query = query * key_N[:, None, None].to(query.dtype)
        if self.to_disparity is not None:
            query = disparity_BDhw + leaky_relu(self.to_disparity(query))
        logits = self.to_weights(query)
        if not self.scaled:
            return logits.softmax(dim=1)
        weights = (0.5 * MAX_LOG_GAIN * torch.tanh(_limited(logits))).softmax(dim=1) * len(key_N)
        return weights.to(logits.dtype)


def _limited(logits_BNhw: Tensor) -> Tensor:
    """Logits of mean zero over the kernels, their root mean square limited to one."""
    centred = at_least_float32(logits_BNhw)
    centred = centred - centred.mean(dim=1, keepdim=True)  # which a softmax does not see
    return centred * (1.0 + centred.square().mean(dim=1, keepdim=True)).rsqrt()
