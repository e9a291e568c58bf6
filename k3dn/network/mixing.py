"""A 1x1 convolution that can be inverted exactly: P L U factors as in Glow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.kernels import MAX_LOG_GAIN
from k3dn.network.precision import full_precision


class InvertibleMixing(nn.Module):
    """Mix channels by W = P L U, with the inverse by two triangular solves.

    The diagonal of U stays between 1 / 10 and 10: no channel is lost, none explodes.

    P is a fixed permutation, L unit lower triangular, U upper triangular with a diagonal of
    fixed sign and trained magnitude, so W never becomes singular. Starts as a rotation.
    """

    permutation: Tensor
    diagonal_sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        log_diagonal = diagonal.abs().log().clamp(-0.9 * MAX_LOG_GAIN, 0.9 * MAX_LOG_GAIN)
        self.log_diagonal = nn.Parameter(MAX_LOG_GAIN * torch.atanh(log_diagonal / MAX_LOG_GAIN))
        self.register_buffer("permutation", permutation)
        self.register_buffer("diagonal_sign", diagonal.sign())

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U, each ``(C, C)``."""
        identity = torch.eye(self.lower.shape[0], device=self.lower.device, dtype=self.lower.dtype)
        bounded = MAX_LOG_GAIN * torch.tanh(self.log_diagonal / MAX_LOG_GAIN)
        diagonal = self.diagonal_sign * bounded.exp()
        return self.lower.tril(-1) + identity, self.upper.triu(1) + diagonal.diag()

    def weight(self) -> Tensor:
        """W = P L U, ``(C, C)``."""
        lower, upper = self.factors()
        return self.permutation @ lower @ upper

    def inverse_weight(self) -> Tensor:
        """W^-1, ``(C, C)``."""
        with full_precision(self.lower.device):
            lower, upper = self.factors()
            half = torch.linalg.solve_triangular(
                lower, self.permutation.T, upper=False, unitriangular=True
            )
            return torch.linalg.solve_triangular(upper, half, upper=True)

    def forward(self, x_BCHW: Tensor, *, inverse: bool = False) -> Tensor:
        weight = self.inverse_weight() if inverse else self.weight()
        return F.conv2d(x_BCHW, weight[:, :, None, None].to(x_BCHW.dtype))
