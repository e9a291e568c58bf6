"""Point spread functions of the two half-apertures. A new family is a file and a line here."""

from synth.psf.butterworth import BUTTERWORTH, ButterworthParameters, published_butterworth
from synth.psf.family import Aperture, KernelPair, PsfFamily
from synth.psf.integral import INTEGRAL, IntegralParameters

PSF_FAMILIES: dict[str, PsfFamily] = {family.name: family for family in (BUTTERWORTH, INTEGRAL)}
"""Every kernel family by its name in configuration files."""

__all__ = [
    "PSF_FAMILIES",
    "Aperture",
    "ButterworthParameters",
    "IntegralParameters",
    "KernelPair",
    "PsfFamily",
    "published_butterworth",
]
