"""Configuration of the steps that make synthetic pairs. Imports nothing heavy: help is printed
from it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from pipelines.config import StepConfig, aside, at_least, by_content, fraction, value_text
from pipelines.synthesis.camera_config import (
    OpticsConfig,
    SensorConfig,
    TargetConfig,
    check_kernel_weights,
)
from pipelines.synthesis.lens_config import BankConfig, LensConfig
from synth.choices import (
    APERTURE,
    MEASURED,
    METRES_PER_UNIT,
    MOST_COC_PX,
    READ_NOISE,
    RECOLOUR,
    SHOT_NOISE,
    Composite,
    KernelFamily,
    Light,
    PresetName,
    PublishedName,
    RendererName,
)

CAMERA: PresetName = "camera"
"""The preset that photographs scenes as real cameras do; its own kernel family is `APERTURE`."""

KERNEL_FAMILIES = (*get_args(KernelFamily), MEASURED)
PUBLISHED_PRESETS = get_args(PublishedName)
PRESETS = get_args(PresetName)
PROCEDURAL, PLACES, MOTORCYCLE = "procedural", "places", "motorcycle"
"""The sources that are not a place in storage."""
MADE = (PROCEDURAL, PLACES)
"""Those whose scenes are made, one for each pair, of the size asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthConfig(StepConfig):
    """Synthesise dual-pixel pairs from RGB-D scenes into a dataset version."""

    preset: str | None = None
    """camera: like real cameras, what a command does by itself; k3dn: wide ranges, 16 bit; ddd-syn,
    rdpd: as published; none: blur between two radii, kernels and lens as the keys say."""
    dataset: str = by_content("synth")
    """Name of the dataset."""
    version: str = aside("v1")
    """Version to make; a published one never changes."""
    source: str = by_content("procedural")
    """places, procedural, motorcycle, a folder (NNN_image, NNN_depth; SYNTHIA-SF), NYU's .mat."""
    textures: str = by_content("skimage")
    """Photographs on the surfaces of places and procedural: skimage, none, a folder or URL."""
    mirror: float = 0.5
    """Share of the pairs whose RGB-D scene is mirrored, left for right, before the photograph."""
    recolour: float = RECOLOUR
    """How strongly the colours of RGB-D scenes are varied, 0 (not at all) to 1."""
    kernels: list[str] = field(default_factory=lambda: ["butterworth", "integral"])
    """Families to draw from: butterworth, integral, translating_disk, measured (with bank.file);
    preset camera: aperture."""
    kernel_weights: list[float] | None = None
    """How often each of the families is drawn, e.g. 3,1; none: all alike."""
    bank: BankConfig = field(default_factory=BankConfig)
    """Measured kernels."""
    lens: LensConfig = field(default_factory=LensConfig)
    """A real lens, in place of blur that is drawn."""
    optics: OpticsConfig = field(default_factory=OpticsConfig)
    """The lens of preset camera."""
    sensor: SensorConfig = field(default_factory=SensorConfig)
    """The sensor of preset camera."""
    target: TargetConfig = field(default_factory=TargetConfig)
    """The target of preset camera."""
    renderer: RendererName = "layered"
    """layered, with occlusion; gather, as RDPD; scatter, as DDD-syn."""
    composite: Composite = "over"
    """How layered puts layers together: over, or sum, the paper's Eq. 5."""
    light: Light = "linear"
    """What is blurred: linear light, or srgb values as the published sets have it."""
    pairs: int = by_content(200)
    """Number of pairs."""
    size: str | None = "256x256"
    """Height x width of a pair in pixels; none keeps the source's own size."""
    min_coc_px: float | None = None
    """Least radius of a pair's most blurred part, in pixels; none is 0.4 max_coc_px."""
    max_coc_px: float | None = MOST_COC_PX
    """Largest radius of the blur disc in pixels, which a lens is clipped to; none in ddd-syn."""
    radial_distortion: float = 0.0
    """Largest lens distortion, 0.02 moves a corner of 480x640 by 4%; preset rdpd: 1 is its own."""
    gain: float = 0.0
    """Largest share by which one view is brighter and the other darker."""
    shot_noise: float = SHOT_NOISE
    """Largest standard deviation of photon noise at white, linear light."""
    read_noise: float = READ_NOISE
    """Largest standard deviation of noise in the dark, linear light."""
    bit_depth: int = 8
    """8 or 16."""
    val_fraction: float = by_content(0.1)
    """Share of scenes, and of photographs, kept for validation."""
    test_fraction: float = by_content(0.1)
    """Share of scenes, and of photographs, kept for the test."""
    seed: int = 0
    """Seed; every random number follows from it and the pair_id."""
    scene_of: Literal["folder", "picture"] = by_content("folder")
    """What counts as one scene of a source with sub-folders: folder, or picture."""
    depth_unit: str = "mm"
    """Unit of a folder's depth files: mm, cm, dm, m, or the metres per step, e.g. 0.0002."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where kernels are applied: cpu or cuda; a version is made on one device."""
    pairs_per_shard: int = by_content(16)
    """Pairs in one Parquet file, which a task makes as a whole."""
    max_rejected: float = aside(0.1)
    """Largest share of unusable inputs, 0 to 1; with more the run fails."""
    set_latest: bool = aside(True)
    """Let 'latest' point to this version when it is published."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        at_least(self.pairs, 1, "pairs")
        at_least(self.pairs_per_shard, 1, "pairs_per_shard")
        fraction(self.max_rejected, "max_rejected")
        fraction(self.mirror, "mirror")
        fraction(self.recolour, "recolour")
        fraction(self.val_fraction, "val_fraction")
        fraction(self.test_fraction, "test_fraction")
        if self.val_fraction + self.test_fraction > 1:
            raise ValueError("val_fraction and test_fraction together are more than 1")
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, got {self.bit_depth}")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be at least 0 and below 2**63, got {self.seed}")
        if self.depth_unit not in METRES_PER_UNIT and not _is_positive(self.depth_unit):
            raise ValueError(
                f"depth_unit must be {', '.join(METRES_PER_UNIT)}, or the metres of one step, "
                f"got '{self.depth_unit}'"
            )
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"device must be cpu or cuda, got '{self.device}'")
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got '{self.preset}'")
        if self.preset is not None and self.preset in PUBLISHED_PRESETS:
            self._check_published(self.preset)
        elif self.preset == CAMERA:
            self._check_camera()
        else:
            self._check_own()
        self._check_idle()

    def _check_own(self) -> None:
        if self.max_coc_px is None:
            raise ValueError("max_coc_px=none is only for preset ddd-syn")
        if not 0 < self.max_coc_px <= 128:
            raise ValueError(f"max_coc_px must be above 0 and at most 128, got {self.max_coc_px:g}")
        if self.min_coc_px is not None and not 0 < self.min_coc_px <= self.max_coc_px:
            raise ValueError(
                f"min_coc_px must be above 0 and at most max_coc_px, got {self.min_coc_px:g}"
            )
        self._check_amounts()
        if APERTURE in self.kernels:
            raise ValueError(f"kernels={APERTURE} is only for preset={CAMERA}: give both")
        self._check_families(KERNEL_FAMILIES)
        if self.renderer == "scatter" and self.kernels != ["integral"]:
            raise ValueError("renderer=scatter spreads over windows: give kernels=integral with it")
        if self.composite == "sum" and self.renderer != "layered":
            raise ValueError(f"composite=sum goes with renderer=layered, not {self.renderer}")
        self._check_size()
        if self.height_width is not None:
            _folds_nothing(self.radial_distortion, *self.height_width)

    def _check_camera(self) -> None:
        from pipelines.synthesis.preset_values import CAMERA_FIXED

        for key, value in CAMERA_FIXED.items():
            if getattr(self, key) != value:
                raise ValueError(
                    f"preset {CAMERA} has {key}={value_text(value)}, "
                    f"not {value_text(getattr(self, key))}; leave {key} out, or give preset=none"
                )
        self._check_amounts()
        self._check_families((APERTURE, *KERNEL_FAMILIES))
        self._check_size()

    def _check_amounts(self) -> None:
        for key, most in (
            ("radial_distortion", 0.2),
            ("gain", 0.9),
            ("shot_noise", 1.0),
            ("read_noise", 1.0),
        ):
            if not 0 <= getattr(self, key) <= most:
                raise ValueError(f"{key} must be from 0 to {most:g}, got {getattr(self, key):g}")

    def _check_families(self, known: Sequence[str]) -> None:
        if not self.kernels:
            raise ValueError(f"kernels must name at least one of {', '.join(known)}")
        for family in self.kernels:
            if family not in known:
                raise ValueError(f"kernels must be among {', '.join(known)}, got '{family}'")
        if (MEASURED in self.kernels) != (self.bank.file is not None):
            raise ValueError(
                "measured kernels come from a file: give kernels=measured and bank.file=... "
                "together"
            )
        check_kernel_weights(self.kernels, self.kernel_weights)

    def _check_size(self) -> None:
        if self.size is None and self.source in MADE:
            raise ValueError(
                f"size: {self.source} scenes have no size of their own; give e.g. 256x256"
            )

    def _check_published(self, name: str) -> None:
        from pipelines.synthesis.preset_values import fixed_values, source_of

        if self.source in (*MADE, MOTORCYCLE):
            raise ValueError(f"preset {name} is made from {source_of(name)}; give source=...")
        for key, value in fixed_values(name).items():
            if getattr(self, key) != value:
                raise ValueError(
                    f"preset {name} has {key}={value_text(value)}, "
                    f"not {value_text(getattr(self, key))}; leave {key} out"
                )
        if self.radial_distortion not in (0.0, 1.0):
            raise ValueError(
                f"radial_distortion in preset {name} must be 0, or 1 for that of its cameras, "
                f"got {self.radial_distortion:g}"
            )

    def _check_idle(self) -> None:
        """Refuse what would change nothing, so that nobody believes that it did."""
        published, camera = self.preset in PUBLISHED_PRESETS, self.preset == CAMERA
        no_folder = self.source in (*MADE, MOTORCYCLE) or self.source.lower().endswith(".mat")
        for idle, keys, why in (
            (published, ("val_fraction", "test_fraction"), f"preset {self.preset} has its splits"),
            (published, ("seed",), f"in preset {self.preset} nothing is drawn"),
            (published, ("bank",), f"preset {self.preset} has its kernels"),
            (self.bank.file is None, ("bank",), "there is no bank.file"),
            (published, ("lens",), f"preset {self.preset} has its cameras"),
            (camera, ("lens",), f"preset {CAMERA} has its cameras, preset=none takes a lens"),
            (published, ("kernel_weights",), f"preset {self.preset} has its kernels"),
            (not camera, ("optics", "sensor", "target"), f"it is for preset={CAMERA}"),
            (self.lens.focal_length_mm is None, ("lens",), "there is no lens.focal_length_mm"),
            (
                self.source not in MADE,
                ("textures",),
                "textures are for source=places or procedural",
            ),
            (
                self.source in MADE,
                ("mirror", "recolour"),
                f"every scene of source={self.source} is another one",
            ),
            (published or no_folder, ("depth_unit",), "depth_unit is for a folder of scenes"),
            (published or no_folder, ("scene_of",), "scene_of is for a folder of scenes"),
        ):
            given = [name for key in keys for name in self._given(key)] if idle else []
            if given:
                raise ValueError(f"{', '.join(given)} would change nothing: {why}; leave it out")
        filled_in = self.fill_in({"preset": self.preset}) if self.lens.focal_length_mm else {}
        if self.lens.focal_length_mm and self.min_coc_px != filled_in.get("min_coc_px"):
            raise ValueError(
                "min_coc_px would change nothing: blur follows from the lens; leave it out"
            )

    def _given(self, key: str) -> list[str]:
        """Return the key, or those below it, that have another value than their default."""
        value = getattr(self, key)
        if isinstance(value, BankConfig | LensConfig | OpticsConfig | SensorConfig | TargetConfig):
            plain = type(value)()
            names = [below.name for below in fields(value)]
            return [f"{key}.{n}" for n in names if getattr(value, n) != getattr(plain, n)]
        default = next(f.default for f in fields(self) if f.name == key)
        assert default is not MISSING
        return [key] if value != default else []

    @classmethod
    def fill_in(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys that the preset among the values sets; where none is named, camera's."""
        preset = values.get("preset", CAMERA)
        if preset not in PRESETS:
            return {}
        from pipelines.synthesis.preset_values import preset_values

        found = preset_values(preset)
        if "preset" in values:
            return found
        # What was not named names no dataset, nor how much of it.
        return {"preset": CAMERA} | {
            key: value for key, value in found.items() if key not in ("dataset", "pairs")
        }

    @classmethod
    def of_preset(cls, preset: str, **keys: Any) -> "SynthConfig":
        """Return the configuration of a preset; ``keys`` stand above it, as on a command line."""
        return cls(**(cls.fill_in({"preset": preset}) | {"preset": preset} | keys))

    @property
    def height_width(self) -> tuple[int, int] | None:
        """``size`` as numbers; None for the source's own."""
        if self.size is None:
            return None
        match = re.fullmatch(r"(\d+)x(\d+)", self.size)
        if match is None:
            raise ValueError(f"size must be height x width such as 256x384, got '{self.size}'")
        height, width = int(match[1]), int(match[2])
        if not (16 <= height <= 16384 and 16 <= width <= 16384):
            raise ValueError(f"size must be from 16 to 16384 pixels a side, got '{self.size}'")
        return height, width


