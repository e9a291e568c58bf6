"""The real RGB-D scene that comes with scikit-image: Middlebury 2014 "Motorcycle"."""

import numpy as np

from synth.scene import Scene
from synth.sources.fit import fit_scene
from synth.sources.holes import fill_depth
from synth.sources.patterns import Size
from synth.sources.textures import as_unit_float

# Calibration of the 741 x 500 version, as scikit-image gives it.
_FOCAL_LENGTH_PX = 994.978
_BASELINE_M = 0.193001
_PRINCIPAL_OFFSET_PX = 31.086


def motorcycle_scene(size: Size | None = None, *, rng: np.random.Generator | None = None) -> Scene:
    """The left picture with depth from its measured disparity: z = f B / (d + offset).

    size, rng: as for `synth.sources.fit.fit_scene`; None keeps 500 x 741. Unknown disparity (NaN)
    is filled with the depth of the surface behind.
    """
    from skimage import data

    left, _, disparity_px = data.stereo_motorcycle()
    known = np.isfinite(disparity_px) & (disparity_px > -_PRINCIPAL_OFFSET_PX)
    distance_px = np.where(known, disparity_px, 0.0) + _PRINCIPAL_OFFSET_PX
    depth_m = fill_depth(_FOCAL_LENGTH_PX * _BASELINE_M / distance_px, known, max_unknown=0.25)
    return fit_scene(Scene("motorcycle", as_unit_float(left), depth_m), size, rng)
