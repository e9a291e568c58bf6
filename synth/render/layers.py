"""Cutting a picture into layers by equal steps of its signed blur radii.

What lies between two steps belongs to both in proportion, so that slopes change without jumps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synth.cells import CELL, parts_of
from synth.edges import Fragments
from synth.render.levels import levels_of, occupied_cells

ROUNDING = 1e-5
"""What sums of shares may be off."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What lies near one blur radius, in the padded picture."""

    coc_px: float
    planes: np.ndarray
    """float32 (4, H, W): the picture in this layer, weighted by its share, and the share itself."""
    front: np.ndarray
    """float32 (H, W): share of each pixel in nearer layers."""
    occupied: np.ndarray
    """bool, `cells_of` the picture: where the share is not 0."""

    @property
    def light(self) -> np.ndarray:
        """float32 (3, H, W): the picture in this layer, weighted by its share."""
        return self.planes[:3]

    @property
    def matte(self) -> np.ndarray:
        """float32 (H, W): share of each pixel in this layer; all layers sum to 1."""
        return self.planes[3]


def cut_layers(fragments: Fragments, size: tuple[int, int], *, step_px: float) -> Iterator[Layer]:
    """Cut a picture into layers by its signed blur radii, nearest first, empty ones left out.

    size: (H, W). The mattes partition the picture (Eq. 3, 4): they are in [0, 1] and sum to 1.
    """
    count = size[0] * size[1]
    position = levels_of(fragments.coc_px, step_px).astype(np.float32)
    share = fragments.share.astype(np.float32)
    first_position, first_share = (piece[:count].reshape(size) for piece in (position, share))
    second_position, second_share, second = position[count:], share[count:], fragments.pixel[count:]
    first_light = fragments.light[:, :count].reshape(3, *size)
    second_light = fragments.light[:, count:]
    levels, occupied = occupied_cells(first_position, whole=False)
    row, column = np.divmod(second, size[1])
    for step in (np.floor(second_position), np.ceil(second_position)):
        occupied[np.searchsorted(levels, step), row // CELL, column // CELL] = True
    covered, front = np.zeros((2, *size), dtype=np.float32)
    for level, cells in zip(levels[::-1].astype(np.float32), occupied[::-1], strict=True):
        planes = np.zeros((4, *size), dtype=np.float32)
        parts = list(parts_of(cells, size))
        for part in parts:
            matte = _share_of_layer(first_position[part], level)
            matte *= first_share[part]
            np.multiply(first_light[:, *part], matte, out=planes[:3, *part])
            planes[3, *part] = matte
        here = np.flatnonzero(np.abs(second_position - level) < 1.0)
        matte = _share_of_layer(second_position[here], level) * second_share[here]
        flat = planes.reshape(4, count)
        flat[:3, second[here]] += second_light[:, here] * matte
        flat[3, second[here]] += matte
        yield Layer(float(level) * step_px, planes, front.copy(), cells)
        for part in parts:
            covered[part] += planes[3, *part]
            front[part] = covered[part]
            front[part][covered[part] < ROUNDING] = 0.0
            front[part][covered[part] > 1.0 - ROUNDING] = 1.0


def _share_of_layer(position: np.ndarray, level: float) -> np.ndarray:
    """How much of what lies at a position in steps belongs to the layer at a whole step."""
    share = np.abs(position - level)
    np.subtract(1.0, share, out=share)
    return np.maximum(share, 0.0, out=share)
