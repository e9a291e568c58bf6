"""The gathering renderer: each pixel of a view is the sharp picture blurred by that pixel's depth.

    view(x) = sum_u K_{c(x)}(u) I(x - u)

This is what the published RDPD generator comes to (Abuolaim et al., ICCV 2021): its layer masks
select among blurs of the whole picture. It knows no occlusion: sharp texture leaks into blurred
surfaces next to it and depth steps stay hard edges. `synth.render.layered` mends that.
"""

from typing import Literal

import numpy as np

from synth.psf.field import FieldPsf
from synth.render.blur import FieldBlur
from synth.render.interface import Psf, check_scene, check_step
from synth.render.levels import levels_of, occupied_cells


def render_gather(
    linear_image: np.ndarray,
    coc_px: np.ndarray,
    psf: Psf | FieldPsf,
    *,
    step_px: float = 0.5,
    border: Literal["symmetric", "reflect"] = "symmetric",
) -> tuple[np.ndarray, np.ndarray]:
    """Render the two dual-pixel views of a sharp picture, each pixel by its own depth's kernel.

    linear_image: (H, W, 3). coc_px: (H, W) signed blur radius, near positive. psf: signed radius
    -> (K_L, K_R), or kernels over the field. step_px: radii in between mix the two neighbours'.
    border: how the picture goes on beyond its edges; reflect is the published generator's.
    Returns (left, right), float32 (H, W, 3). Values are mixed as they are: the published generator
    gave gamma-encoded ones. Each blur radius is worked on only near the pixels that have it.
    Raises ValueError on shapes that do not fit, values that are not finite, a step not positive.
    """
    check_scene(linear_image, coc_px)
    check_step(step_px)
    height, width = coc_px.shape
    position = levels_of(coc_px.astype(np.float32, copy=False), step_px)
    whole = bool((position == np.rint(position)).all())
    levels, occupied = occupied_cells(position, whole=whole)
    blur = FieldBlur(psf, (height, width))
    pad = blur.reach_px([float(level) * step_px for level in levels])
    planes = np.pad(linear_image.transpose(2, 0, 1), ((0, 0), (pad, pad), (pad, pad)), mode=border)
    planes = planes.astype(np.float32, copy=False)

    views = np.zeros((2, 3, height, width), dtype=np.float32)
    # Published radii are whole steps: each pixel is then of one layer, and copied. The largest
    # layer is laid down first, unmasked, and the others over it.
    copies = whole and not blur.varies
    order = np.argsort(-np.count_nonzero(occupied, axis=(1, 2)), kind="stable")
    for level, where in zip(levels[order], occupied[order], strict=True):
        for rows, columns, values in blur.tiles(
            planes, float(level) * step_px, where, origin=(pad, pad)
        ):
            part, place = views[:, :, rows, columns], position[rows, columns]
            if not copies:
                part += values * np.maximum(1.0 - np.abs(place - np.float32(level)), 0.0)
            elif level == levels[order[0]]:
                part[...] = values
            else:
                np.copyto(part, values, where=place == level)
    left, right = views.transpose(0, 2, 3, 1)
    return left, right
