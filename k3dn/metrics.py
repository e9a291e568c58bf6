"""Quality of a restored picture, as the field measures it on DPD-blur.

Pictures are float arrays ``(H, W, 3)`` in [0, 1], not quantised. A table's figure is the mean
over pictures; RMSE_rel alone derives from the mean PSNR.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Picture = NDArray[np.floating]

SSIM_WINDOW = 7
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


def psnr(image: Picture, target: Picture) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for equal pictures."""
    _check(image, target)
    error = float(np.mean((np.asarray(image, np.float64) - target) ** 2))
    return float("inf") if error == 0 else -10.0 * float(np.log10(error))


def mae(image: Picture, target: Picture) -> float:
    """Mean absolute difference."""
    _check(image, target)
    return float(np.mean(np.abs(np.asarray(image, np.float64) - target)))


def rmse_rel(mean_psnr: float) -> float:
    """RMSE_rel of the paper's tables: 10^(-PSNR / 20) of the mean PSNR."""
    return float(10.0 ** (-mean_psnr / 20.0))


def ssim(image: Picture, target: Picture) -> float:
    """Structural similarity with scikit-image's defaults, which the published tables use.

    7 x 7 uniform window, sample covariance, data range 1, 3 px border left out, mean of RGB.
    """
    _check(image, target)
    if min(image.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"ssim needs at least 7 x 7 px, got {image.shape[:2]}")
    x, y = (
        torch.as_tensor(np.asarray(a, np.float64)).movedim(-1, 0)[None] for a in (image, target)
    )

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(values, SSIM_WINDOW, stride=1)

    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mean_x, mean_y = mean(x), mean(y)
    var_x = sample * (mean(x * x) - mean_x**2)
    var_y = sample * (mean(y * y) - mean_y**2)
    covariance = sample * (mean(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_x + var_y + SSIM_C2)
    return float((luminance * structure).mean())


def _check(image: Picture, target: Picture) -> None:
    if image.shape != target.shape or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"expected two (H, W, 3) pictures of one size, got {image.shape} and {target.shape}"
        )
    for name, picture in (("image", image), ("target", target)):
        if not np.issubdtype(picture.dtype, np.floating):
            raise ValueError(f"{name} must be floating point in [0, 1], got {picture.dtype}")
