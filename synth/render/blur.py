"""Convolution with kernels that are one over the picture, or vary over its field."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from synth.cells import CELL, cells_of
from synth.convolve import convolve_tiles
from synth.overlap_save import Tile
from synth.psf.family import KernelPair
from synth.psf.field import FieldPsf
from synth.render.interface import Psf, is_field

_BLEND = 0.5  # share of the way between two places of the field over which their blurs are mixed


@dataclass(frozen=True, slots=True)
class _Place:
    """One place of the field: its kernels, and how much they count along rows and columns."""

    psf: Psf
    rows: np.ndarray
    """float32 (H,): over all places of a column of the grid these sum to 1."""
    columns: np.ndarray
    """float32 (W,)."""
    cells: np.ndarray
    """bool, cells of the picture where the place counts."""


class FieldBlur:
    """Blurs planes of one picture; where kernels vary, places of the field are blended.

    Each pixel of a result is made with the kernels of its own place of the field: those of the
    nearest place, mixed with the neighbours' half-way between them. With a grid the picture is
    blurred about 2.25 times over instead of once, whatever the number of places.
    """

    def __init__(self, psf: Psf | FieldPsf, size: tuple[int, int]) -> None:
        """size: (H, W) of the picture over which the field extends."""
        self._size = size
        self._kernels: dict[tuple[int, float], KernelPair] = {}
        self._places = _places(psf, size)

    def reach_px(self, coc_px: Sequence[float]) -> int:
        """How far kernels of these radii reach from their middle, anywhere in the field.

        Asks for the extremes and the least blur only: reach grows with the radius on either side.
        """
        extremes = {min(coc_px), max(coc_px), min(coc_px, key=abs)}
        numbers = range(len(self._places))
        return max(self._pair(n, c)[0].shape[0] // 2 for n in numbers for c in extremes)

    def half_px(self, coc_px: float) -> int:
        """How far the kernels of one radius reach from their middle, anywhere in the field."""
        return self.reach_px([coc_px])

    @property
    def varies(self) -> bool:
        """Whether kernels vary over the picture: tiles then overlap and are parts of a sum."""
        return len(self._places) > 1

    def tiles(
        self, planes: np.ndarray, coc_px: float, where: np.ndarray, *, origin: tuple[int, int]
    ) -> Iterator[Tile]:
        """Blurred tiles, to be added up, that cover the cells asked for.

        planes: float32 (C, H', W'), the picture's first pixel at origin, which is a kernel's half
        or more from the start. where: bool, `cells_of(size)`. See `convolve_tiles`.
        """
        for number, place in enumerate(self._places):
            wanted = where & place.cells if self.varies else where
            if not wanted.any():
                continue
            kernels = self._pair(number, coc_px)
            assert kernels[0].shape[0] // 2 <= min(origin), "a kernel reaches beyond the planes"
            for rows, columns, values in convolve_tiles(
                planes, kernels, wanted, origin=origin, size=self._size
            ):
                if self.varies:
                    values = values * (place.rows[rows, None] * place.columns[columns])
                yield rows, columns, values

    def _pair(self, number: int, coc_px: float) -> KernelPair:
        key = (number, coc_px)
        if key not in self._kernels:
            if len(self._kernels) > 4 * len(self._places):
                self._kernels.clear()
            self._kernels[key] = self._places[number].psf(coc_px)
        return self._kernels[key]


def _places(psf: Psf | FieldPsf, size: tuple[int, int]) -> list[_Place]:
    cells = cells_of(size)
    if not is_field(psf):
        whole = [np.ones(length, dtype=np.float32) for length in size]
        return [_Place(cast(Psf, psf), whole[0], whole[1], np.ones(cells, dtype=bool))]
    all_rows, all_columns = (
        blend_weights((np.arange(length) + 0.5) / length, count)
        for length, count in zip(size, psf.grid, strict=True)
    )
    places = []
    for (row, rows), (column, columns) in (
        (r, c) for r in enumerate(all_rows) for c in enumerate(all_columns)
    ):
        counts = np.outer(_any_in_cells(rows), _any_in_cells(columns))
        places.append(_Place(psf.psf_at(row, column), rows, columns, counts))
    return places


def blend_weights(along: np.ndarray, count: int) -> np.ndarray:
    """How much each of `count` places along a side counts at each point (N,): (count, N), sum 1.

    along: where the points lie along the side, from 0 to 1.
    """
    position = along * count - 0.5
    distance = np.abs(position - np.arange(count)[:, None])
    weight = np.clip((0.5 + 0.5 * _BLEND - distance) / _BLEND, 0.0, 1.0)
    # Outermost places reach to the border.
    weight[0, position < 0.0] = 1.0
    weight[-1, position > count - 1.0] = 1.0
    return np.asarray(weight / weight.sum(axis=0), dtype=np.float32)


def _any_in_cells(weight: np.ndarray) -> np.ndarray:
    return np.add.reduceat(weight, np.arange(0, len(weight), CELL)) > 0.0
