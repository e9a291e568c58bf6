"""Translating-disk kernels, after Punnappurath et al., "Modeling defocus-disparity in dual-pixel
sensors" (ICCP 2020), in a sub-pixel form.

A view is a disc times the sum of discs that slide across it, so that light grows from one rim to
the other. The published sum is over whole pixels of a disc on the pixel grid; here it is the
integral, which in units of the radius is the same at every radius.
"""

from dataclasses import dataclass

import numpy as np

from synth.psf.family import CELLS, Aperture, PsfFamily

_ROWS_A_CELL = 8  # the rim crosses a cell: rows are averaged over as many heights in it


@dataclass(frozen=True, kw_only=True, slots=True)
class TranslatingDiskParameters:
    """How far the disc slides, in units of the blur radius."""

    travel: float = 2.0
    """2 is the published way, the whole diameter; towards 0 the views become equal."""

    def __post_init__(self) -> None:
        if not 0.0 < self.travel <= 2.0:
            raise ValueError(f"translating_disk.travel must lie in (0, 2], got {self.travel}")


def _aperture(params: TranslatingDiskParameters) -> Aperture:
    # Light at (x, y) inside the disc is the length of its chord to the left of x, up to the travel;
    # its integral along a row has a closed form.
    count = CELLS * _ROWS_A_CELL
    y = (np.arange(count) - (count - 1) / 2.0) * (2.0 / count)
    half_chord = np.sqrt(1.0 - y**2)[:, None]
    edges = np.linspace(-1.0, 1.0, CELLS + 1)
    length = np.clip(edges + half_chord, 0.0, 2.0 * half_chord)
    rising = np.minimum(length, params.travel)
    integral = 0.5 * rising**2 + params.travel * (length - rising)
    light = np.diff(integral, axis=1).reshape(CELLS, _ROWS_A_CELL, CELLS).mean(axis=1)
    return Aperture(light, 1.0)


def _sample(rng: np.random.Generator) -> TranslatingDiskParameters:
    return TranslatingDiskParameters(travel=float(rng.uniform(1.0, 2.0)))


TRANSLATING_DISK = PsfFamily("translating_disk", TranslatingDiskParameters, _aperture, _sample)
