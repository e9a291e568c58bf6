"""From a scene and parameters to a dual-pixel pair."""

from functools import partial
from typing import Any

import numpy as np

from synth.choices import MEASURED, PUBLISHED
from synth.color import linear_to_srgb, quantize, srgb_to_linear
from synth.crop import crop_and_resize
from synth.distortion import distort, distort_nearest
from synth.parameters import PairParameters
from synth.psf import PSF_FAMILIES, FieldPsf
from synth.published_cameras import DddSynCamera
from synth.render import (
    CentredWindow,
    PublishedWindow,
    Renderer,
    render_gather,
    render_layered,
    render_scatter,
)
from synth.scene import Scene, SyntheticPair


def synthesize(
    scene: Scene,
    parameters: PairParameters,
    rng: np.random.Generator,
    *,
    bank: FieldPsf | None = None,
) -> SyntheticPair:
    """Photograph a scene with a dual-pixel camera.

    rng: for the noise alone; the same scene, parameters and stream give the same bytes on one kind
    of processor. bank: the kernels over the field of the family `measured`.
    Light goes through the lens (blur, distortion), is cropped where the camera says so, shared
    between the views (gain), and read out (noise); the combined picture is the mean of the two
    views as read out, before any of them is rounded. All of it happens in linear light, unless the
    parameters say srgb as the published generators do; the pictures are sRGB. Raises ValueError
    where a bank is missing or not asked for, and what the camera and the renderer raise.
    """
    if (bank is not None) != (parameters.family == MEASURED):
        raise ValueError(
            f"kernel family {parameters.family} and "
            f"{'no bank' if bank is None else 'a bank'} of measured kernels: "
            f"a bank goes with the family {MEASURED}, and with no other"
        )
    coc_px = parameters.camera.coc_px(scene.depth_m, max_coc_px=parameters.max_coc_px)
    linear = parameters.light == "linear"
    image = srgb_to_linear(scene.image) if linear else scene.image
    views = _renderer(parameters)(image, coc_px, _kernels(parameters, bank))
    target = scene.image
    if parameters.radial_distortion is not None:
        coefficients = parameters.radial_distortion
        views = distort(views[0], coefficients), distort(views[1], coefficients)
        sharp = distort(image, coefficients)
        target = linear_to_srgb(sharp) if linear else sharp
        coc_px = distort_nearest(coc_px, coefficients)
    if parameters.cropped_to is not None and isinstance(parameters.camera, DddSynCamera):
        part, size = parameters.camera.crop(*coc_px.shape), parameters.cropped_to
        views = tuple(np.clip(crop_and_resize(view, part, size), 0.0, 1.0) for view in views)
        resized_coc_px = crop_and_resize(coc_px, part, size)
        # Bicubic overshoots at depth edges: that must not make far blur of near.
        coc_px = np.clip(resized_coc_px, coc_px.min(), coc_px.max())
        target = crop_and_resize(target, part, size)
    left, right = (
        _add_noise(_amplify(view, gain), parameters, rng)
        for view, gain in zip(views, parameters.gain, strict=True)
    )
    read_out = (left, right, 0.5 * (left + right))
    encoded = [linear_to_srgb(view) for view in read_out] if linear else list(read_out)
    left, right, combined, target = (
        np.ascontiguousarray(quantize(picture, parameters.bit_depth))
        for picture in (*encoded, target)
    )
    return SyntheticPair(left=left, right=right, combined=combined, target=target, coc_px=coc_px)


def _renderer(parameters: PairParameters) -> Renderer:
    """The renderer by its name, with the options that it has."""
    renderers: dict[str, Renderer] = {
        "layered": partial(render_layered, composite=parameters.composite),
        "gather": partial(render_gather, border=parameters.border),
        "scatter": render_scatter,
    }
    return renderers[parameters.renderer]


def _kernels(parameters: PairParameters, bank: FieldPsf | None) -> Any:
    """What the renderer takes for kernels: a window for scatter, which knows nothing else."""
    published = parameters.family == PUBLISHED
    if parameters.renderer == "scatter":
        return PublishedWindow() if published else CentredWindow(parameters.psf.height)
    if bank is not None:
        return bank
    if published:
        return parameters.psf
    return partial(PSF_FAMILIES[parameters.family], params=parameters.psf)


def _amplify(linear: np.ndarray, gain: float) -> np.ndarray:
    """What one view gets of the light; what is brighter than white is clipped."""
    return linear if gain == 1.0 else np.clip(linear * np.float32(gain), 0.0, 1.0)


def _add_noise(
    linear: np.ndarray, parameters: PairParameters, rng: np.random.Generator
) -> np.ndarray:
    if parameters.shot_noise == 0.0 and parameters.read_noise == 0.0:
        return linear
    variance = parameters.shot_noise**2 * np.maximum(linear, 0.0) + parameters.read_noise**2
    noise = rng.standard_normal(linear.shape, dtype=np.float32)
    return np.clip(linear + noise * np.sqrt(variance), 0.0, 1.0)