@dataclass(frozen=True, kw_only=True, slots=True)
class RegenerateConfig(StepConfig):
    """Make the next version of a synthetic dataset from its stored settings."""

    dataset: str = "synth"
    """Name of the dataset."""
    synth: SynthConfig | None = None
    """Settings, kept as the recipe once they made a version; none takes the kept ones."""
    stamp: str | None = None
    """Name of the version, e.g. a date; a second run with it makes nothing new. None: the next
    number."""
    new_seed: bool = True
    """Draw fresh pairs: the seed then follows from the recipe's and the version's name.
    Published presets draw nothing."""


def _is_positive(text: str) -> bool:
    try:
        return 0.0 < float(text) < math.inf
    except ValueError:
        return False


def _folds_nothing(radial_distortion: float, height: int, width: int) -> None:
    """Refuse distortion of which the strongest drawn would show a place twice."""
    # r (1 + B - B r^2) has to grow up to the corner: B (3 r^2 - 1) < 1, r in half the short side.
    corner = (height**2 + width**2) / min(height, width) ** 2
    most = 1.0 / (3.0 * corner - 1.0)
    if radial_distortion >= most:
        raise ValueError(
            f"radial_distortion at size {height}x{width} must be below {most:.3f}, where the "
            f"corners fold, got {radial_distortion:g}"
        )
