"""The physics of dual-pixel image formation: RGB-D scenes to left and right views.

Needs numpy and torch alone; OpenCV makes it faster on a CPU. Sources of scenes live in
`synth.sources`.
"""

from synth.camera import Camera, CameraRanges, LensRanges
from synth.color import linear_to_srgb, quantize, srgb_to_linear
from synth.pair import synthesize
from synth.parameters import PairParameters, PairRanges, sample_parameters
from synth.photograph import photograph
from synth.presets import PRESETS
from synth.psf import PSF_FAMILIES, FieldPsf, MeasuredBank, load_measured_bank
from synth.published_cameras import PUBLISHED_CAMERAS
from synth.randomness import generator
from synth.render import render_layered
from synth.scene import Scene, SyntheticPair
from synth.shot import ShotParameters, ShotRanges, draw_shot

__all__ = [
    "PRESETS",
    "PSF_FAMILIES",
    "PUBLISHED_CAMERAS",
    "Camera",
    "CameraRanges",
    "FieldPsf",
    "LensRanges",
    "MeasuredBank",
    "PairParameters",
    "PairRanges",
    "Scene",
    "ShotParameters",
    "ShotRanges",
    "SyntheticPair",
    "draw_shot",
    "generator",
    "linear_to_srgb",
    "load_measured_bank",
    "photograph",
    "quantize",
    "render_layered",
    "sample_parameters",
    "srgb_to_linear",
    "synthesize",
]
