"""The presets as data: what to make, of which scenes, by what name.

Nothing is read or written here; the pipelines do that. The two published presets say exactly which
pictures the published sets hold and how each came about, and which of their steps could not be
checked against arrays of the published generators.
"""

from dataclasses import dataclass
from typing import Literal

from synth.camera import CameraRanges
from synth.choices import PUBLISHED, Border, Light, PresetName, PublishedName, RendererName
from synth.parameters import PairParameters, PairRanges
from synth.psf.family import KernelPair
from synth.psf.published import published_butterworth
from synth.published_cameras import (
    DDD_SYN_CAMERAS,
    RDPD_CAMERAS,
    DddSynCamera,
    RdpdCamera,
)
from synth.shot_ranges import ShotRanges

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ButterworthSettings:
    """Settings of the published Butterworth kernels. Calling it makes the two kernels."""

    order: int
    """n."""
    cutoff: float
    """f, 1 over the paper's alpha."""
    beta: float
    """Light in the middle."""
    smoothing: float = 7
    """S, 1 over the paper's kappa."""

    def __call__(self, coc_px: float) -> KernelPair:
        """(K_L, K_R) of a whole radius, near positive; see `published_butterworth`."""
        if coc_px != int(coc_px):
            raise ValueError(
                f"the radius of published Butterworth kernels must be a whole number, got {coc_px}"
            )
        left, right, _ = published_butterworth(
            int(coc_px), self.order, self.cutoff, self.beta, self.smoothing
        )
        return left, right


