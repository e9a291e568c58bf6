"""The scattering renderer: each pixel of the sharp picture is spread over its window.

    view(x) = sum_y w_{c(y)}(x - y) I(y) / sum_y w_{c(y)}(x - y)

as the published DDD-syn generator does it (Pan et al., CVPR 2021): w is 1 on the window, so that
what arrives is divided by its count. Brightness is kept, near and far are mixed by count: there is
no order of occlusion. Windows are put down as steps at their ends and summed up along both axes
(integral images), so time is linear in the pixels whatever the blur.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from synth.render.interface import check_scene

Steps = list[tuple[np.ndarray, np.ndarray]]
"""A window's profile along an axis, by its differences: places (H, W) int64 and heights (H, W)."""

_STRIP = 16  # rows spread at a time, measured: about what stays in the cache
_POINT_PX = 1e-4  # narrower windows are points; differences over them would lose digits


@dataclass(frozen=True, slots=True)
class CentredWindow:
    """The window of our kernel family `integral`: centred rows, from the pixel to one radius.

    On a scene of one depth the result is the convolution with that family's kernels.
    """

    height: float = 2.0
    """Height of the window in blur radii, as `IntegralParameters.height`."""


@dataclass(frozen=True, slots=True)
class PublishedWindow:
    """DDD-syn's window, with its defects.

    The radius is its disparity: k = max(1, floor(radius)) pixels square, beginning at the pixel and
    going down and, left, to the right, right, to the left. Ends are clamped to the last row and
    column, which so count nothing and stay 0. Nothing lies beyond the borders.
    """


def render_scatter(
    linear_image: np.ndarray, coc_px: np.ndarray, psf: CentredWindow | PublishedWindow
) -> tuple[np.ndarray, np.ndarray]:
    """Render the two dual-pixel views of a sharp picture, each pixel spread over its window.

    linear_image: (H, W, 3); values are mixed as they are. coc_px: (H, W) signed blur radius, near
    positive; `PublishedWindow` knows no far side. psf: the window, which is all a kernel can be
    here. Returns (left, right), float32 (H, W, 3). Raises ValueError on shapes that do not fit,
    values that are not finite, radii below 0 for a published window, and on other kernels.
    """
    check_scene(linear_image, coc_px)
    if isinstance(psf, PublishedWindow):
        if coc_px.min() < 0.0:
            raise ValueError(
                f"the published window knows no far side, got a radius of {coc_px.min():g} px"
            )
        image, radius = linear_image, coc_px
        pad = 0
    elif isinstance(psf, CentredWindow):
        reach = float(np.abs(coc_px).max()) * max(1.0, 0.5 * psf.height)
        pad = int(np.ceil(reach)) + 2
        image = np.pad(linear_image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
        radius = np.pad(coc_px, pad, mode="symmetric")
    else:
        raise ValueError(
            f"scatter spreads pixels over windows: it takes CentredWindow or PublishedWindow, "
            f"got {type(psf).__name__}"
        )
    planes = np.concatenate([image.transpose(2, 0, 1), np.ones((1, *radius.shape))]).astype(float)
    views = []
    for mirrored in (False, True):
        # The right view is the left one of the mirrored scene.
        turn = np.s_[..., ::-1] if mirrored else np.s_[...]
        view = _scatter(planes[turn], *_profiles(psf, radius[turn]))[turn]
        inner = view[:, pad : view.shape[1] - pad, pad : view.shape[2] - pad]
        views.append(np.ascontiguousarray(inner.transpose(1, 2, 0), dtype=np.float32))
    return views[0], views[1]


def _profiles(psf: CentredWindow | PublishedWindow, radius_px: np.ndarray) -> tuple[Steps, Steps]:
    """The left view's windows along rows and along columns."""
    row, column = np.meshgrid(*(np.arange(n) for n in radius_px.shape), indexing="ij")
    if isinstance(psf, PublishedWindow):
        side = np.maximum(np.floor(radius_px), 1.0).astype(np.int64)
        one = np.ones(radius_px.shape)
        rows, columns = (
            [(place, one), (np.minimum(place + side, length - 1), -one)]
            for place, length in zip((row, column), radius_px.shape, strict=True)
        )
        return rows, columns
    radius = radius_px.astype(np.float64)
    reach = 0.5 * psf.height * np.abs(radius)
    return (
        _steps(row, row.shape[0], -reach, reach),
        _steps(column, row.shape[1], np.minimum(radius, 0.0), np.maximum(radius, 0.0)),
    )


def _steps(place: np.ndarray, length: int, start: np.ndarray, end: np.ndarray) -> Steps:
    """Differences of a window [start, end] around places 0 to length - 1, gathered with a tent.

    A window wider than a pixel counts 1 a pixel, a narrower one 1 in all, as the published least
    side of 1 has it.
    """
    point = end - start < _POINT_PX
    width = np.where(point, 1.0, end - start)
    height = np.where(point, 0.0, np.maximum(width, 1.0) / width)
    steps = []
    for edge, sign in ((start, height), (end, -height)):
        first = np.floor(edge)
        fraction = edge - first
        place_px = place + first.astype(np.int64)
        # Differences of the tent's integral at pixels first, first + 1, first + 2.
        low, high = 0.5 * (1.0 - fraction) ** 2, 0.5 * fraction**2
        shares = [share * sign for share in (low, 1.0 - low - high, high)]
        if edge is start:
            tent = (1.0 - fraction, 2.0 * fraction - 1.0, -fraction)
            shares = [np.where(point, t, share) for t, share in zip(tent, shares, strict=True)]
        for offset, share in enumerate(shares):
            # Before the start a step counts from the start on; the last place is cut off.
            steps.append((np.clip(place_px + offset, 0, length - 1), share))
    return steps


def _scatter(planes: np.ndarray, rows: Steps, columns: Steps) -> np.ndarray:
    """Spread planes (C + 1, H, W), of which the last counts. Returns float64 (C, H, W).

    0 where nothing arrives.
    """
    import torch

    planes, size = np.ascontiguousarray(planes), planes.shape[1:]
    # On the CPU whatever the default device: sums of many terms at one place have one order there.
    totals = torch.zeros((planes.shape[0], size[0] * size[1]), dtype=torch.float64, device="cpu")
    for top in range(0, size[0], _STRIP):
        strip = np.s_[top : top + _STRIP]
        values = torch.from_numpy(planes[:, strip].reshape(planes.shape[0], -1))
        for (row, down), (column, across) in product(rows, columns):
            height = (down[strip] * across[strip]).ravel()
            if height.any():
                place = torch.from_numpy((row[strip] * size[1] + column[strip]).ravel())
                added = values * torch.from_numpy(height)
                totals.scatter_add_(1, place.expand(values.shape), added)
    summed = totals.numpy().reshape(planes.shape).cumsum(axis=1).cumsum(axis=2)
    count = summed[-1]
    # What is left of sums of steps where nothing arrives is rounding.
    return np.asarray(np.where(count > 1e-6, summed[:-1] / np.maximum(count, 1e-6), 0.0))
