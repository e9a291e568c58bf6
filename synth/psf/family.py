"""What every kernel family shares: the light through an aperture, projected on the pixel grid.

A defocused point is the picture of the aperture, scaled by the signed blur radius. A family gives
the light that the left view takes from each place of the aperture, as a grid of cells, and all
properties that a dual-pixel kernel must have then follow from how cells are put on pixels:

- light that falls between pixels is split linearly between them, which keeps its centroid. So the
  kernels are centred, have unit energy, shift in proportion to the radius, change without jumps
  when the radius changes and become a unit impulse in focus;
- the right view is the mirror image of the left one, and nearer or farther than focus swaps them.

Kernels are pictures of a point: they act by convolution. x points right and y down, in units of the
blur radius. Nearer than focus the left view's content lies to the right (s = x_L - x_R > 0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth.choices import KernelFamily

KernelPair = tuple[np.ndarray, np.ndarray]

CELLS = 64
"""Cells a side of an aperture. One number for all radii, or kernels would jump where it changes."""


@dataclass(frozen=True, slots=True)
class Aperture:
    """The aperture as the left view sees it, for a point nearer than focus."""

    light: np.ndarray
    """float64 (n, n), n even: light through each cell, rows down, not negative, not all zero."""
    extent: float
    """The cells cover [-extent, extent] in x and y, in blur radii."""


@dataclass(frozen=True, slots=True)
class PsfFamily:
    """A named family of kernel pairs. Calling it makes the kernels of one blur radius."""

    name: KernelFamily
    """Name in configuration files and in the provenance of a pair."""
    parameters: type[Any]
    """Frozen dataclass of the family's parameters, with defaults."""
    aperture: Callable[[Any], Aperture]
    """Parameters -> the aperture, mirror-symmetric top to bottom."""
    sample: Callable[[np.random.Generator], Any]
    """Draw parameters for one pair."""

    def __call__(self, coc_px: float, params: Any = None) -> KernelPair:
        """The kernels of a point whose signed blur radius is coc_px.

        params: an instance of `parameters`; None takes the defaults.
        Returns (K_L, K_R): float64, of one odd side, each sums to 1, K_L = fliplr(K_R).
        """
        params = self.parameters() if params is None else params
        if not isinstance(params, self.parameters):
            raise ValueError(
                f"kernel family {self.name} takes {self.parameters.__name__}, "
                f"got {type(params).__name__}"
            )
        if not np.isfinite(coc_px):
            raise ValueError(f"coc_px must be finite, got {coc_px}")
        left = project(self.aperture(params), abs(float(coc_px)))
        right = left[:, ::-1].copy()
        return (left, right) if coc_px >= 0.0 else (right, left)


def combined_kernel(pair: KernelPair) -> np.ndarray:
    """The kernel of the combined view, which sees the whole aperture: the mean of (K_L, K_R)."""
    return np.asarray(0.5 * (pair[0] + pair[1]))


def project(aperture: Aperture, radius_px: float) -> np.ndarray:
    """Put the aperture, scaled to radius_px, on the pixel grid. Returns (k, k) float64, sum 1.

    Each cell is light spread evenly, each pixel gathers it with a tent two pixels wide: what
    averaging a linearly interpolated picture over the aperture comes to.
    """
    share = pixel_shares(cell_edges(aperture) * radius_px)
    kernel = share @ aperture.light @ share.T
    # Symmetric top to bottom by the aperture; made so to the last bit, too.
    kernel = kernel + kernel[::-1]
    return np.asarray(kernel / kernel.sum())


def cell_edges(aperture: Aperture) -> np.ndarray:
    """Borders of the cells along one side, (n + 1,), exactly symmetric about 0."""
    count = aperture.light.shape[0]
    return (np.arange(count + 1) - count // 2) * (2.0 * aperture.extent / count)


def cell_middles(extent: float) -> np.ndarray:
    """Middles of CELLS cells over [-extent, extent], exactly symmetric about 0."""
    return (np.arange(CELLS) - (CELLS - 1) / 2.0) * (2.0 * extent / CELLS)


def pixel_shares(edges_px: np.ndarray, half: int | None = None) -> np.ndarray:
    """Shares of the light of even cells that pixels gather with a tent two pixels wide.

    edges_px: (n + 1,) borders of the cells, ascending, all alike where the light is one point.
    half: pixels -half to half are there; None takes as many as the light needs.
    Returns float64 (2 half + 1, n), each column sums to 1 and keeps its cell's centroid.
    """
    reach = int(np.ceil(max(-edges_px[0], edges_px[-1])))
    half = reach if half is None else half
    if reach > 1:
        pixels = np.arange(-half, half + 1.0)[:, None]
        return np.asarray(np.diff(_tent_integral(edges_px - pixels)) / np.diff(edges_px))
    # Within a pixel of the middle a difference of integrals would lose digits: the tents of the
    # three pixels are 1 - |x| and the positive and negative part of x, averaged over each cell.
    left, right = edges_px[:-1], edges_px[1:]
    middle = 0.5 * (left + right)
    distance = np.abs(middle)
    across = (left < 0.0) & (right > 0.0)
    squares = left[across] ** 2 + right[across] ** 2
    distance[across] = 0.5 * squares / (right[across] - left[across])
    three = np.stack([0.5 * (distance - middle), 1.0 - distance, 0.5 * (distance + middle)])
    return np.pad(three, ((half - 1, half - 1), (0, 0))) if half >= 1 else three[1:2]


def _tent_integral(x: np.ndarray) -> np.ndarray:
    """Integral of max(0, 1 - |t|) for t up to x."""
    x = np.clip(x, -1.0, 1.0)
    return np.where(x < 0.0, 0.5 * (1.0 + x) ** 2, 1.0 - 0.5 * (1.0 - x) ** 2)
