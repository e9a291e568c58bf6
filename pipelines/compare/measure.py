"""All that is measured of one pair."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.compare.appearance import appearance
from pipelines.compare.blur import INNER_PX, LARGEST_PX, MARGIN_PX, SIDE_PX, Blur, fit_blur
from pipelines.compare.kernel_fit import residuals
from pipelines.compare.light import Floats, luminance, to_light, to_srgb
from pipelines.compare.noise import noise
from pipelines.compare.patches import bin_factor, binned, textured
from pipelines.compare.sharpness import detail, edge_width_px
from pipelines.compare.views import shading, view_ratio
from pipelines.dataset.images import Pixels

CLEAN_RADIUS_PX = 2.0
CLEAN_RESIDUAL = 0.2
_CLEAN_ERROR = 0.05
_SIGNED_RADIUS_PX = 1.0
_WORST_RESIDUAL = 0.5
"""A patch that no blur explains better, for it holds several depths, says nothing of a radius."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """What is measured: a pair with its target, all (H, W, 3) sRGB, uint8 or uint16."""

    left: Pixels
    right: Pixels
    target: Pixels
    combined: Pixels | None = None
    """None: the mean of the views in linear light stands in."""
    coc: NDArray[np.float16] | None = None
    """(H, W) signed radii in px where they are known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """The figures of one pair."""

    values: dict[str, NDArray[np.float64]]
    """Of each quantity of QUANTITIES, those that could be measured: one, or one a patch."""
    left_over: dict[str, NDArray[np.float64]]
    """By kernel family, what its fit leaves of the views of each clean patch, white is 1."""
    radius_over_truth: NDArray[np.float64]
    """Measured over stored radius, where it is stored and one in all of the patch."""
    side_is_true: NDArray[np.bool_]
    """Whether the sign of the disparity is that of the stored radius, in the same patches."""
    patches: int
    """Patches that were fitted."""
    clean: int
    """Those of them whose fit is clean."""
    beyond: int
    """Those whose radius is larger than what is tried."""


def measure(pictures: Pictures, rng: np.random.Generator, most_patches: int) -> Measured:
    """Measure one pair.

    rng: draws which textured patches are fitted, at most so many.
    """
    target, left, right = (
        to_light(picture) for picture in (pictures.target, pictures.left, pictures.right)
    )
    grey_target, grey_left, grey_right = (luminance(light) for light in (target, left, right))
    if pictures.combined is None:
        grey_combined = 0.5 * (grey_left + grey_right)
    else:
        grey_combined = luminance(to_light(pictures.combined))
    values = _of_the_whole(pictures, target, left, right)
    factor = bin_factor(grey_target.shape[1])
    small = [
        binned(picture, factor) for picture in (grey_target, grey_combined, grey_left, grey_right)
    ]
    corners = textured(small[0], small[2], small[3])
    if len(corners) > most_patches:
        corners = corners[np.sort(rng.choice(len(corners), most_patches, replace=False))]
    if not len(corners):
        nothing = np.zeros(0)
        return Measured(
            values=values,
            left_over={},
            radius_over_truth=nothing,
            side_is_true=nothing.astype(bool),
            patches=0,
            clean=0,
            beyond=0,
        )
    patches = [_cut(picture, corners) for picture in small]
    blur = fit_blur(*patches)
    return _of_patches(pictures, values, patches, corners, blur, factor)


def _of_the_whole(
    pictures: Pictures, target: Floats, left: Floats, right: Floats
) -> dict[str, NDArray[np.float64]]:
    grey_target, grey_left, grey_right = (luminance(light) for light in (target, left, right))
    figures = {
        "view_ratio": view_ratio(grey_left, grey_right),
        "shading": shading(grey_left, grey_right),
        "target_exposure": view_ratio(grey_target, 0.5 * (grey_left + grey_right)),
        "edge_width_px": edge_width_px(grey_target),
        "detail": detail(grey_target),
        **appearance(to_srgb(pictures.target), target),
    }
    values = {name: np.array([value]) for name, value in figures.items()}
    for number, both in enumerate(zip(noise(left[..., 1]), noise(right[..., 1]), strict=True)):
        values[f"noise_{number}"] = 100.0 * np.array(both)
    return {name: value[np.isfinite(value)] for name, value in values.items()}


def _of_patches(
    pictures: Pictures,
    values: dict[str, NDArray[np.float64]],
    patches: list[Tensor],
    corners: NDArray[np.int64],
    blur: Blur,
    factor: int,
) -> Measured:
    target, _, left, right = patches
    width = pictures.target.shape[1]
    radius, disparity = blur.radius_px.numpy(), blur.disparity_px.numpy()
    relative = (blur.residual / blur.contrast.clamp(min=1e-6)).numpy()
    inside = radius < LARGEST_PX
    plain = inside & (relative < _WORST_RESIDUAL)
    clean = (
        plain
        & (radius >= CLEAN_RADIUS_PX)
        & (relative < CLEAN_RESIDUAL)
        & (blur.radius_error.numpy() < _CLEAN_ERROR)
    )
    signed = plain & (radius >= _SIGNED_RADIUS_PX)
    share = 100.0 * factor * radius / width
    values = values | {
        "radius_px": factor * radius[plain],
        "radius_share": share[plain],
        "signed_radius_share": (share * np.sign(disparity))[signed],
        "disparity_px": factor * disparity[plain],
        "vertical_px": factor * blur.vertical_px.numpy()[plain],
        "target_shift_px": factor * np.hypot(*blur.shift_px.numpy()[plain].T),
        "disparity_over_radius": np.abs(disparity / radius)[clean],
        "rim": blur.rim.numpy()[clean],
    }
    left_over: dict[str, NDArray[np.float64]] = {}
    if clean.any():
        chosen = torch.from_numpy(clean)
        found = residuals(
            target[chosen],
            left[chosen],
            right[chosen],
            blur.radius_px[chosen],
            blur.shift_px[chosen],
        )
        left_over = {name: value.numpy() for name, value in found.items()}
        best = np.maximum(np.min(list(left_over.values()), axis=0), 1e-6)
        values["fit_best"] = 100.0 * best / np.maximum(blur.contrast.numpy()[clean], 1e-6)
        values |= {f"fit_{name}": value / best for name, value in left_over.items()}
    known, truth = _stored_radii(pictures, corners, factor)
    known &= plain & (radius >= _SIGNED_RADIUS_PX)
    return Measured(
        values=values,
        left_over=left_over,
        radius_over_truth=factor * radius[known] / np.abs(truth[known]),
        side_is_true=np.sign(disparity[known]) == np.sign(truth[known]),
        patches=len(corners),
        clean=int(clean.sum()),
        beyond=int((~inside).sum()),
    )


def _stored_radii(
    pictures: Pictures, corners: NDArray[np.int64], factor: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Tell for each patch whether one radius is stored for all of its middle, and which."""
    known, truth = np.zeros(len(corners), bool), np.ones(len(corners))
    if pictures.coc is None:
        return known, truth
    for number, (y, x) in enumerate(factor * (corners + MARGIN_PX)):
        stored = pictures.coc[y : y + factor * INNER_PX, x : x + factor * INNER_PX]
        truth[number] = float(np.median(stored.astype(np.float32)))
        spread = float(stored.max()) - float(stored.min())
        known[number] = spread <= 0.1 * abs(truth[number]) and abs(truth[number]) >= 1.0
    return known, truth


def _cut(picture: Floats, corners: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(
        np.stack([picture[y : y + SIDE_PX, x : x + SIDE_PX] for y, x in corners])
    )
