"""A 1x1 convolution that can be inverted exactly: P L U factors as in Glow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.network.kernels import MAX_LOG_GAIN
from k3dn.network.precision import at_least_float32, full_precision


class InvertibleMixing(nn.Module):
    """Mix channels by W = P L U, with the inverse by two triangular solves.

    P is a fixed permutation, L unit lower triangular, U upper triangular with a diagonal of
    fixed sign and trained magnitude, so W never becomes singular. Starts as a rotation. With
    ``bounded`` the diagonal of U stays between 1 / 10 and 10. What stands beside the diagonals is
    free, so that the inverse's gain is finite but not bounded by a number.
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

    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """P, L and U, each ``(C, C)``, in float32 also where parameters are held in bfloat16."""
        lower, upper = at_least_float32(self.lower), at_least_float32(self.upper)
        log_diagonal = at_least_float32(self.log_diagonal)
        if self.bounded:
            log_diagonal = MAX_LOG_GAIN * torch.tanh(log_diagonal / MAX_LOG_GAIN)
        diagonal = self.diagonal_sign * log_diagonal.exp()
        identity = torch.eye(len(lower), device=lower.device, dtype=lower.dtype)
        permutation = at_least_float32(self.permutation)
        return permutation, lower.tril(-1) + identity, upper.triu(1) + diagonal.diag()

    def weight(self) -> Tensor:
        """W = P L U, ``(C, C)``."""
        with full_precision(self.lower.device):
            permutation, lower, upper = self.factors()
            return permutation @ lower @ upper

    def inverse_weight(self) -> Tensor:
        """W^-1, ``(C, C)``."""
        with full_precision(self.lower.device):
            permutation, lower, upper = self.factors()
            half = torch.linalg.solve_triangular(
                lower, permutation.T, upper=False, unitriangular=True
            )
            return torch.linalg.solve_triangular(upper, half, upper=True)

    def forward(self, x_BCHW: Tensor, *, inverse: bool = False) -> Tensor:
        """W x at each position, or W^-1 x; ``(B, C, H, W)`` kept."""
        weight = self.inverse_weight() if inverse else self.weight()
        return mix(x_BCHW, weight)


def mix(x_BCHW: Tensor, weight_CC: Tensor) -> Tensor:
    """Multiply the channels of each position by a matrix, ``(B, C, H, W)`` kept."""
    return F.conv2d(x_BCHW, weight_CC[:, :, None, None].to(x_BCHW.dtype))
