"""Point spread functions of the two half-apertures. A new family is a file and a line here."""

from synth.psf.butterworth import BUTTERWORTH, ButterworthParameters
from synth.psf.family import Aperture, KernelPair, PsfFamily, combined_kernel
from synth.psf.field import FieldPsf
from synth.psf.integral import INTEGRAL, IntegralParameters
from synth.psf.measured import MeasuredBank, load_measured_bank
from synth.psf.published import (
    KernelTriple,
    published_butterworth,
    published_integral_window,
    published_translating_disk,
)
from synth.psf.translating_disk import TRANSLATING_DISK, TranslatingDiskParameters

PSF_FAMILIES: dict[str, PsfFamily] = {
    family.name: family for family in (BUTTERWORTH, INTEGRAL, TRANSLATING_DISK)
}
"""Every kernel family by its name in configuration files."""

__all__ = [
    "PSF_FAMILIES",
    "Aperture",
    "ButterworthParameters",
    "FieldPsf",
    "IntegralParameters",
    "KernelPair",
    "KernelTriple",
    "MeasuredBank",
    "PsfFamily",
    "TranslatingDiskParameters",
    "combined_kernel",
    "load_measured_bank",
    "published_butterworth",
    "published_integral_window",
    "published_translating_disk",
]
