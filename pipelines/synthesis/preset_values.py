"""What a preset of ``k3dn synth`` says of its keys."""

from typing import Any

from synth.camera import CameraRanges
from synth.presets import PRESETS, CameraPreset, PublishedPreset


def published_preset(name: str | None) -> PublishedPreset | None:
    """Return the preset of a published set; None for a set of our own."""
    if name is None:
        return None
    preset = PRESETS.get(name)
    return preset if isinstance(preset, PublishedPreset) else None


def preset_values(name: str) -> dict[str, Any]:
    """Return the keys of ``k3dn synth`` that a preset has a say in, by name; empty for unknown."""
    preset = PRESETS.get(name)
    if preset is None:
        return {}
    if isinstance(preset, PublishedPreset):
        return {
            "dataset": name,
            "pairs": sum(preset.pairs.values()),
            **fixed_values(name),
        }
    if isinstance(preset, CameraPreset):
        shots = preset.ranges
        return {
            "dataset": name,
            "pairs": preset.pairs,
            "size": f"{preset.size[0]}x{preset.size[1]}",
            "kernels": list(shots.families),
            "bit_depth": shots.bit_depth,
            "shot_noise": shots.shot_noise[1],
            "read_noise": shots.read_noise[1],
            "gain": shots.gain,
            **CAMERA_FIXED,
        }
    ranges = preset.ranges
    assert isinstance(ranges.cameras, CameraRanges)  # so that blur is drawn
    least_px, most_px = ranges.cameras.extreme_coc_px
    return {
        "dataset": name,
        "pairs": preset.pairs,
        "size": f"{preset.size[0]}x{preset.size[1]}",
        "kernels": list(ranges.families),
        "renderer": ranges.renderer,
        "composite": ranges.composite,
        "light": ranges.light,
        "min_coc_px": least_px,
        "max_coc_px": most_px,
        "bit_depth": ranges.bit_depth,
        "shot_noise": ranges.shot_noise,
        "read_noise": ranges.read_noise,
        "radial_distortion": ranges.radial_distortion,
        "gain": ranges.gain,
    }


CAMERA_FIXED: dict[str, Any] = {
    "renderer": "layered",
    "composite": "over",
    "light": "linear",
    "min_coc_px": None,
    "max_coc_px": None,
    "radial_distortion": 0.0,
}
"""The keys that are what they are in preset camera: blur is a share of the width there."""


def fixed_values(name: str) -> dict[str, Any]:
    """Return the keys that are what they are in a published set."""
    preset = published_preset(name)
    assert preset is not None
    fixed: dict[str, Any] = {} if preset.distorts else {"radial_distortion": 0.0}
    return fixed | {
        "kernels": [preset.name],
        "renderer": preset.renderer,
        "composite": "over",
        "light": preset.light,
        "size": None,
        "min_coc_px": None,
        "bit_depth": preset.bit_depth,
        "max_coc_px": preset.max_coc_px,
        "shot_noise": 0.0,
        "read_noise": 0.0,
        "gain": 0.0,
        "mirror": 0.0,
        "recolour": 0.0,
    }


def source_of(name: str) -> str:
    """Return in words what a published set is made from."""
    preset = published_preset(name)
    assert preset is not None
    return _SOURCES[preset.source]


_SOURCES = {
    "nyu": "NYU Depth v2's labelled file, source=.../nyu_depth_v2_labeled.mat",
    "synthia-sf": "SYNTHIA-SF, source=FOLDER with SEQ1/RGBLeft and SEQ1/DepthLeft in it",
}
