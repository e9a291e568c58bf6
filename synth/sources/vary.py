"""Other pictures of a scene that was photographed once: mirrored, and in other colours."""

import numpy as np

from synth.color import linear_to_srgb, srgb_to_linear
from synth.scene import Scene

_GREY = np.array([0.2126, 0.7152, 0.0722], np.float32)


def mirrored(scene: Scene) -> Scene:
    """The scene seen in a mirror, left for right: picture and depth alike, before any lens."""
    image, depth_m = (np.ascontiguousarray(a[:, ::-1]) for a in (scene.image, scene.depth_m))
    return Scene(scene.scene_id, image, depth_m)


def recoloured(scene: Scene, rng: np.random.Generator, strength: float) -> Scene:
    """The scene in other light and other paint; depth stays.

    strength: 0 changes nothing; at 1 exposure varies by a factor of 1.4 (one standard deviation),
    the balance of the channels by 1.1, saturation from 0.5 to 1.4, gamma by 1.2, and up to 0.4 of
    each channel is exchanged for another one. White stays within the picture: no more than a
    hundredth of it gets brighter than white that was not.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength must be from 0 to 1, got {strength:g}")
    exchange = strength * rng.uniform(0.0, 0.4)
    mix = (1.0 - exchange) * np.eye(3) + exchange * np.eye(3)[rng.permutation(3)]
    saturation = 1.0 + strength * (rng.uniform(0.5, 1.4) - 1.0)
    mix = mix @ (saturation * np.eye(3) + (1.0 - saturation) * np.outer(_GREY, np.ones(3)))
    gains = np.exp(strength * (rng.normal(0.0, np.log(1.4)) + rng.normal(0.0, np.log(1.1), 3)))
    gamma = float(np.exp(strength * rng.normal(0.0, np.log(1.2))))
    light = np.maximum(srgb_to_linear(scene.image) @ (mix * gains).astype(np.float32), 0.0)
    brightest = float(np.quantile(light.max(axis=2), 0.99))
    light /= np.float32(max(brightest, 1.0))
    return Scene(scene.scene_id, linear_to_srgb(light) ** np.float32(gamma), scene.depth_m)
