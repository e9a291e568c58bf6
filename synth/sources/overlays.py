"""What is drawn over the solids of a scene, far before near: cut-outs and wires.

Both have soft mattes, so that leaves and wires finer than a sample fade and do not alias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synth.sources.raycast import (
    NEAREST_M,
    SAMPLES,
    Hits,
    Quad,
    View,
    meet_plane,
    plane_footprint,
    quad_corners,
)
from synth.sources.ripmap import RipMap


@dataclass(frozen=True, slots=True)
class CutOut:
    """A rectangle that is seen through where its picture has no matte."""

    quad: Quad
    picture: RipMap
    """Linear light times matte, and the matte: (h, w, 4)."""
    light: np.ndarray
    """float (3,): what falls on it."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A bent wire, twig or blade of grass, round and of one colour."""

    points: np.ndarray
    """(N, 3) of the world, metres."""
    radius_m: np.ndarray
    """(N,): at each of the points."""
    light: np.ndarray
    """float (3,): linear light."""


Overlay = CutOut | Wire


def draw(view: View, overlays: Sequence[Overlay], light: np.ndarray, hits: Hits) -> None:
    """Draw overlays into the light (h, w, 3) of the samples, and where they hide more than half of
    one, into its hit: their numbers follow on those of the solids."""
    first = int(hits.solid.max()) + 1
    by_depth = sorted(range(len(overlays)), key=lambda k: -_depth_m(view, overlays[k]))
    for number in by_depth:
        overlay = overlays[number]
        drawn = _cut_out(view, overlay) if isinstance(overlay, CutOut) else _wire(view, overlay)
        if drawn is None:
            continue
        window, dioptres, colour, matte = drawn
        matte = np.where(dioptres > hits.dioptres[window], matte, np.float32(0.0))
        share = matte[..., None]
        light[window] = light[window] * (1.0 - share) + colour * share
        hides = matte >= 0.5
        hits.dioptres[window][hides] = dioptres[hides]
        hits.solid[window][hides] = first + number


def _depth_m(view: View, overlay: Overlay) -> float:
    points = (
        quad_corners(view, overlay.quad)
        if isinstance(overlay, CutOut)
        else view.seen(overlay.points)
    )
    return float(points[:, 2].mean())


Drawn = tuple[tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray]
"""A window, and in it: inverse depth (h, w), light (h, w, 3) or (3,), matte (h, w)."""


def _cut_out(view: View, cut_out: CutOut) -> Drawn | None:
    window = view.window(quad_corners(view, cut_out.quad))
    if window is None:
        return None
    x, y = view.slopes()
    met = meet_plane(view, (x[:, window[1]], y[window[0]]), cut_out.quad)
    if met is None:
        return None
    dioptres, u, v, inside = met
    inside &= (dioptres > 1e-3) & (dioptres < 1.0 / NEAREST_M)
    matte = np.zeros(inside.shape, np.float32)
    colour = np.zeros((*inside.shape, 3), np.float32)
    u, v, near = u[inside], v[inside], dioptres[inside]
    size = (np.float32(np.linalg.norm(side)) for side in (cut_out.quad.across, cut_out.quad.up))
    width, height = size
    extent = plane_footprint(view, cut_out.quad, near, u, v)
    found = cut_out.picture.sample(
        u / width,
        v / height,
        (extent[0] / width, extent[1] / height),
        np.full(len(u), 0.5, np.float32),
    )
    matte[inside] = np.clip(found[:, 3], 0.0, 1.0)
    colour[inside] = (
        found[:, :3] / np.maximum(found[:, 3:], 1e-3) * cut_out.light.astype(np.float32)
    )
    return window, dioptres, colour, matte


def _wire(view: View, wire: Wire) -> Drawn | None:
    points = view.seen(wire.points)
    seen = points[:, 2] > NEAREST_M
    pieces = [k for k in range(len(points) - 1) if seen[k] and seen[k + 1]]
    whole = [w for k in pieces if (w := view.window(points[k : k + 2])) is not None]
    if not whole:
        return None
    pad = (
        int(
            np.ceil(
                float((wire.radius_m / np.maximum(points[:, 2], NEAREST_M)).max())
                * view.focal_px
                * SAMPLES
            )
        )
        + 2
    )
    window = tuple(
        slice(
            max(0, min(w[a].start for w in whole) - pad),
            min(view.size[a] * SAMPLES, max(w[a].stop for w in whole) + pad),
        )
        for a in (0, 1)
    )
    shape = tuple(w.stop - w.start for w in window)
    matte, dioptres = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    scale = view.focal_px * SAMPLES
    middle = [0.5 * view.size[1] * SAMPLES - 0.5, 0.5 * view.size[0] * SAMPLES - 0.5]
    for k in pieces:
        ends = points[k : k + 2, :2] / points[k : k + 2, 2:] * scale + middle
        near = 1.0 / points[k : k + 2, 2]
        reach = wire.radius_m[k : k + 2] * near * scale
        part, at = [], []
        for axis, other in ((0, 1), (1, 0)):
            low = int(np.floor(ends[:, other].min() - reach.max() - 1.0))
            high = int(np.ceil(ends[:, other].max() + reach.max() + 2.0))
            low = max(low, window[axis].start)
            high = min(high, window[axis].stop)
            part.append(slice(low - window[axis].start, max(high, low) - window[axis].start))
            at.append(np.arange(low, max(high, low), dtype=np.float32) - np.float32(ends[0, other]))
        dx, dy = at[1][None], at[0][:, None]
        along = (ends[1] - ends[0]).astype(np.float32)
        length2 = np.float32(max(float(along @ along), 1e-6))
        share = np.clip((dx * along[0] + dy * along[1]) / length2, 0.0, 1.0)
        distance = np.hypot(dx - share * along[0], dy - share * along[1])
        half = np.float32(reach[0]) + share * np.float32(reach[1] - reach[0])
        cover = np.clip(half - distance + np.float32(0.5), 0.0, np.minimum(2.0 * half, 1.0))
        place = part[0], part[1]
        nearer = cover > matte[place]
        matte[place][nearer] = cover[nearer]
        depth = np.float32(near[0]) + share * np.float32(near[1] - near[0])
        dioptres[place][nearer] = depth[nearer]
    return window, dioptres, wire.light.astype(np.float32), matte  # type: ignore[return-value]
