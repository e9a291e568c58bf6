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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synth.cells import CELL, cells_of
from synth.edges import Fragments, separate_edges, whole_pixels
from synth.extend import extend_unknown
from synth.psf.field import FieldPsf
from synth.render.blur import FieldBlur
from synth.render.interface import Psf, check_scene, check_step, levels_of

_KNOWN = 0.02  # share of a kernel that must fall on known scene to be trusted fully
_OPAQUE = 1e-4  # light that still passes when all behind is taken as hidden
_ROUNDING = 1e-5  # what sums of shares may be off


@dataclass(frozen=True, slots=True)
class Layer:
    """What lies near one blur radius, in the padded picture."""

    coc_px: float
    planes: np.ndarray
    """float32 (4, H, W): the picture in this layer, weighted by its share, and the share itself."""
    front: np.ndarray
    """float32 (H, W): share of each pixel in nearer layers."""
    occupied: np.ndarray
    """bool, `cells_of` the picture: where the share is not 0."""
    rows: np.ndarray
    """int64: the rows in which it is not 0, ascending."""
    columns: np.ndarray
    """int64: the columns."""

    @property
    def light(self) -> np.ndarray:
        """float32 (3, H, W): the picture in this layer, weighted by its share."""
        return self.planes[:3]

    @property
    def matte(self) -> np.ndarray:
        """float32 (H, W): share of each pixel in this layer; all layers sum to 1."""
        return self.planes[3]


