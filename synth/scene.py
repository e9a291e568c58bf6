"""What goes into the synthesiser and what comes out of it."""

from dataclasses import dataclass

import numpy as np

_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture that is sharp everywhere, with its exact depth."""

    scene_id: str
    """Stable name: pairs of one scene never straddle two splits."""
    image: np.ndarray
    """float32 (H, W, 3), sRGB-encoded, in [0, 1], all in focus."""
    depth_m: np.ndarray
    """float32 (H, W), metres along the optical axis, finite and positive."""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"scene {self.scene_id}: image must be (H, W, 3), got {self.image.shape}"
            )
        if self.depth_m.shape != self.image.shape[:2]:
            raise ValueError(
                f"scene {self.scene_id}: depth is {self.depth_m.shape}, "
                f"the image {self.image.shape[:2]}"
            )
        if not np.isfinite(self.image).all():
            raise ValueError(f"scene {self.scene_id}: the image holds NaN or infinity")
        darkest, brightest = float(self.image.min()), float(self.image.max())
        if darkest < -_ROUNDING or brightest > 1.0 + _ROUNDING:
            raise ValueError(
                f"scene {self.scene_id}: the image must lie in [0, 1], "
                f"it goes from {darkest:g} to {brightest:g}"
            )
        if not np.isfinite(self.depth_m).all() or self.depth_m.min() <= 0.0:
            raise ValueError(f"scene {self.scene_id}: depth must be finite and positive everywhere")


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """One synthetic dual-pixel exposure; all pictures (H, W, 3), sRGB, uint8 or uint16."""

    left: np.ndarray
    """The view of the left half-aperture."""
    right: np.ndarray
    """The view of the right half-aperture."""
    combined: np.ndarray
    """What the whole aperture sees: the mean of the two views in linear light."""
    target: np.ndarray
    """The scene, sharp everywhere."""
    coc_px: np.ndarray
    """float32 (H, W): signed radius of the blur disc in pixels, near positive, far negative."""
