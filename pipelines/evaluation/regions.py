"""Errors by what a pixel is: in focus, nearer or farther than focus, by the radius of its blur.

For pairs whose blur radius is known, synthetic ones; what is in focus, also by a mask. By its
radius a pixel is in focus where the blur disc is at most one pixel across. How absolute errors are
distributed over pixels in focus is Fig. 8 of the paper: a network should leave alone what is sharp
already.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.scores import Region

IN_FOCUS, NEAR, FAR = "in focus", "near", "far"
IN_FOCUS_PX = 0.5
"""Largest blur radius of a pixel in focus."""
RADIUS_EDGES_PX = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
ERROR_EDGES = tuple(step / 255 for step in (0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 256))
"""Of absolute errors, of [0, 1]; the last lies above 1."""
MIN_PIXELS = 64
"""Fewer pixels say nothing of their kind."""

Picture = NDArray[np.float32]


def radius_name(low: float, high: float) -> str:
    """Return the name of the pixels whose blur radius lies in a range, in px."""
    return f"radius {low:g}-{high:g}" if np.isfinite(high) else f"radius {low:g}-"


RADIUS_NAMES = tuple(
    radius_name(low, high)
    for low, high in zip(RADIUS_EDGES_PX, (*RADIUS_EDGES_PX[1:], np.inf), strict=True)
)


def regions(
    before: Picture, after: Picture, target: Picture, coc_px: NDArray[np.floating]
) -> tuple[Region, ...]:
    """Return the errors of two pictures by region.

    before, after, target: ``(H, W, 3)`` in [0, 1]. coc_px: ``(H, W)`` signed blur radius in px,
    positive nearer than focus. Regions of fewer than MIN_PIXELS pixels are left out. Raises
    ValueError where the sizes differ.
    """
    if not before.shape == after.shape == target.shape or coc_px.shape != target.shape[:2]:
        raise ValueError(
            f"expected pictures of one size and its blur radii, got {before.shape}, {after.shape}, "
            f"{target.shape} and {coc_px.shape}"
        )
    coc = np.asarray(coc_px, np.float32)
    radius = np.abs(coc)
    masks = {
        IN_FOCUS: radius <= IN_FOCUS_PX,
        NEAR: coc > IN_FOCUS_PX,
        FAR: coc < -IN_FOCUS_PX,
    }
    bounds = zip(RADIUS_EDGES_PX, (*RADIUS_EDGES_PX[1:], np.inf), strict=True)
    for low, high in bounds:
        masks[radius_name(low, high)] = (radius > low) & (radius <= high)
    return _regions(before, after, target, masks)


def focus_region(
    before: Picture, after: Picture, target: Picture, in_focus: NDArray[np.bool_]
) -> tuple[Region, ...]:
    """Return the errors of two pictures where a mask ``(H, W)`` says that they are in focus."""
    return _regions(before, after, target, {IN_FOCUS: in_focus})


def _regions(
    before: Picture, after: Picture, target: Picture, masks: Mapping[str, NDArray[np.bool_]]
) -> tuple[Region, ...]:
    errors = [np.abs(np.asarray(p, np.float64) - target) for p in (before, after)]
    found = []
    for name, mask in masks.items():
        pixels = int(mask.sum())
        if pixels < MIN_PIXELS:
            continue
        here = [error[mask] for error in errors]
        counts = [_counts(error) for error in here] if name == IN_FOCUS else [(), ()]
        found.append(
            Region(
                name=name,
                pixels=pixels,
                input_mse=float(np.mean(here[0] ** 2)),
                output_mse=float(np.mean(here[1] ** 2)),
                input_counts=counts[0],
                output_counts=counts[1],
            )
        )
    return tuple(found)


def _counts(errors: NDArray[np.float64]) -> tuple[int, ...]:
    found, _ = np.histogram(errors, bins=np.array(ERROR_EDGES))
    return tuple(int(count) for count in found)
