"""What a sensor makes of the light: exposure, filters, saturation, noise, demosaicing, balance."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from synth.sensor.mosaic import Demosaicing, Phase, demosaic, mosaic


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensor:
    """One camera's sensor and what it does with every exposure."""

    demosaicing: Demosaicing | Literal["none"] = "none"
    """none: each pixel sees all colours, as in a picture that was made smaller."""
    phase: Phase = (0, 0)
    """Row and column of the red filter."""
    balance: tuple[float, float] = (1.0, 1.0)
    """Factors on red and blue that make white of what the sensor saw, 1 or more: it sees less red
    and blue than green, so that they hold more noise."""
    contrast: float = 0.0
    """See `synth.sensor.tone.encode`."""

    def __post_init__(self) -> None:
        if not all(np.isfinite(b) and b >= 1.0 for b in self.balance):
            raise ValueError(f"sensor.balance must be 1 or more, got {self.balance}")
        if not -1.0 <= self.contrast <= 1.0:
            raise ValueError(f"sensor.contrast must lie in [-1, 1], got {self.contrast}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """How one picture, or the two views of one shot, are taken with a sensor."""

    brightness: float = 1.0
    """Factor on all light."""
    shot_noise: float = 0.0
    """Standard deviation of photon noise at white of a sensor's pixel; grows with root of light."""
    read_noise: float = 0.0
    """Standard deviation of the noise in the dark."""
    jpeg_quality: int | None = None
    """None: stored without loss."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.brightness) and self.brightness > 0.0):
            raise ValueError(f"exposure.brightness must be positive, got {self.brightness}")
        if not (0.0 <= self.shot_noise < np.inf and 0.0 <= self.read_noise < np.inf):
            raise ValueError("exposure.shot_noise and read_noise must be 0 or more")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                f"exposure.jpeg_quality must be from 1 to 100, got {self.jpeg_quality}"
            )


Noise = np.random.Generator | torch.Generator
"""Where noise comes from. torch's draws where its device is, and other numbers than numpy's."""


def read_out(light: Tensor, sensor: Sensor, exposure: Exposure, rng: Noise) -> Tensor:
    """The linear picture that a sensor gives of light.

    light: (V, 3, H, W), white is 1, more is allowed. rng: for the noise. Pixels see up to their
    white, noise of variance shot^2 light + read^2 comes to what they saw (before demosaicing, if
    there are filters), and red and blue are balanced after it. Returns (V, 3, H, W), around [0, 1];
    noise below black stays, as black levels keep it.
    """
    balance = torch.tensor([sensor.balance[0], 1.0, sensor.balance[1]])[:, None, None]
    balance = balance.to(light.device, non_blocking=True)
    seen = light * (exposure.brightness / balance)
    if sensor.demosaicing != "none":
        seen = mosaic(seen, sensor.phase)
    seen = seen.clamp_(max=1.0)
    if exposure.shot_noise > 0.0 or exposure.read_noise > 0.0:
        noise = _normal(tuple(seen.shape), rng).to(seen.device, non_blocking=True)
        deviation = seen.clamp_min(0.0).mul_(exposure.shot_noise**2).add_(exposure.read_noise**2)
        seen = seen.addcmul_(noise, deviation.sqrt_()).clamp_(max=1.0)
    if sensor.demosaicing != "none":
        seen = demosaic(seen, sensor.phase, sensor.demosaicing)
    return seen.mul_(balance)


def _normal(shape: tuple[int, ...], rng: Noise) -> Tensor:
    if isinstance(rng, torch.Generator):
        return torch.randn(shape, generator=rng, device=rng.device)
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
