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
convolution, Eq. 5 of the K3DN paper. Where K * S_i vanishes, under a nearer layer that is itself
seen through at its blurred edge, the layer is continued smoothly from its surroundings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from synth.convolve import convolve_views
from synth.edges import Fragments, separate_edges, whole_pixels
from synth.extend import extend_unknown
from synth.psf import KernelPair

Psf = Callable[[float], KernelPair]

_KNOWN = 0.02  # share of a kernel that must fall on known scene to be trusted fully
_OPAQUE = 1e-4  # light that still passes when all behind is taken as hidden
_ROUNDING = 1e-5  # what sums of shares may be off


@dataclass(frozen=True, slots=True)
class Layer:
    """What lies near one blur radius, in the padded picture."""

    coc_px: float
    matte: np.ndarray
    """float32 (H, W): share of each pixel in this layer; all layers sum to 1."""
    light: np.ndarray
    """float32 (3, H, W): the picture in this layer, weighted by its share."""
    behind: np.ndarray
    """float32 (H, W): share of each pixel in this layer or any behind it."""


def cut_layers(fragments: Fragments, size: tuple[int, int], *, step_px: float) -> Iterator[Layer]:
    """Cut a picture into layers by its signed blur radii, nearest first, empty ones left out.

    size: (H, W). The mattes partition the picture (Eq. 3, 4): they are in [0, 1] and sum to 1.
    """
    position = fragments.coc_px / step_px
    # Rounding in the depth must not make a layer of its own with next to nothing in it.
    whole = np.rint(position)
    position = np.where(np.abs(position - whole) < 1e-3, whole, position)
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
        planes = [
            np.bincount(pixel, weights=values, minlength=behind.size).reshape(size)
            for values in (weight, *(fragments.light[piece].T * weight))
        ]
        matte, light = planes[0], np.stack(planes[1:])
        known = np.where(behind < _ROUNDING, 0.0, behind)
        yield Layer(
            float(level[members[0]]) * step_px,
            matte.astype(np.float32),
            light.astype(np.float32),
            np.where(known > 1.0 - _ROUNDING, 1.0, known).astype(np.float32),
        )
        behind = behind - matte


def render_layered(
    linear_image: np.ndarray,
    coc_px: np.ndarray,
    psf: Psf,
    *,
    step_px: float = 0.5,
    mixed_edges: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Render the two dual-pixel views of a sharp picture.

    linear_image: (H, W, 3) linear light. coc_px: (H, W) signed blur radius, near positive.
    psf: signed radius in pixels -> (K_L, K_R). step_px: distance of neighbouring layers.
    mixed_edges: pixels on depth edges hold light of both sides, as in any antialiased picture, and
    are taken apart; False takes each pixel as of one depth.
    Returns (left, right), float32 (H, W, 3), linear light. The scene goes on mirrored beyond the
    borders. Raises ValueError on shapes that do not fit, NaN, or a step that is not positive.
    """
    _check(linear_image, coc_px, step_px)
    height, width = coc_px.shape
    half_px = max(psf(float(c))[0].shape[0] // 2 for c in (coc_px.min(), coc_px.max()))
    # The extreme radii are rounded outwards to whole steps; a kernel may reach 2 radii at most.
    pad = half_px + int(np.ceil(step_px * 2.0)) + 1
    padded_coc = np.pad(coc_px, pad, mode="symmetric")
    padded_image = np.pad(linear_image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    take_apart = separate_edges if mixed_edges else whole_pixels
    fragments = take_apart(padded_image, padded_coc)

    views = np.zeros((2, 3, height, width), dtype=np.float32)
    passing = np.ones((2, height, width), dtype=np.float32)
    size = (padded_coc.shape[0], padded_coc.shape[1])
    for layer in cut_layers(fragments, size, step_px=step_px):
        if passing.max() < _OPAQUE:
            break
        kernels = psf(layer.coc_px)
        window = _window(layer, passing.max(axis=0), kernels[0].shape[0] // 2, pad)
        if window is None:
            continue
        rows, columns = window
        light, alpha = _blur_layer(
            layer, kernels, window, pad, seen=passing[:, rows, columns] > _OPAQUE
        )
        views[:, :, rows, columns] += light * passing[:, None, rows, columns]
        passing[:, rows, columns] *= 1.0 - alpha
    # Each layer's light was divided by what is known of it; the rest that passes all is rounding.
    views /= np.maximum(1.0 - passing, 1e-3)[:, None]
    left, right = views.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(left), np.ascontiguousarray(right)


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
    kernels: KernelPair,
    window: tuple[slice, slice],
    pad: int,
    *,
    seen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Blurred colours (2, 3, h, w), weighted by alpha, and mattes (2, h, w) inside a window.

    seen: (2, h, w), where light of this layer still passes the nearer ones.
    """
    half = kernels[0].shape[0] // 2
    rows, columns = (slice(s.start + pad - half, s.stop + pad + half) for s in window)
    matte, behind = layer.matte[rows, columns], layer.behind[rows, columns]
    planes = np.concatenate([layer.light[:, rows, columns], matte[None], behind[None]])
    if behind.min() >= 1.0:  # nothing nearer in reach: K * S is 1
        blurred = convolve_views(planes[:4], *kernels)
        return blurred[:, :3], np.clip(blurred[:, 3], 0.0, 1.0)
    blurred = convolve_views(planes, *kernels)
    known = blurred[:, 4]
    blurred = blurred[:, :4] / np.maximum(known, 1e-6)[:, None]
    confidence = np.clip(known / _KNOWN, 0.0, 1.0)
    if (seen & (confidence < 1.0)).any():
        blurred = extend_unknown(blurred, confidence)
    return blurred[:, :3], np.clip(blurred[:, 3], 0.0, 1.0)


def _check(linear_image: np.ndarray, coc_px: np.ndarray, step_px: float) -> None:
    if linear_image.ndim != 3 or linear_image.shape[2] != 3:
        raise ValueError(f"linear_image must be (H, W, 3), got {linear_image.shape}")
    if coc_px.shape != linear_image.shape[:2]:
        raise ValueError(f"coc_px is {coc_px.shape}, the picture {linear_image.shape[:2]}")
    if not (np.isfinite(coc_px).all() and np.isfinite(linear_image).all()):
        raise ValueError("picture and coc_px must be finite")
    if not step_px > 0.0:
        raise ValueError(f"step_px must be positive, got {step_px}")
