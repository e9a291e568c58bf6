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

from synth.convolve import CELL
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
    behind: np.ndarray
    """float32 (H, W): share of each pixel in this layer or any behind it."""

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
    behind = np.ones(size)
    for members in np.split(order, starts[1:]):
        piece = members % len(fragments.pixel)
        pixel, weight = fragments.pixel[piece], share[members]
        planes = np.empty((4, *size), dtype=np.float32)
        for plane, values in zip(
            planes, (*(fragments.light[piece].T * weight), weight), strict=True
        ):
            matte = np.bincount(pixel, weights=values, minlength=behind.size).reshape(size)
            plane[...] = matte
        known = np.where(behind < _ROUNDING, 0.0, behind)
        known[known > 1.0 - _ROUNDING] = 1.0
        yield Layer(float(level[members[0]]) * step_px, planes, known.astype(np.float32))
        behind = behind - matte


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
        reached = _reached(_cells_with(layer.matte), pad, blur.half_px(layer.coc_px))
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
    nearer: np.ndarray | None = None
    for layer in layers:
        if passing.max() < _OPAQUE:
            break
        own = _cells_with(layer.matte)
        half = blur.half_px(layer.coc_px)
        window = _window(layer, passing.max(axis=0), half, pad)
        if window is not None:
            rows, columns = window
            light, alpha = _blur_layer(
                layer,
                blur,
                window,
                pad,
                reached=_reached(own, pad, half),
                hidden=None if nearer is None else _reached(nearer, pad, half),
                seen=passing[:, rows, columns] > _OPAQUE,
            )
            views[:, :, rows, columns] += light * passing[:, None, rows, columns]
            passing[:, rows, columns] *= 1.0 - alpha
        nearer = own if nearer is None else nearer | own
    # Each layer's light was divided by what is known of it; the rest that passes all is rounding.
    views /= np.maximum(1.0 - passing, 1e-3)[:, None]
    return views


def _cells_with(matte: np.ndarray) -> np.ndarray:
    """The cells of the padded picture in which a matte is not zero."""
    rows = np.maximum.reduceat(matte, np.arange(0, matte.shape[0], CELL), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, matte.shape[1], CELL), axis=1) > 0.0


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
    hidden = (layer.behind[pad : pad + height, pad : pad + width] == 0.0) & (passing > _OPAQUE)
    bounds = []
    for axis, length in ((1, height), (0, width)):
        reached = np.flatnonzero(layer.matte.any(axis=axis)) - pad
        first, last = reached[0] - half, reached[-1] + half
        filled = np.flatnonzero(hidden.any(axis=axis))
        if filled.size:
            first, last = min(first, filled[0]), max(last, filled[-1])
        first, last = max(first, 0), min(last, length - 1)
        if first > last:
            return None
        bounds.append(slice(int(first), int(last) + 1))
    return bounds[0], bounds[1]


def _blur_layer(
    layer: Layer,
    blur: FieldBlur,
    window: tuple[slice, slice],
    pad: int,
    *,
    reached: np.ndarray,
    hidden: np.ndarray | None,
    seen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Blurred colours (2, 3, h, w), weighted by alpha, and mattes (2, h, w) inside a window.

    reached, hidden: cells that this layer and the nearer ones reach. seen: (2, h, w), where light
    of this layer still passes the nearer ones.
    """
    inside = _cells_of_window(window, reached.shape)
    blurred = _blurred(blur, layer.planes, layer.coc_px, reached & inside, window, pad)
    if hidden is not None and (hidden & inside).any():
        before = 1.0 - layer.behind[None]
        known = 1.0 - _blurred(blur, before, layer.coc_px, hidden & inside, window, pad)[:, 0]
        known[known < _ROUNDING] = 0.0
        blurred /= np.maximum(known, _ROUNDING)[:, None]
        confidence = np.minimum(known / _KNOWN, 1.0)
        if (seen & (confidence < 1.0)).any():
            blurred = extend_unknown(blurred, confidence)
    return blurred[:, :3], np.clip(blurred[:, 3], 0.0, 1.0)


def _blurred(
    blur: FieldBlur,
    planes: np.ndarray,
    coc_px: float,
    where: np.ndarray,
    window: tuple[slice, slice],
    pad: int,
) -> np.ndarray:
    """Blur in the cells asked for, 0 elsewhere. Returns float32 (2, C, h, w) inside a window."""
    height, width = planes.shape[1] - 2 * pad, planes.shape[2] - 2 * pad
    result = np.zeros((2, planes.shape[0], height, width), dtype=np.float32)
    for rows, columns, values in blur.tiles(planes, coc_px, where, origin=(pad, pad)):
        result[:, :, rows, columns] += values
    return result[:, :, window[0], window[1]]


def _cells_of_window(window: tuple[slice, slice], shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, dtype=bool)
    rows, columns = (slice(s.start // CELL, -(-s.stop // CELL)) for s in window)
    inside[rows, columns] = True
    return inside
