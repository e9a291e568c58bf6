"""The physics of dual-pixel image formation: RGB-D scenes to left and right views.

Needs numpy and torch alone. Sources of scenes live in `synth.sources`.
"""

from synth.camera import Camera
from synth.color import linear_to_srgb, quantize, srgb_to_linear
from synth.pair import synthesize
from synth.parameters import PairParameters, sample_parameters
from synth.psf import PSF_FAMILIES
from synth.randomness import generator
from synth.render import render_layered
from synth.scene import Scene, SyntheticPair

__all__ = [
    "PSF_FAMILIES",
    "Camera",
    "PairParameters",
    "Scene",
    "SyntheticPair",
    "generator",
    "linear_to_srgb",
    "quantize",
    "render_layered",
    "sample_parameters",
    "srgb_to_linear",
    "synthesize",
]
