"""The gathering renderer: each pixel of a view is the sharp picture blurred by that pixel's depth.

    view(x) = sum_u K_{c(x)}(u) I(x - u)

This is what the published RDPD generator comes to (Abuolaim et al., ICCV 2021): its layer masks
select among blurs of the whole picture. It knows no occlusion: sharp texture leaks into blurred
surfaces next to it and depth steps stay hard edges. `synth.render.layered` mends that.
"""

from typing import Literal

import numpy as np

from synth.convolve import CELL, cells_of
from synth.psf.field import FieldPsf
from synth.render.blur import FieldBlur
from synth.render.interface import Psf, check_scene, check_step, levels_of


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
    levels, occupied = _occupied_cells(position)
    blur = FieldBlur(psf, (height, width))
    pad = blur.reach_px([float(level) * step_px for level in levels])
    padded = np.pad(linear_image, ((pad, pad), (pad, pad), (0, 0)), mode=border)
    planes = padded.astype(np.float32, copy=False).transpose(2, 0, 1)

    views = np.zeros((2, 3, height, width), dtype=np.float32)
    # Published radii are whole steps: each pixel is then of one layer, and copied.
    copies = not blur.varies and bool((position == np.rint(position)).all())
    for level, where in zip(levels, occupied, strict=True):
        for rows, columns, values in blur.tiles(
            planes, float(level) * step_px, where, origin=(pad, pad)
        ):
            distance = np.abs(position[rows, columns] - np.float32(level))
            part = views[:, :, rows, columns]
            if not copies:
                part += values * np.maximum(1.0 - distance, 0.0)
            elif distance.any():
                np.copyto(part, values, where=distance == 0.0)
            else:
                part[...] = values
    left, right = views.transpose(0, 2, 3, 1)
    return left, right


def _occupied_cells(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The whole steps next to any pixel, and for each the cells that hold such pixels.

    Returns int64 (N,) and bool (N, *cells_of(position.shape)).
    """
    rows, columns = cells_of(position.shape)
    lowest, highest = int(np.floor(position.min())), int(np.ceil(position.max()))
    count = highest - lowest + 1
    cell = np.add.outer(
        np.arange(position.shape[0]) // CELL * columns, np.arange(position.shape[1]) // CELL
    )
    lower = np.floor(position)
    key = ((lower - lowest).astype(np.int64) * (rows * columns) + cell).ravel()
    between = key[(position > lower).ravel()] + rows * columns
    flags = np.zeros(count * rows * columns, dtype=bool)
    flags[key] = True
    flags[between] = True
    occupied = flags.reshape(count, rows, columns)
    used = occupied.any(axis=(1, 2))
    return np.arange(lowest, highest + 1)[used], occupied[used]
