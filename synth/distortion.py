"""Radial distortion of a lens, by a polynomial of the distance from the middle.

    r_source = r (A r^3 + B r^2 + C r + D)

with r in halves of the shorter side, as the published RDPD generator applies it (Abuolaim et al.,
ICCV 2021: the `barrel` of ImageMagick). This is a formula of our own for the same map: interpolated
in 4 x 4 pixels where theirs averages areas, and mirrored at the borders where theirs is black. No
array of theirs was at hand to check it against.
"""

import numpy as np

Coefficients = tuple[float, float, float, float]
"""A, B, C, D; (0, 0, 0, 1) leaves the picture as it is."""


def distort(picture: np.ndarray, coefficients: Coefficients) -> np.ndarray:
    """A picture as a lens with radial distortion shows it.

    picture: float (H, W, C) in [0, 1]; interpolation keeps to that range. coefficients: where a
    pixel's value comes from, see above. Returns float32 (H, W, C).
    Raises ValueError for coefficients that fold the picture or are not finite.
    """
    return np.clip(_sample(picture, coefficients, "bicubic"), 0.0, 1.0)


def distort_nearest(plane: np.ndarray, coefficients: Coefficients) -> np.ndarray:
    """The same for a map (H, W) whose values must not be mixed, such as blur radii."""
    return _sample(plane[..., None], coefficients, "nearest")[..., 0]


def source_scale(size: tuple[int, int], coefficients: Coefficients) -> np.ndarray:
    """r_source / r at each pixel of (H, W), float64.

    Raises ValueError where r_source does not grow with r anywhere in the picture.
    """
    check_coefficients(coefficients)
    a, b, c, d = coefficients
    unit = 0.5 * min(size)
    row, column = ((np.arange(length) + 0.5 - 0.5 * length) / unit for length in size)
    r = np.hypot(row[:, None], column)
    if (4.0 * a * r**3 + 3.0 * b * r**2 + 2.0 * c * r + d).min() <= 0.0:
        raise ValueError(f"radial distortion {coefficients} folds a picture of {size} onto itself")
    return np.asarray(a * r**3 + b * r**2 + c * r + d)


def check_coefficients(coefficients: Coefficients) -> None:
    """Raise ValueError where these are not four finite numbers."""
    if len(coefficients) != 4 or not np.isfinite(coefficients).all():
        raise ValueError(f"radial distortion takes 4 finite numbers A, B, C, D, got {coefficients}")


def _sample(picture: np.ndarray, coefficients: Coefficients, mode: str) -> np.ndarray:
    import torch
    from torch.nn import functional

    height, width = picture.shape[:2]
    scale = source_scale((height, width), coefficients)
    # grid_sample's places: -1 and 1 are the outer edges of the picture.
    row, column = ((2.0 * np.arange(length) + 1.0) / length - 1.0 for length in (height, width))
    places = np.stack([column * scale, row[:, None] * scale], axis=-1)
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float64))
    sampled = functional.grid_sample(
        planes[None], torch.from_numpy(places)[None], mode, "reflection", align_corners=False
    )
    return np.ascontiguousarray(sampled[0].numpy().transpose(1, 2, 0), dtype=np.float32)
