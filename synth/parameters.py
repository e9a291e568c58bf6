"""What turns a scene into one synthetic pair, and what of it is drawn at random."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from synth.camera import Camera
from synth.distortion import Coefficients, check_coefficients
from synth.psf import PSF_FAMILIES
from synth.published_cameras import DddSynCamera, RdpdCamera
from synth.scene import Scene

MEASURED = "measured"
"""The kernel family of a bank of measured kernels, which is handed to `synthesize`."""
PUBLISHED = "published"
"""The kernel family of a published generator: `psf` makes the kernels."""

RendererName = Literal["layered", "gather", "scatter"]
Composite = Literal["over", "sum"]
Light = Literal["linear", "srgb"]
Border = Literal["symmetric", "reflect"]

_SENSOR_WIDTH_MM = 36.0
_LEAST_BLUR = 0.4  # share of max_coc_px that the most blurred part of a pair has at least


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
        if len(self.gain) != 2 or not all(np.isfinite(g) and g > 0.0 for g in self.gain):
            raise ValueError(f"gain must be two positive numbers, got {self.gain}")

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        return asdict(self)


def sample_parameters(
    rng: np.random.Generator,
    scene: Scene,
    *,
    families: Sequence[str] = tuple(PSF_FAMILIES),
    max_coc_px: float = 8.0,
    bit_depth: int = 8,
) -> PairParameters:
    """Draw a camera, kernels and noise that suit a scene.

    The focus lies inside the scene's depth range, mostly towards its near end, as photographers
    and the real dual-pixel sets have it: most blur is behind the focus. The aperture is such that
    the most blurred part comes to between 0.4 and 1 times max_coc_px.
    """
    unknown = [name for name in families if name not in (*PSF_FAMILIES, MEASURED)]
    if unknown or not families:
        raise ValueError(
            f"kernel families {list(families)}: choose from {', '.join(PSF_FAMILIES)}, {MEASURED}"
        )
    family = str(rng.choice(list(families)))
    return PairParameters(
        camera=_sample_camera(rng, scene, max_coc_px),
        family=family,
        psf=None if family == MEASURED else PSF_FAMILIES[family].sample(rng),
        max_coc_px=float(max_coc_px),
        bit_depth=bit_depth,
        shot_noise=float(rng.uniform(0.0, 0.012)),
        read_noise=float(rng.uniform(0.0, 0.002)),
    )


def _sample_camera(rng: np.random.Generator, scene: Scene, max_coc_px: float) -> Camera:
    near_m, far_m = (float(z) for z in np.quantile(scene.depth_m, [0.01, 0.99]))
    # Blur is linear in the inverse of depth, so that is where places are drawn: 0 near, 1 far.
    place = rng.choice(
        [rng.uniform(0.0, 0.15), rng.uniform(0.15, 0.6), rng.uniform(0.6, 1.0)], p=[0.6, 0.25, 0.15]
    )
    near_dioptre, far_dioptre = 1.0 / near_m, 1.0 / far_m
    focus_dioptre = near_dioptre + place * (far_dioptre - near_dioptre)
    focus_m = 1.0 / focus_dioptre
    # coc = scale * (focus * dioptre - 1), so the extreme is at one end of the range.
    extreme = max(focus_m * near_dioptre - 1.0, 1.0 - focus_m * far_dioptre)
    # A flat scene has no range: its one depth is then some way out of focus.
    if extreme < 0.02:
        focus_m *= float(rng.uniform(0.6, 0.9))
        extreme = abs(focus_m / near_m - 1.0)
    radius_px = float(rng.uniform(_LEAST_BLUR, 1.0)) * max_coc_px
    scale_px = radius_px / extreme

    f_number = float(np.exp(rng.uniform(np.log(1.4), np.log(8.0))))
    pitch_mm = _SENSOR_WIDTH_MM / scene.image.shape[1]
    # scale = f^2 / (2 N pitch (u - f)): solved for the focal length, which is below u always.
    product_mm = 2.0 * f_number * pitch_mm * scale_px
    focal_mm = 0.5 * (np.sqrt(product_mm**2 + 4.0 * product_mm * focus_m * 1000.0) - product_mm)
    return Camera(
        focal_length_mm=float(focal_mm),
        f_number=f_number,
        focus_distance_m=focus_m,
        pixel_pitch_um=pitch_mm * 1000.0,
    )