@dataclass(frozen=True, kw_only=True, slots=True)
class FileNames:
    """Paths below the set's root. {number} and {frame} stand for what tells pictures apart."""

    left: str
    right: str
    target: str
    combined: str | None = None
    disparity: str | None = None
    """DDD-syn's disparity in pixels, as PFM, bottom row first."""

    def of(self, number: int, frame: str = "") -> dict[str, str]:
        """Paths by role (left, right, target, ...), for one picture; roles without one left out."""
        patterns = {
            "left": self.left,
            "right": self.right,
            "target": self.target,
            "combined": self.combined,
            "disparity": self.disparity,
        }
        return {
            role: pattern.format(number=number, frame=frame)
            for role, pattern in patterns.items()
            if pattern is not None
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PresetPart:
    """The pictures that one camera takes of some scenes of the source."""

    camera: RdpdCamera | DddSynCamera
    """Its `coc_px` is what to render with; a DDD-syn camera wants whole pictures."""
    kernels: ButterworthSettings | None
    """None: the window of DDD-syn, whose side is all there is to it."""
    split: Split
    """All pictures of one scene have the same, whichever camera took them."""
    scenes: range
    """Scenes by their number in the source, from 1: NYU images, or SYNTHIA-SF sequences."""
    number_offset: int
    """A file's number is the scene's and this."""
    files: FileNames
    """Where the published set has them."""
    copies: tuple[FileNames, ...] = ()
    """Where the published set has them a second time."""

    def number(self, scene: int) -> int:
        """The number in the file names of a scene of this part. Raises ValueError for others."""
        if scene not in self.scenes:
            raise ValueError(
                f"scenes of camera {self.camera.name} must be from {self.scenes.start} to "
                f"{self.scenes.stop - 1}, got {scene}"
            )
        return scene + self.number_offset

    def pair_id(self, scene: int, frame: str = "") -> str:
        """Unique within the preset, which DDD-syn's numbers are not: idx0-0001, set_0-003-000012.

        frame: name of the frame's file in a sequence, its ending is left out.
        """
        stem = frame.rsplit(".", 1)[0]
        width = 3 if frame else 4
        number = f"{self.camera.name}-{self.number(scene):0{width}d}"
        return f"{number}-{stem}" if stem else number


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedPreset:
    """A published set: which pictures it holds and how they came about."""

    name: PublishedName
    source: Literal["nyu", "synthia-sf"]
    """Where the scenes come from."""
    renderer: RendererName
    light: Light
    """What is blurred: gamma-encoded values as they are, or light."""
    bit_depth: int
    size: tuple[int, int]
    """Height and width of the pictures as published."""
    max_coc_px: float | None
    """Radii beyond are clipped by the camera."""
    border: Border
    """How gather continues the picture."""
    parts: tuple[PresetPart, ...]
    pairs: dict[str, int]
    """Pairs of each split, copies not counted."""
    unverified: tuple[str, ...]
    """Steps that no array of the published generator covers."""

    @property
    def distorts(self) -> bool:
        """Whether its generator has a radial distortion, on demand."""
        return all(isinstance(part.camera, RdpdCamera) for part in self.parts)

    def scene_id(self, scene: int) -> str:
        """Name of a scene of the source; equal names never straddle splits."""
        return f"{self.source}-{scene:04d}"

    def parameters(self, part: PresetPart, *, radial_distortion: bool = False) -> PairParameters:
        """What turns a scene into a pair of a part. There is no noise, and nothing is drawn.

        radial_distortion: with the coefficients of RDPD's camera. ValueError for DDD-syn's, which
        have none.
        """
        camera = part.camera
        coefficients = None
        if radial_distortion:
            if not isinstance(camera, RdpdCamera):
                raise ValueError(f"preset {self.name} has no radial distortion")
            coefficients = camera.radial_distortion
        return PairParameters(
            camera=camera,
            family=PUBLISHED,
            psf=part.kernels,
            max_coc_px=self.max_coc_px,
            bit_depth=self.bit_depth,
            shot_noise=0.0,
            read_noise=0.0,
            renderer=self.renderer,
            light=self.light,
            border=self.border,
            radial_distortion=coefficients,
            cropped_to=self.size if isinstance(camera, DddSynCamera) else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnPreset:
    """A set of ours: cameras and kernels are drawn for each pair, scenes come from any source."""

    name: PresetName
    ranges: PairRanges
    size: tuple[int, int]
    """Height and width in pixels, which the blur radii go with."""
    pairs: int
    """Unless asked otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraPreset:
    """A set of ours after real cameras: `synth.photograph` takes drawn shots of any scenes."""

    name: PresetName
    ranges: ShotRanges
    size: tuple[int, int]
    """Height and width in pixels."""
    pairs: int
    """Unless asked otherwise."""


def _ddd_syn() -> PublishedPreset:
    def part(camera: str, folder: str, split: Split, scenes: range, offset: int) -> PresetPart:
        return PresetPart(
            camera=DDD_SYN_CAMERAS[camera],
            kernels=None,
            split=split,
            scenes=scenes,
            number_offset=offset,
            files=FileNames(
                left=f"NYU/{folder}/dp/{{number:04d}}_l.png",
                right=f"NYU/{folder}/dp/{{number:04d}}_r.png",
                target=f"NYU/{folder}/gt/{{number:04d}}_m.png",
                disparity=f"NYU/{folder}/disp/{{number:04d}}_dm.pfm",
            ),
        )

    return PublishedPreset(
        name="ddd-syn",
        source="nyu",
        renderer="scatter",
        light="srgb",
        bit_depth=8,
        size=(480, 640),
        max_coc_px=None,
        border="symmetric",
        parts=(
            *(
                part(f"idx{index}", "training", "train", range(1, 1001), 1000 * index)
                for index in range(5)
            ),
            part("testing", "testing", "test", range(1001, 1351), 5000),
            part("testing1", "testing1", "test", range(1001, 1151), 5000),
        ),
        pairs={"train": 5000, "test": 500},
        unverified=(
            "the reader of NYU Depth v2's labelled file",
            "the crop and the bicubic, antialiased resize to 480 x 640 after rendering, of views, "
            "target and disparity (whose values stay as they are)",
            "the second disparity file (_dl.pfm), which is not made",
            "that no room of NYU has images on both sides of 1000, where the published split cuts",
        ),
    )


def _rdpd() -> PublishedPreset:
    # The generator has 12 settings (order 3, 6, 9 x cut-off 2.5, 2 x beta 0.1, 0.2) and takes the
    # one of the sequence's number; of SYNTHIA-SF's 6 sequences the others never see a picture.
    settings = [
        ButterworthSettings(order=order, cutoff=cutoff, beta=beta)
        for order, cutoff in ((3, 2.5), (3, 2.0), (6, 2.5))
        for beta in (0.1, 0.2)
    ]

    def files(folder: str) -> FileNames:
        root = f"dd_dp_dataset_synth_vid/{folder}"
        return FileNames(
            left=f"{root}_l/source/seq_{{number:03d}}/{{frame}}",
            right=f"{root}_r/source/seq_{{number:03d}}/{{frame}}",
            target=f"{root}_c/target/seq_{{number:03d}}/{{frame}}",
            combined=f"{root}_c/source/seq_{{number:03d}}/{{frame}}",
        )

    return PublishedPreset(
        name="rdpd",
        source="synthia-sf",
        renderer="gather",
        light="srgb",
        bit_depth=8,
        size=(1080, 1920),
        max_coc_px=40.0,
        border="reflect",
        parts=tuple(
            PresetPart(
                camera=camera,
                kernels=settings[sequence - 1],
                split="test" if sequence == 3 else "train",
                scenes=range(sequence, sequence + 1),
                number_offset=6 * index,
                files=files("test" if sequence == 3 else "train"),
                copies=(files("val"),) if sequence == 3 else (),
            )
            for index, camera in enumerate(RDPD_CAMERAS.values())
            for sequence in range(1, 7)
        ),
        pairs={"train": 10115, "test": 1005},
        unverified=(
            "the reader of SYNTHIA-SF's folders (its encoded depth is)",
            "the radial distortion (each camera has its coefficients), which the generator leaves "
            "out unless asked",
        ),
    )


def _k3dn() -> OwnPreset:
    return OwnPreset(
        name="k3dn",
        ranges=PairRanges(
            # Not the window, whose views lie twice as far apart as those of any camera measured.
            families=("butterworth", "translating_disk"),
            # From next to nothing to what the published sets have at their worst, which is 40 px
            # at three times the width.
            cameras=CameraRanges(extreme_coc_px=(1.0, 16.0)),
            bit_depth=16,
            radial_distortion=0.02,
            gain=0.05,
        ),
        size=(480, 640),
        pairs=10000,
    )


def _camera() -> CameraPreset:
    return CameraPreset(name="camera", ranges=ShotRanges(), size=(384, 512), pairs=10000)


PRESETS: dict[str, PublishedPreset | OwnPreset | CameraPreset] = {
    preset.name: preset for preset in (_ddd_syn(), _rdpd(), _k3dn(), _camera())
}
"""Every preset by its name on the command line."""
