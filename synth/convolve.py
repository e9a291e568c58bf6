"""Convolution of a stack of planes with a left and a right kernel at once."""

import numpy as np
import torch
from torch.nn import functional

_LARGEST_DIRECT_SIDE = 5  # measured on one core: above this a Fourier transform is faster


def convolve_views(planes: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Convolve every plane with both kernels, where the kernel lies fully inside ("valid").

    planes: float32 (C, H, W). left, right: (k, k), k odd, k <= min(H, W).
    Returns float32 (2, C, H - k + 1, W - k + 1): the left view's planes, then the right view's.
    """
    side = left.shape[0]
    if side == 1:
        return np.stack([planes * np.float32(left[0, 0]), planes * np.float32(right[0, 0])])
    kernels = torch.from_numpy(np.stack([left, right]).astype(np.float32))
    stack = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))
    if side <= _LARGEST_DIRECT_SIDE:
        # conv2d correlates: turn the kernels round to convolve.
        result = functional.conv2d(stack[:, None], kernels.flip(-2, -1)[:, None])
        return result.transpose(0, 1).numpy()
    height, width = planes.shape[1:]
    shape = (_fast_length(height), _fast_length(width))
    spectrum = torch.fft.rfft2(stack, s=shape)
    transfer = torch.fft.rfft2(kernels, s=shape)
    # Circular wrap-around spoils the first side - 1 rows and columns only: those are not "valid".
    whole = torch.fft.irfft2(transfer[:, None] * spectrum[None], s=shape)
    return whole[:, :, side - 1 : height, side - 1 : width].numpy()


def _fast_length(length: int) -> int:
    """The smallest number of at least `length` with no prime factor above 5."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
