"""Integral-image kernels, after Pan et al., "Dual pixel exploration" (CVPR 2021, DDD-syn),
in a centred, sub-pixel form.

The published generator spreads each pixel over a square window that starts at the pixel, to the
right and down in one view, to the left and down in the other, of whole size and on one side of
focus only. Here the window is centred vertically, of any size, and swaps sides in focus.
"""

from dataclasses import dataclass

import numpy as np

from synth.psf.family import CELLS, Aperture, PsfFamily


@dataclass(frozen=True, kw_only=True, slots=True)
class IntegralParameters:
    """Shape of the window, in units of the blur radius. The window is one blur radius wide."""

    height: float = 2.0
    """Height of the window: 2 is half of a square aperture, 1 the published square window."""

    def __post_init__(self) -> None:
        if not 0.0 < self.height <= 2.0:
            raise ValueError(f"integral.height must lie in (0, 2], got {self.height}")


def _aperture(params: IntegralParameters) -> Aperture:
    edges = np.linspace(-1.0, 1.0, CELLS + 1)
    reach = 0.5 * params.height
    rows = np.diff(np.clip(edges, -reach, reach))  # cells at the rim count by what lies inside
    columns = np.diff(np.clip(edges, 0.0, 1.0))
    return Aperture(np.outer(rows, columns), 1.0)


def _sample(rng: np.random.Generator) -> IntegralParameters:
    return IntegralParameters(height=float(rng.uniform(1.0, 2.0)))


INTEGRAL = PsfFamily("integral", IntegralParameters, _aperture, _sample)
