"""Lenses for training: kernels of a batch of pictures, over field, colour and defocus, in torch."""

from synth.lens.aperture import ApertureParameters, DrawnApertures, ramp_of
from synth.lens.kernels import Chromatic, FrameWindow, Lens, LensKernels
from synth.lens.shares import pixel_shares

__all__ = [
    "ApertureParameters",
    "Chromatic",
    "DrawnApertures",
    "FrameWindow",
    "Lens",
    "LensKernels",
    "pixel_shares",
    "ramp_of",
]
