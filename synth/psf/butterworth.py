"""Butterworth kernels, after Abuolaim et al., "Learning to reduce defocus blur by realistically
modeling dual-pixel data" (ICCV 2021, RDPD), in a centred, sub-pixel form.

The combined kernel is a disc whose light follows a Butterworth high-pass, so that the rim is
brighter than the middle; the left and right kernels are that disc times a ramp across it.
"""

from dataclasses import dataclass

import numpy as np

from synth.psf.family import CELLS, Aperture, PsfFamily, cell_middles


@dataclass(frozen=True, kw_only=True, slots=True)
class ButterworthParameters:
    """Shape of the Butterworth disc, in units of the blur radius."""

    order: int = 3
    """Order n of the filter: how steeply the light rises from the middle to the rim."""
    cutoff_factor: float = 2.5
    """f: the light has half its rise at 2/f of the radius (1/alpha of the paper)."""
    beta: float = 0.1
    """Light in the middle over light at the corner of the square around the disc."""
    edge_softness: float = 0.06
    """Width of the disc's soft edge over the radius."""
    ramp: float = 0.86
    """How unequal the views are: 0 equal, 1 a ramp from nothing to twice the light."""

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ValueError(f"butterworth.order must be at least 1, got {self.order}")
        if not self.cutoff_factor > 0.0:
            raise ValueError(
                f"butterworth.cutoff_factor must be positive, got {self.cutoff_factor}"
            )
        for name, low, high in (("beta", 0, 1), ("edge_softness", 0, 0.3), ("ramp", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"butterworth.{name} must lie in [{low}, {high}], got {getattr(self, name)}"
                )


def butterworth_profile(
    distance: np.ndarray, order: int, cutoff_factor: float, beta: float
) -> np.ndarray:
    """Light at a distance from the middle, in blur radii: a high-pass rescaled to [beta, 1].

    H = t / (1 + t), t = (distance * f / 2)^(2n); beta in the middle, 1 at the corner (sqrt 2).
    """

    def high_pass(rho: np.ndarray) -> np.ndarray:
        t = (rho * cutoff_factor / 2.0) ** (2 * order)
        return t / (1.0 + t)

    return beta + (1.0 - beta) * high_pass(distance) / high_pass(np.array(np.sqrt(2.0)))


def _aperture(params: ButterworthParameters) -> Aperture:
    extent = 1.0 + 3.0 * params.edge_softness
    axis = cell_middles(extent)
    x, y = np.meshgrid(axis, axis)
    distance = np.hypot(x, y)
    # Half a cell of softness stands for the part of a cell that the rim cuts off.
    softness = max(params.edge_softness, extent / CELLS)
    edge = 0.5 * (1.0 - np.tanh((distance - 1.0) / softness))
    edge[distance > extent] = 0.0
    light = edge * butterworth_profile(distance, params.order, params.cutoff_factor, params.beta)
    return Aperture(light * np.maximum(1.0 + params.ramp * x, 0.0), extent)


def _sample(rng: np.random.Generator) -> ButterworthParameters:
    return ButterworthParameters(
        order=int(rng.choice([1, 2, 3, 6, 9])),
        cutoff_factor=float(rng.uniform(1.0, 2.5)),
        beta=float(rng.uniform(0.1, 0.6)),
        edge_softness=float(rng.uniform(0.03, 0.12)),
        ramp=float(rng.uniform(0.7, 0.84)),
    )


BUTTERWORTH = PsfFamily("butterworth", ButterworthParameters, _aperture, _sample)
