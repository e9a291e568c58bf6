"""From a scene and parameters to a dual-pixel pair."""

from functools import partial

import numpy as np

from synth.color import linear_to_srgb, quantize, srgb_to_linear
from synth.parameters import PairParameters
from synth.psf import PSF_FAMILIES
from synth.render import render_layered
from synth.scene import Scene, SyntheticPair


def synthesize(scene: Scene, parameters: PairParameters, rng: np.random.Generator) -> SyntheticPair:
    """Photograph a scene with a dual-pixel camera.

    rng: for the noise alone; the same scene, parameters and stream give the same bytes on one kind
    of processor. Blur, noise and the mean of the views are in linear light, the pictures in sRGB.
    """
    coc_px = parameters.camera.coc_px(scene.depth_m, max_coc_px=parameters.max_coc_px)
    psf = partial(PSF_FAMILIES[parameters.family], params=parameters.psf)
    views = render_layered(srgb_to_linear(scene.image), coc_px, psf)
    left, right = (_add_noise(view, parameters, rng) for view in views)
    encoded = [linear_to_srgb(view) for view in (left, right, 0.5 * (left + right))]
    left, right, combined, target = (
        quantize(picture, parameters.bit_depth) for picture in (*encoded, scene.image)
    )
    return SyntheticPair(left=left, right=right, combined=combined, target=target, coc_px=coc_px)


def _add_noise(
    linear: np.ndarray, parameters: PairParameters, rng: np.random.Generator
) -> np.ndarray:
    if parameters.shot_noise == 0.0 and parameters.read_noise == 0.0:
        return linear
    variance = parameters.shot_noise**2 * np.maximum(linear, 0.0) + parameters.read_noise**2
    noise = rng.standard_normal(linear.shape, dtype=np.float32)
    return np.clip(linear + noise * np.sqrt(variance), 0.0, 1.0)
