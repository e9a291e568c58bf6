"""Kernels exactly as published, to reproduce the published sets and to compare with.

Each acts by convolution here, as all our kernels do: it is the picture of a point. What the
published code does is said with each. Their defects are left in; the families `butterworth`,
`integral` and `translating_disk` of `PSF_FAMILIES` mend them.
"""

from functools import lru_cache

import numpy as np

from synth.psf.family import KernelPair

KernelTriple = tuple[np.ndarray, np.ndarray, np.ndarray]


def published_butterworth(
    size: int, order: int, cutoff: float, beta: float, smoothing: float = 7
) -> KernelTriple:
    """RDPD's kernels (Abuolaim et al., ICCV 2021): a Butterworth high-pass in a disc times a ramp.

    size: whole radius in pixels, near positive; 0 is taken as 1, as the generator does, which so
    blurs what is in focus. order: n. cutoff: f, 1 over the paper's alpha. beta: light in the middle
    over light at the corner of the square. smoothing: S, 1 over the paper's kappa.

    Returns (K_L, K_R, K_C), float64, of one odd side, read-only, each sums to 1; K_L = K_C
    (1 + x / h) nearer than focus, with h half the side, and (K_L + K_R) / 2 = K_C.

    The generator correlates, and swaps left and right nearer than focus, where its size is
    negative. A kernel turned about is its mirror image, so that both turns cancel: for size > 0
    these are its stored kernels as they are. Raises ValueError for parameters out of range.

    Known defects: whole radii only, blurred in focus, a shift not in proportion to the radius
    (0.97 radii between the views at 1 px, 0.66 at 3 px, about 0.6 from 8 px on).
    """
    if size != int(size):
        raise ValueError(f"size must be a whole number of pixels, got {size}")
    if order < 1 or not cutoff > 0.0 or not 0.0 <= beta <= 1.0 or not smoothing >= 1.0:
        raise ValueError(
            "order must be at least 1, cutoff positive, beta in [0, 1] and smoothing at least 1, "
            f"got {order}, {cutoff}, {beta}, {smoothing}"
        )
    rising, falling, combined = _butterworth(
        max(abs(int(size)), 1), int(order), float(cutoff), float(beta), float(smoothing)
    )
    return (rising, falling, combined) if size > 0 else (falling, rising, combined)


@lru_cache(maxsize=128)
def _butterworth(
    radius: int, order: int, cutoff: float, beta: float, smoothing: float
) -> KernelTriple:
    """The rising, the falling and the combined kernel; pictures of one camera share them."""
    axis = np.arange(-radius, radius + 1, dtype=np.float64)
    square = axis[None, :] ** 2 + axis[:, None] ** 2
    power = (square / (2.0 * radius / cutoff) ** 2) ** order
    high_pass = power / (1.0 + power)
    low, high = high_pass.min(), high_pass.max()
    light = (high_pass - low) / (high - low) * (1.0 - beta) + beta
    light[square > radius**2] = 0.0

    smooth = _gaussian_blur(light, (2 * radius + 1) / smoothing)
    rising = smooth * (np.arange(smooth.shape[1]) / (smooth.shape[1] - 1.0))
    rising /= rising.sum()
    kernels = rising, rising[:, ::-1].copy(), smooth / smooth.sum()
    for kernel in kernels:
        kernel.setflags(write=False)
    return kernels


def _gaussian_blur(light: np.ndarray, width: float) -> np.ndarray:
    """Blur with an odd number of taps next above round(width), the array padded by their half."""
    taps = round(width) + 1
    taps += 1 - taps % 2
    sigma = 0.3 * ((taps - 1) / 2.0 - 1.0) + 0.8
    pad = taps // 2
    gauss = np.exp(-(np.arange(-pad, pad + 1.0) ** 2) / (2.0 * sigma**2))
    gauss /= gauss.sum()
    blurred = np.pad(light, pad)
    length = blurred.shape[0]
    for _ in range(2):
        mirrored = np.pad(blurred, ((pad, pad), (0, 0)), mode="reflect")
        blurred = sum(g * mirrored[i : i + length] for i, g in enumerate(gauss)).T
    return blurred