def cut_layers(fragments: Fragments, size: tuple[int, int], *, step_px: float) -> Iterator[Layer]:
    """Cut a picture into layers by its signed blur radii, nearest first, empty ones left out.

    size: (H, W). The mattes partition the picture (Eq. 3, 4): they are in [0, 1] and sum to 1.
    """
    position = levels_of(fragments.coc_px, step_px)
    lower = np.floor(position)
    upper_share = position - lower
    level = np.concatenate([lower, lower + 1.0])
    share = np.concatenate([(1.0 - upper_share), upper_share]) * np.tile(fragments.share, 2)
    used = np.flatnonzero(share > 0.0)
    order = used[np.argsort(-level[used], kind="stable")]
    starts = np.flatnonzero(np.diff(level[order], prepend=np.inf))
    count = size[0] * size[1]
    covered = np.zeros(count)
    front = np.zeros(count, dtype=np.float32)
    for members in np.split(order, starts[1:]):
        piece = members % len(fragments.pixel)
        pixel, weight = fragments.pixel[piece], share[members]
        planes = np.zeros((4, count), dtype=np.float32)
        for plane, values in zip(planes, (*fragments.light[piece].T, 1.0), strict=True):
            np.add.at(plane, pixel, (values * weight).astype(np.float32))
        used_rows, used_columns = (np.zeros(length, dtype=bool) for length in size)
        row, column = np.divmod(pixel, size[1])
        used_rows[row], used_columns[column] = True, True
        occupied = np.zeros(cells_of(size), dtype=bool)
        occupied[row // CELL, column // CELL] = True
        yield Layer(
            float(level[members[0]]) * step_px,
            planes.reshape(4, *size),
            front.reshape(size).copy(),
            occupied,
            np.flatnonzero(used_rows),
            np.flatnonzero(used_columns),
        )
        np.add.at(covered, pixel, weight)
        nearer = covered[pixel]
        nearer[nearer < _ROUNDING] = 0.0
        front[pixel] = np.where(nearer > 1.0 - _ROUNDING, 1.0, nearer)


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
        for rows, columns, values in blur.tiles(
            layer.light, layer.coc_px, reached, origin=(pad, pad)
        ):
            views[:, :, rows, columns] += values
    return views


def _compose_over(
    layers: Iterator[Layer], blur: FieldBlur, size: tuple[int, int], pad: int
) -> np.ndarray:
    """Nearer layers before farther ones. Returns float32 (2, 3, H, W)."""
    views = np.zeros((2, 3, *size), dtype=np.float32)
    passing = np.ones((2, *size), dtype=np.float32)
    # Written anew for each layer: fresh memory costs more than the blur itself.
    blurred, known = np.empty((2, 4, *size), np.float32), np.empty((2, 1, *size), np.float32)
    nearer: np.ndarray | None = None
    for layer in layers:
        light_left = passing.max(axis=0)
        if light_left.max() < _OPAQUE:
            break
        half = blur.half_px(layer.coc_px)
        window = _window(layer, light_left, half, pad)
        if window is not None:
            part = (..., *window)
            inside = _cells_of_window(window, cells_of(size))
            reached = _reached(layer.occupied, pad, half) & inside
            _blur(blur, layer.planes, layer.coc_px, reached, pad, blurred)
            if nearer is not None and (hidden := _reached(nearer, pad, half) & inside).any():
                _blur(blur, layer.front[None], layer.coc_px, hidden, pad, known)
                _normalise(blurred[part], known[part][:, 0], passing[part])
            alpha = np.clip(blurred[part][:, 3], 0.0, 1.0)
            light = blurred[part][:, :3]
            light *= passing[part][:, None]
            views[part] += light
            passing[part] *= np.subtract(1.0, alpha, out=alpha)
        nearer = layer.occupied if nearer is None else nearer | layer.occupied
    # Each layer's light was divided by what is known of it; the rest that passes all is rounding.
    views /= np.maximum(1.0 - passing, 1e-3)[:, None]
    return views


def _blur(
    blur: FieldBlur,
    planes: np.ndarray,
    coc_px: float,
    where: np.ndarray,
    pad: int,
    result: np.ndarray,
) -> None:
    """Blur padded planes in the cells asked for into result (2, C, H, W); 0 elsewhere."""
    result.fill(0.0)
    for rows, columns, values in blur.tiles(planes, coc_px, where, origin=(pad, pad)):
        result[:, :, rows, columns] += values


def _normalise(blurred: np.ndarray, front: np.ndarray, passing: np.ndarray) -> None:
    """Divide by what is known of a layer, K * S; continue it where that is nothing, in place.

    blurred: (2, 4, h, w), K * planes. front: (2, h, w), K * (1 - S). passing: (2, h, w), the light
    that comes through nearer layers.
    """
    known = np.subtract(1.0, front, out=front)
    known *= known >= _ROUNDING
    confidence = np.minimum(known / _KNOWN, 1.0)
    unsure = confidence < 1.0
    if (unsure & (passing > _OPAQUE)).any():
        # Values times confidence: where all is known, values.
        blurred /= np.maximum(known, _KNOWN)[:, None]
        extend_unknown(blurred, confidence)
    else:
        blurred /= np.maximum(known, _ROUNDING)[:, None]


def _reached(cells: np.ndarray, pad: int, half: int) -> np.ndarray:
    """The cells of the picture that kernels of a half side reach from cells of the padded one."""
    by = -(-half // CELL)
    reached = cells
    for axis in (0, 1):
        spread = np.pad(reached, [(by, by) if a == axis else (0, 0) for a in (0, 1)])
        length = cells.shape[axis]
        reached = np.logical_or.reduce(
            [spread.take(np.arange(k, k + length), axis=axis) for k in range(2 * by + 1)]
        )
    margin = pad // CELL
    return np.asarray(reached[margin : cells.shape[0] - margin, margin : cells.shape[1] - margin])


def _window(layer: Layer, passing: np.ndarray, half: int, pad: int) -> tuple[slice, slice] | None:
    """The part of the picture (unpadded) that a layer can reach, or None where it reaches none."""
    height, width = passing.shape
    hidden = (layer.front[pad : pad + height, pad : pad + width] == 1.0) & (passing > _OPAQUE)
    bounds = []
    for used, axis, length in ((layer.rows, 1, height), (layer.columns, 0, width)):
        first, last = used[0] - pad - half, used[-1] - pad + half
        filled = np.flatnonzero(hidden.any(axis=axis))
        if filled.size:
            first, last = min(first, filled[0]), max(last, filled[-1])
        first, last = max(first, 0), min(last, length - 1)
        if first > last:
            return None
        bounds.append(slice(int(first), int(last) + 1))
    return bounds[0], bounds[1]


def _cells_of_window(window: tuple[slice, slice], shape: tuple[int, int]) -> np.ndarray:
    inside = np.zeros(shape, dtype=bool)
    rows, columns = (slice(s.start // CELL, -(-s.stop // CELL)) for s in window)
    inside[rows, columns] = True
    return inside
