"""The layered renderer: front-to-back compositing of blurred colours and mattes.

Pixels on depth edges are first taken apart (`synth.edges`). Then the picture is cut into layers by
equal steps of the signed blur radius; what lies between two steps belongs to both in proportion, so
that slopes change without jumps. Nearer layers cover farther ones. For layer i with kernel K, matte
A_i and S_i = the mattes of layer i and all behind it:

    colour_i = K * (A_i I) / K * S_i        alpha_i = K * A_i / K * S_i
    view     = sum_i colour_i * prod_{j nearer than i} (1 - alpha_j)

Dividing by K * S_i (Ikoma et al., "Depth from defocus with learned optics", ICCP 2021) counts only
what the camera can know of a layer: what nearer layers hide. So edges neither darken nor bleed,
and where neighbouring layers have one kernel the products telescope and leave the plain
convolution. Where K * S_i vanishes, under a nearer layer that is itself
seen through at its blurred edge, the layer is continued smoothly from its surroundings.

`composite="sum"` is Eq. 5 of the K3DN paper instead: blurs of masked layers, summed,

    view     = sum_i K * (A_i I)

which darkens or brightens depth edges; on a scene of one depth the two agree. The layers partition
the picture in both (Eq. 3, 4).
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from synth.cells import CELL, Part, any_in_cells, cells_of, grown, parts_of
from synth.edges import separate_edges, whole_pixels
from synth.extend import extend_unknown
from synth.psf.field import FieldPsf
from synth.render.blur import FieldBlur
from synth.render.interface import Psf, check_scene, check_step
from synth.render.layers import ROUNDING, Layer, cut_layers
from synth.render.levels import levels_of

KNOWN = 0.02
"""Share of a kernel that must fall on known scene to be trusted fully."""
_OPAQUE = 1e-4  # light that still passes when all behind is taken as hidden


def render_layered(
    linear_image: np.ndarray,
    coc_px: np.ndarray,
    psf: Psf | FieldPsf,
    *,
    step_px: float = 0.5,
    mixed_edges: bool = True,
    composite: Literal["over", "sum"] = "over",
) -> tuple[np.ndarray, np.ndarray]:
    """Render the two dual-pixel views of a sharp picture.

    linear_image: (H, W, 3) linear light. coc_px: (H, W) signed blur radius, near positive.
    psf: signed radius in pixels -> (K_L, K_R), or kernels over the field. step_px: distance of
    neighbouring layers. mixed_edges: pixels on depth edges hold light of both sides, as in any
    antialiased picture, and are taken apart; False takes each pixel as of one depth.
    composite: over, nearer layers before farther ones; sum, Eq. 5 of the paper.
    Returns (left, right), float32 (H, W, 3), linear light. The scene goes on mirrored beyond the
    borders. Raises ValueError on shapes that do not fit, values that are not finite, a step that
    is not positive, or an unknown composite.
    """
    check_scene(linear_image, coc_px)
    check_step(step_px)
    if composite not in ("over", "sum"):
        raise ValueError(f"unknown composite {composite!r}: choose from over, sum")
    height, width = coc_px.shape
    blur = FieldBlur(psf, (height, width))
    levels = levels_of(np.array([coc_px.min(), coc_px.max()], dtype=np.float64), step_px)
    levels = np.array([np.floor(levels[0]), np.ceil(levels[1])])
    # Whole cells, so that those of the padded picture are those of the picture.
    pad = -(-(blur.reach_px((levels * step_px).tolist()) + 1) // CELL) * CELL
    padded_coc = np.pad(coc_px, pad, mode="symmetric")
    padded_image = np.pad(linear_image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    take_apart = separate_edges if mixed_edges else whole_pixels
    fragments = take_apart(padded_image, padded_coc)
    layers = cut_layers(fragments, (padded_coc.shape[0], padded_coc.shape[1]), step_px=step_px)
    compose = _compose_over if composite == "over" else _compose_sum
    left, right = compose(layers, blur, (height, width), pad).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(left), np.ascontiguousarray(right)


def _compose_sum(
    layers: Iterator[Layer], blur: FieldBlur, size: tuple[int, int], pad: int
) -> np.ndarray:
    """Eq. 5: blurred masked layers, summed. Returns float32 (2, 3, H, W)."""
    views = np.zeros((2, 3, *size), dtype=np.float32)
    for layer in layers:
        reached = _reached(layer.occupied, pad, blur.half_px(layer.coc_px))
        _add_blur(blur, layer.light, layer.coc_px, reached, pad, views)
    return views


def _compose_over(
    layers: Iterator[Layer], blur: FieldBlur, size: tuple[int, int], pad: int
) -> np.ndarray:
    """Nearer layers before farther ones. Returns float32 (2, 3, H, W).

    Each layer is worked on only in the cells that it reaches or may be continued into, and of those
    where light still passes.
    """
    views = np.zeros((2, 3, *size), dtype=np.float32)
    passing = np.ones((2, *size), dtype=np.float32)
    lit = np.ones(cells_of(size), dtype=bool)
    # Allocated once, written again for each layer: fresh memory costs more than the blur itself.
    blurred, known = np.zeros((2, 4, *size), np.float32), np.zeros((2, 1, *size), np.float32)
    around = pad // CELL + 2  # as far as any kernel reaches, and some known pixels more
    nearer: np.ndarray | None = None
    for layer in layers:
        if not lit.any():
            break
        half = blur.half_px(layer.coc_px)
        reached = _reached(layer.occupied, pad, half)
        hidden = _hidden(layer, grown(reached & lit, around) & grown(lit, 1), pad)
        seen = (reached | hidden) & lit
        region = seen | grown(hidden, around)
        parts = list(parts_of(region, size))
        for rows, columns in parts:
            # Continuing looks a pixel ahead of a part.
            cleared = (
                ...,
                slice(max(rows.start - 1, 0), rows.stop),
                slice(max(columns.start - 1, 0), columns.stop),
            )
            blurred[cleared], known[cleared] = 0.0, 0.0
            region[_cells_in((rows, columns))] = True
        _add_blur(blur, layer.planes, layer.coc_px, reached & region, pad, blurred)
        if nearer is not None:
            covered = _reached(nearer, pad, half) & region
            _add_blur(blur, layer.front[None], layer.coc_px, covered, pad, known)
            _normalise(blurred, known[:, 0], passing, parts)
        for part in parts:
            if not seen[_cells_in(part)].any():
                continue
            alpha = np.clip(blurred[:, 3, *part], 0.0, 1.0)
            light = blurred[:, :3, *part]
            light *= passing[:, None, *part]
            views[..., *part] += light
            passing[..., *part] *= np.subtract(1.0, alpha, out=alpha)
            lit[_cells_in(part)] = any_in_cells(passing[..., *part].max(axis=0) > _OPAQUE)
        nearer = layer.occupied if nearer is None else nearer | layer.occupied
    # Each layer's light was divided by what is known of it; the rest that passes all is rounding.
    views /= np.maximum(1.0 - passing, 1e-3)[:, None]
    return views


def _add_blur(
    blur: FieldBlur,
    planes: np.ndarray,
    coc_px: float,
    where: np.ndarray,
    pad: int,
    result: np.ndarray,
) -> None:
    """Blur padded planes in the cells asked for and add that to result (2, C, H, W)."""
    for rows, columns, values in blur.tiles(planes, coc_px, where, origin=(pad, pad)):
        result[:, :, rows, columns] += values


def _normalise(
    blurred: np.ndarray, front: np.ndarray, passing: np.ndarray, parts: Sequence[Part]
) -> None:
    """Divide by what is known of a layer, K * S; continue it where that is nothing, in place.

    blurred: (2, 4, H, W), K * planes. front: (2, H, W), K * (1 - S), which becomes the confidence.
    passing: (2, H, W), the light that comes through nearer layers. parts: where to work; all else
    counts as known to be empty.
    """
    size = passing.shape[1:]
    unsure = np.zeros(cells_of(size), dtype=bool)
    for part in parts:
        known = np.subtract(1.0, front[..., *part])
        known *= known >= ROUNDING
        confidence = np.minimum(known / KNOWN, 1.0, out=front[..., *part])
        # Values times confidence: where all is known, values.
        blurred[..., *part] /= np.maximum(known, KNOWN)[:, None]
        holes = (confidence < 1.0) & (passing[..., *part] > _OPAQUE)
        if holes.any():
            unsure[_cells_in(part)] = any_in_cells(holes.any(axis=0))
    extend_unknown(blurred, front, look_at=parts, fill=unsure)


def _hidden(layer: Layer, where: np.ndarray, pad: int) -> np.ndarray:
    """Of some cells of the picture those in which nearer layers hide (nearly) all of a pixel."""
    hidden = np.zeros_like(where)
    inner = np.s_[pad : layer.front.shape[0] - pad, pad : layer.front.shape[1] - pad]
    front = layer.front[inner]
    for part in parts_of(where, front.shape):
        behind = front[part] >= 1.0 - KNOWN
        if behind.any():
            hidden[_cells_in(part)] = any_in_cells(behind)
    return hidden


def _reached(cells: np.ndarray, pad: int, half: int) -> np.ndarray:
    """The cells of the picture that kernels of a half side reach from cells of the padded one."""
    margin = pad // CELL
    reached = grown(cells, -(-half // CELL))
    return reached[margin : cells.shape[0] - margin, margin : cells.shape[1] - margin]


def _cells_in(part: Part) -> Part:
    """Rows and columns of the cells that a part of the picture covers."""
    rows, columns = (slice(place.start // CELL, -(-place.stop // CELL)) for place in part)
    return rows, columns
