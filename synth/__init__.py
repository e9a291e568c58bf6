"""The physics of dual-pixel image formation: RGB-D scenes to left and right views.

Needs numpy and torch alone; OpenCV makes it faster on a CPU. Sources of scenes live in
`synth.sources`.

What stands here is imported when somebody asks for it: whoever reads pictures alone
(`synth.pictures`) does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth.camera import Camera, CameraRanges, LensRanges
    from synth.camera_pair import photograph
    from synth.color import linear_to_srgb, quantize, srgb_to_linear
    from synth.pair import synthesize
    from synth.parameters import PairParameters, PairRanges, sample_parameters
    from synth.presets import PRESETS
    from synth.psf import PSF_FAMILIES, FieldPsf, MeasuredBank, load_measured_bank
    from synth.published_cameras import PUBLISHED_CAMERAS
    from synth.randomness import generator
    from synth.render import render_layered
    from synth.scene import Scene, SyntheticPair
    from synth.shot import ShotParameters, draw_shot
    from synth.shot_ranges import ShotRanges

_MODULES = {
    "Camera": "synth.camera",
    "CameraRanges": "synth.camera",
    "FieldPsf": "synth.psf",
    "LensRanges": "synth.camera",
    "MeasuredBank": "synth.psf",
    "PRESETS": "synth.presets",
    "PSF_FAMILIES": "synth.psf",
    "PUBLISHED_CAMERAS": "synth.published_cameras",
    "PairParameters": "synth.parameters",
    "PairRanges": "synth.parameters",
    "Scene": "synth.scene",
    "ShotParameters": "synth.shot",
    "ShotRanges": "synth.shot_ranges",
    "SyntheticPair": "synth.scene",
    "draw_shot": "synth.shot",
    "generator": "synth.randomness",
    "linear_to_srgb": "synth.color",
    "load_measured_bank": "synth.psf",
    "photograph": "synth.camera_pair",
    "quantize": "synth.color",
    "render_layered": "synth.render",
    "sample_parameters": "synth.parameters",
    "srgb_to_linear": "synth.color",
    "synthesize": "synth.pair",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for. Raises AttributeError for what is not here."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


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
