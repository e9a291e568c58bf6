"""A 1x1 convolution that can be inverted exactly: P L U factors as in Glow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.kernels import MAX_LOG_GAIN
from k3dn.network.precision import full_precision


class InvertibleMixing(nn.Module):
    """Mix channels by W = P L U, with the inverse by two triangular solves.

    P is a fixed permutation, L unit lower triangular, U upper triangular with a diagonal of
    fixed sign and trained magnitude, so W never becomes singular. Starts as a rotation. With
    ``bounded`` the diagonal of U stays between 1 / 10 and 10, so that W stays far from singular.
    """

    permutation: Tensor
    diagonal_sign: Tensor

    def __init__(self, channels: int, *, bounded: bool = True) -> None:
        super().__init__()
        self.bounded = bounded
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        log_diagonal = diagonal.abs().log()
        if bounded:
            share = (log_diagonal / MAX_LOG_GAIN).clamp(-0.9, 0.9)
            log_diagonal = MAX_LOG_GAIN * torch.atanh(share)
        self.log_diagonal = nn.Parameter(log_diagonal)
        self.register_buffer("permutation", permutation)
        self.register_buffer("diagonal_sign", diagonal.sign())

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U, each ``(C, C)``."""
        identity = torch.eye(self.lower.shape[0], device=self.lower.device, dtype=self.lower.dtype)
        log_diagonal: Tensor = self.log_diagonal
        if self.bounded:
            log_diagonal = MAX_LOG_GAIN * torch.tanh(log_diagonal / MAX_LOG_GAIN)
        diagonal = self.diagonal_sign * log_diagonal.exp()
        return self.lower.tril(-1) + identity, self.upper.triu(1) + diagonal.diag()

    def weight(self) -> Tensor:
        """W = P L U, ``(C, C)``."""
        with full_precision(self.lower.device):
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
