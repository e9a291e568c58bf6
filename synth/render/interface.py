"""What every renderer takes and gives."""

from collections.abc import Callable
from typing import Any, Protocol, TypeGuard

import numpy as np

from synth.psf.family import KernelPair
from synth.psf.field import FieldPsf

Psf = Callable[[float], KernelPair]
"""Signed blur radius in pixels, near positive -> (K_L, K_R), images of a point, unit sum."""


class Renderer(Protocol):
    """Renders the two dual-pixel views of a sharp picture."""

    def __call__(
        self, linear_image: np.ndarray, coc_px: np.ndarray, psf: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """linear_image: (H, W, 3) linear light. coc_px: (H, W), signed, near positive.

        psf: `Psf` or `FieldPsf`; scatter asks for `CentredWindow` or `PublishedWindow`.
        Returns (left, right), float32 (H, W, 3), linear light.
        Raises ValueError on shapes that do not fit and on values that are not finite.
        """


def is_field(psf: Psf | FieldPsf) -> TypeGuard[FieldPsf]:
    """Whether kernels vary over the picture."""
    return hasattr(psf, "psf_at")


def check_scene(linear_image: np.ndarray, coc_px: np.ndarray) -> None:
    """Raise ValueError where a picture and its blur radii cannot be rendered."""
    if linear_image.ndim != 3 or linear_image.shape[2] != 3:
        raise ValueError(f"linear_image must be (H, W, 3), got {linear_image.shape}")
    if coc_px.shape != linear_image.shape[:2]:
        raise ValueError(f"coc_px is {coc_px.shape}, the picture {linear_image.shape[:2]}")
    if not (np.isfinite(coc_px).all() and np.isfinite(linear_image).all()):
        raise ValueError("picture and coc_px must be finite")


def check_step(step_px: float) -> None:
    """Raise ValueError where the distance of neighbouring layers is not positive."""
    if not step_px > 0.0:
        raise ValueError(f"step_px must be positive, got {step_px}")