def published_translating_disk(radius_px: float, *, side: int | None = None) -> KernelPair:
    """The translating disk of Punnappurath et al. (ICCP 2020): a disc times its own running sum.

    radius_px: signed radius, near positive. side: odd side of the arrays; None takes the smallest,
    2 ceil(|radius| - 1/2) + 1.

    C is a disc of unit sum, each pixel by the area of it that is covered; K = sum over i >= 0 of
    C times C shifted by i pixels, which is C times the running sum of its rows. Returns (K_L, K_R),
    float64; each sums to 1/2, as published, so that K_L + K_R is the combined kernel. The published
    kernels act by convolution, as here. Raises ValueError for a radius that is not finite or a side
    that is even or too small.
    """
    if not np.isfinite(radius_px):
        raise ValueError(f"radius_px must be finite, got {radius_px}")
    half = max(int(np.ceil(abs(radius_px) - 0.5)), 0)
    side = 2 * half + 1 if side is None else side
    if side % 2 == 0 or side < 2 * half + 1:
        raise ValueError(
            f"side must be odd and at least {2 * half + 1} for a radius of {radius_px}, got {side}"
        )
    disk = disk_coverage(abs(radius_px), half)
    kernel = disk * np.cumsum(disk, axis=1)
    kernel = np.pad(0.5 * kernel / kernel.sum(), side // 2 - half)
    mirrored = kernel[:, ::-1].copy()
    return (kernel, mirrored) if radius_px >= 0.0 else (mirrored, kernel)


def disk_coverage(radius_px: float, half: int) -> np.ndarray:
    """Share of a disc's area on each pixel, (2 half + 1, 2 half + 1) float64, sums to 1.

    The disc lies around the middle of the middle pixel. A radius of 0 is a unit impulse.
    """
    edges = np.arange(-half, half + 2) - 0.5
    if radius_px == 0.0:
        return np.outer(edges[:-1] == -0.5, edges[:-1] == -0.5).astype(np.float64)
    # Area of the disc between the axes and (x, y), odd in both, so that differences give pixels.
    along = np.minimum(np.abs(edges), radius_px)
    x, y = np.meshgrid(along, along)
    corner = np.sqrt(np.maximum(radius_px**2 - y**2, 0.0))  # where the circle meets height y
    start = np.minimum(x, corner)
    area = y * start + _under_circle(x, radius_px) - _under_circle(start, radius_px)
    area *= np.sign(edges)[:, None] * np.sign(edges)[None, :]
    pixels = np.maximum(np.diff(np.diff(area, axis=0), axis=1), 0.0)
    return np.asarray(pixels / pixels.sum())


def _under_circle(x: np.ndarray, radius: float) -> np.ndarray:
    """Integral of sqrt(radius^2 - u^2) for u from 0 to x."""
    height = np.sqrt(np.maximum(radius**2 - x**2, 0.0))
    return 0.5 * (x * height + radius**2 * np.arcsin(np.minimum(x / radius, 1.0)))


def published_integral_window(side_px: int) -> KernelPair:
    """DDD-syn's kernels (Pan et al., CVPR 2021): a square that begins at the pixel.

    side_px: k = max(1, floor(disparity)), at least 1; `synth.published_cameras` gives it. DDD-syn
    knows no far side. Returns (K_L, K_R), float64 (2 k - 1, 2 k - 1), each sums to 1: a point
    spreads evenly over rows 0 to k - 1 below it and, left, over columns 0 to k - 1 to the right of
    it, right, to the left of it. So both are shifted down by (k - 1) / 2 pixels.

    The generator scatters, which for one k all over the picture is convolution with these; where k
    varies it divides by the count of what arrived. Raises ValueError for a side below 1.
    """
    if side_px != int(side_px) or side_px < 1:
        raise ValueError(f"side_px must be a whole number of at least 1, got {side_px}")
    side = int(side_px)
    left = np.zeros((2 * side - 1, 2 * side - 1))
    left[side - 1 :, side - 1 :] = 1.0 / side**2
    return left, left[:, ::-1].copy()
