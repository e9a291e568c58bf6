"""Keys of pairs that are made while training. Imports nothing heavy: help is printed from it."""

from dataclasses import dataclass, field
from typing import get_args

from pipelines.synthesis.camera_config import (
    OpticsConfig,
    SensorConfig,
    TargetConfig,
    check_kernel_weights,
)
from pipelines.training.for_pictures import LENS
from synth.choices import APERTURE, RECOLOUR, KernelFamily
from synth.shot_ranges import ShotRanges

_DRAWN = ShotRanges()
"""Has the defaults."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveOpticsConfig(OpticsConfig):
    """The lens of preset camera, with blur from weak to strong (docs/quality.md)."""

    blur: list[float] = field(default_factory=lambda: [0.001, 0.016])
    """Blur radius of a pair's most blurred part, as a share of the frame's width."""
    near_share: float = 0.35
    """Share of the pairs that are focused towards the far end of the scene: most blur is near."""
    disparity: list[float] = field(default_factory=lambda: list(LENS["disparity"]))
    """Distance of the two views' centroids over the blur radius."""
    rim: list[float] = field(default_factory=lambda: list(LENS["rim"]))
    """Light at the rim of a blur disc: below 0 darker, above 0 brighter than in the middle."""
    softness: list[float] = field(default_factory=lambda: list(LENS["softness"]))
    """Width of the rim, in blur radii."""
    slope: list[float] = field(default_factory=lambda: list(LENS["slope"]))
    """How much the light falls over a radius of the aperture, far off the axis; at most 1."""
    frame_width: int | None = 1000
    """Width in pixels of the 3:2 frame that a pair is a part of; none: a pair is a frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveConfig:
    """Pairs of datasets=synth://PACK: preset camera, of scenes in the pack and scenes made up."""

    made: float = 0.5
    """Share of the pairs whose scene is made up; the others are of the pack's RGB-D scenes."""
    places: float = 0.5
    """Share of the made-up scenes that are places; the others are layered collages."""
    reuse: int = 16
    """How many pairs share a made-up scene, which takes longer to make than a pair."""
    repeat: float = 1.0
    """How often each pixel of a pair is trained on, on the average. Above 1, larger pairs are kept
    in a pool from which patches are cut, for training in one process (docs/gpu.md)."""
    pool: int = 4096
    """Pairs that the pool keeps, where repeat is above 1: the newest."""
    pool_px: int = 320
    """Height and width of those."""
    kernels: list[str] = field(
        default_factory=lambda: [APERTURE, "butterworth", "translating_disk"]
    )
    """Kernel families: aperture, drawn as optics says, butterworth, translating_disk, ..."""
    kernel_weights: list[float] | None = field(default_factory=lambda: [0.7, 0.15, 0.15])
    """Chances of the families; none: equal."""
    recolour: float = RECOLOUR
    """How strongly scenes of the pack change their light and colours, 0 to 1."""
    optics: LiveOpticsConfig = field(default_factory=LiveOpticsConfig)
    """The lens."""
    sensor: SensorConfig = field(default_factory=SensorConfig)
    """The sensor."""
    target: TargetConfig = field(default_factory=TargetConfig)
    """The target."""
    shot_noise: float = _DRAWN.shot_noise[1]
    """Greatest standard deviation of photon noise at white, linear light."""
    read_noise: float = _DRAWN.read_noise[1]
    """Greatest standard deviation of the noise in the dark, linear light."""
    gain: float = _DRAWN.gain
    """Greatest share by which one view is brighter and the other darker than their mean."""

    def __post_init__(self) -> None:
        """Refuse impossible values. Raises ValueError that names the key."""
        for key in ("made", "places", "recolour"):
            if not 0.0 <= getattr(self, key) <= 1.0:
                raise ValueError(f"live.{key} must be in [0, 1], got {getattr(self, key)}")
        if self.reuse < 1:
            raise ValueError(f"live.reuse must be at least 1, got {self.reuse}")
        if not self.repeat >= 1.0:
            raise ValueError(f"live.repeat must be at least 1, got {self.repeat}")
        for key, least in (("pool", 1), ("pool_px", 16)):
            if getattr(self, key) < least:
                raise ValueError(f"live.{key} must be at least {least}, got {getattr(self, key)}")
        known = (APERTURE, *get_args(KernelFamily))
        for family in self.kernels or [""]:
            if family not in known:
                raise ValueError(f"live.kernels must be among {', '.join(known)}, got {family!r}")
        check_kernel_weights(self.kernels, self.kernel_weights, "live.")
        for key in ("shot_noise", "read_noise", "gain"):
            if not 0.0 <= getattr(self, key) < 1.0:
                raise ValueError(f"live.{key} must be in [0, 1), got {getattr(self, key)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledLiveConfig(LiveConfig):
    """For training in one process, which can keep pairs."""

    repeat: float = 4.0
    """How often each pixel of a pair is trained on, on the average; 1: patches are made one by
    one, without a pool."""
