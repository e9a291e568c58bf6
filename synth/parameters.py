"""What turns a scene into one synthetic pair, and what of it is drawn at random."""

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import numpy as np

from synth.camera import Camera, CameraRanges, LensRanges
from synth.choices import (
    MEASURED,
    PUBLISHED,
    READ_NOISE,
    SHOT_NOISE,
    Border,
    Composite,
    Light,
    RendererName,
    check_weights,
)
from synth.distortion import Coefficients, check_coefficients
from synth.psf import PSF_FAMILIES
from synth.published_cameras import DddSynCamera, RdpdCamera
from synth.scene import Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class PairParameters:
    """All that turns a scene into one pair, apart from the noise's random numbers."""

    camera: Camera | RdpdCamera | DddSynCamera
    """The lens and where it is focused."""
    family: str
    """Name of the kernel family; `measured` and `published` are two more."""
    psf: Any
    """Parameters of that family. measured: None. published: a dataclass that, called with the
    signed radius, returns (K_L, K_R), or, for scatter, None: its window has no parameters."""
    max_coc_px: float | None
    """Blur radii are clipped to this; None leaves them as the camera gives them."""
    bit_depth: int
    """8 or 16."""
    shot_noise: float
    """Standard deviation of photon noise at white, linear light; grows with the root of light."""
    read_noise: float
    """Standard deviation of the noise in the dark, linear light."""
    renderer: RendererName = "layered"
    """layered, with occlusion; gather, as RDPD; scatter, as DDD-syn, for the family integral and
    published windows."""
    composite: Composite = "over"
    """How layered puts layers together: over, nearer before farther; sum, Eq. 5 of the paper."""
    light: Light = "linear"
    """What is blurred: linear light, or srgb, gamma-encoded values as the published sets have."""
    border: Border = "symmetric"
    """How gather continues the picture; reflect, without the outermost pixels, is published."""
    radial_distortion: Coefficients | None = None
    """A, B, C, D of `synth.distortion`, for views, combined and target alike; None: none."""
    gain: tuple[float, float] = (1.0, 1.0)
    """Factors on the light of the left and the right view."""
    cropped_to: tuple[int, int] | None = None
    """What is rendered is cropped as a DDD-syn camera says and resized to this height and width,
    pictures and blur radii (whose values stay as they are) alike; None leaves it whole."""

    def __post_init__(self) -> None:
        if self.family not in (*PSF_FAMILIES, MEASURED, PUBLISHED):
            raise ValueError(
                f"unknown kernel family {self.family!r}: choose from "
                f"{', '.join(PSF_FAMILIES)}, {MEASURED}, {PUBLISHED}"
            )
        if self.max_coc_px is not None and not self.max_coc_px > 0.0:
            raise ValueError(f"max_coc_px must be positive, got {self.max_coc_px}")
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, got {self.bit_depth}")
        if self.shot_noise < 0.0 or self.read_noise < 0.0:
            raise ValueError("noise must not be negative")
        for name, kind in (
            ("renderer", RendererName),
            ("composite", Composite),
            ("light", Light),
            ("border", Border),
        ):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}: "
                    f"choose from {', '.join(get_args(kind))}"
                )
        if self.renderer == "scatter" and self.family not in ("integral", PUBLISHED):
            raise ValueError(
                f"scatter spreads pixels over windows: it takes the kernel families integral and "
                f"{PUBLISHED}, got {self.family}"
            )
        if self.radial_distortion is not None:
            check_coefficients(self.radial_distortion)
        if self.cropped_to is not None and not isinstance(self.camera, DddSynCamera):
            raise ValueError("cropped_to goes with a camera of DDD-syn, which says what to crop")
        if len(self.gain) != 2 or not all(np.isfinite(g) and g > 0.0 for g in self.gain):
            raise ValueError(f"gain must be two positive numbers, got {self.gain}")

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRanges:
    """What is drawn for each pair of a set, and from which ranges; all draws are even."""

    families: tuple[str, ...] = tuple(PSF_FAMILIES)
    """Kernel families; `measured` may be among them."""
    weights: tuple[float, ...] | None = None
    """Chances of the families, of any sum; None: equal."""
    cameras: CameraRanges | LensRanges = field(default_factory=CameraRanges)
    """Lenses and where they are focused; blur radii are clipped to their greatest."""
    bit_depth: int = 8
    """8 or 16."""
    renderer: RendererName = "layered"
    """As in `PairParameters`, as are the next two."""
    composite: Composite = "over"
    light: Light = "linear"
    shot_noise: float = SHOT_NOISE
    """Greatest standard deviation of photon noise at white, linear light."""
    read_noise: float = READ_NOISE
    """Greatest standard deviation of the noise in the dark, linear light."""
    radial_distortion: float = 0.0
    """Greatest B, of either sign, of r_source = r (B r^2 + 1 - B), r in halves of the shorter side:
    the lens pulls the corners in or out, and the circle through the nearer edges stays."""
    gain: float = 0.0
    """Greatest share by which one view is brighter and the other darker than their mean."""

    def __post_init__(self) -> None:
        known = (*PSF_FAMILIES, MEASURED)
        if not self.families or any(name not in known for name in self.families):
            raise ValueError(
                f"kernel families {list(self.families)}: choose from {', '.join(known)}"
            )
        if self.weights is not None:
            check_weights(self.weights, len(self.families))
        for name in ("shot_noise", "read_noise", "radial_distortion"):
            value = getattr(self, name)
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if not 0.0 <= self.gain < 1.0:
            raise ValueError(f"gain must be from 0 to below 1, got {self.gain}")


def sample_parameters(
    rng: np.random.Generator, scene: Scene, ranges: PairRanges | None = None
) -> PairParameters:
    """Draw a camera, kernels, noise and the rest that suit a scene. None: the default ranges."""
    ranges = ranges or PairRanges()
    chances = None if ranges.weights is None else np.divide(ranges.weights, sum(ranges.weights))
    family = str(rng.choice(list(ranges.families), p=chances))
    share, bend = rng.uniform(-ranges.gain, ranges.gain), rng.uniform(-1.0, 1.0)
    bend *= ranges.radial_distortion
    return PairParameters(
        camera=ranges.cameras.sample(rng, scene.depth_m),
        family=family,
        psf=None if family == MEASURED else PSF_FAMILIES[family].sample(rng),
        max_coc_px=ranges.cameras.max_coc_px,
        bit_depth=ranges.bit_depth,
        shot_noise=float(rng.uniform(0.0, ranges.shot_noise)),
        read_noise=float(rng.uniform(0.0, ranges.read_noise)),
        renderer=ranges.renderer,
        composite=ranges.composite,
        light=ranges.light,
        radial_distortion=(0.0, float(bend), 0.0, 1.0 - float(bend)) if bend else None,
        gain=(1.0 + float(share), 1.0 - float(share)),
    )
