"""What the pictures of depth are made from: lenses, scenes by formula, the exact answer to a step.

Where a scene is an object before a background, and one of the two is in focus, what a lens sees is
known, and so what each renderer makes of it can be held against the truth:

    object blurred        K * (A I_near) + (1 - K * A) I_far
    background blurred    A I_near + (1 - A) (K * I_far)

A is the object's share of each pixel. The background is there behind the object, too, which no
renderer is told.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

import synth
from synth import PSF_FAMILIES, Camera, PairParameters, Scene, SyntheticPair
from synth.convolve import convolve_views
from synth.presets import PRESETS, PublishedPreset
from synth.psf import KernelPair
from synth.published_cameras import RDPD_CAMERAS
from tests.benchmarks.pictures.drawing import BLUE, INK, RED, Curve, Picture, enlarge, line, plot

TEAL = np.array((0.10, 0.30, 0.28))
ORANGE = np.array((0.95, 0.45, 0.10))
"""Objects, sRGB."""


def our_parameters(camera: Camera, family: str = "butterworth") -> PairParameters:
    """A pair of ours without noise: layered, with occlusion, in linear light."""
    return PairParameters(
        camera=camera,
        family=family,
        psf=PSF_FAMILIES[family].parameters(),
        max_coc_px=None,
        bit_depth=8,
        shot_noise=0.0,
        read_noise=0.0,
    )


def published_parameters(preset_name: str, camera_name: str) -> PairParameters:
    """A published pair without the crop and resize that DDD-syn ends with."""
    preset = PRESETS[preset_name]
    assert isinstance(preset, PublishedPreset)
    part = next(part for part in preset.parts if part.camera.name == camera_name)
    return replace(preset.parameters(part), cropped_to=None)


def thin_lens(scale_px: float, focus_m: float) -> Camera:
    """A 50 mm f/2 lens with the pixels that blur a point at infinity by scale_px."""
    fitting = Camera(
        focal_length_mm=50.0, f_number=2.0, focus_distance_m=focus_m, pixel_pitch_um=1.0
    )
    return replace(fitting, pixel_pitch_um=fitting.coc_scale_px / scale_px)


def rdpd_lens(name: str) -> Camera:
    """The thin lens that RDPD's camera rounds."""
    camera = RDPD_CAMERAS[name]
    return thin_lens(camera.coc_scale_px, camera.focus_distance_m)


def depth_at(coc_px: float, lens: Camera) -> float:
    """The depth that a lens blurs by a radius."""
    return lens.coc_scale_px * lens.focus_distance_m / (coc_px + lens.coc_scale_px)


def photograph(scene: Scene, parameters: PairParameters) -> SyntheticPair:
    """A pair without noise."""
    return synth.synthesize(scene, parameters, synth.generator(0, "no noise"))


def psf_of(parameters: PairParameters) -> Callable[[float], KernelPair]:
    """The kernels of a pair of ours."""
    family = PSF_FAMILIES[parameters.family]
    return lambda coc_px: family(coc_px, parameters.psf)


@dataclass(frozen=True, slots=True)
class StepScene:
    """An object before a background, each of one depth."""

    near: np.ndarray
    """sRGB (H, W, 3), also outside the object."""
    matte: np.ndarray
    """The object's share of each pixel, (H, W)."""
    far: np.ndarray
    """sRGB (H, W, 3), also behind the object."""
    near_m: float
    far_m: float

    @property
    def scene(self) -> Scene:
        """The picture and its depth, as a source of scenes has them."""
        matte = self.matte[..., None]
        near, far = (synth.srgb_to_linear(picture) for picture in (self.near, self.far))
        image = synth.linear_to_srgb(matte * near + (1.0 - matte) * far)
        depth_m = np.where(self.matte >= 0.5, self.near_m, self.far_m)
        return Scene("step", image.astype(np.float32), depth_m.astype(np.float32))

    def exact(self, near_px: float, far_px: float, psf: Callable[[float], KernelPair]) -> Picture:
        """The left view by the formulas above, of blur radii of which one is 0."""
        assert 0.0 in (near_px, far_px)
        near, far = (synth.srgb_to_linear(i.astype(np.float32)) for i in (self.near, self.far))
        matte = self.matte[..., None].astype(np.float32)
        hidden = np.concatenate([matte * near, matte], axis=-1)
        front, back = blur(hidden, psf(near_px)[0]), blur(far, psf(far_px)[0])
        linear = front[..., :3] + (1.0 - front[..., 3:]) * back
        return synth.quantize(synth.linear_to_srgb(linear), 8)


def blur(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution, the picture mirrored beyond its borders; float32 (H, W, C)."""
    half = kernel.shape[0] // 2
    padded = np.pad(picture, ((half, half), (half, half), (0, 0)), mode="symmetric")
    planes = np.ascontiguousarray(padded.transpose(2, 0, 1), dtype=np.float32)
    return convolve_views(planes, kernel, kernel)[0].transpose(1, 2, 0)


def disc_before(near: np.ndarray, far: np.ndarray, near_m: float, far_m: float) -> StepScene:
    """A round object in the middle."""
    height, width = far.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    matte = np.clip(0.33 * height - np.hypot(x - 0.5 * width, y - 0.5 * height) + 0.5, 0.0, 1.0)
    return StepScene(np.broadcast_to(near, far.shape), matte, far, near_m, far_m)


def bands(size: tuple[int, int], period: int = 16) -> np.ndarray:
    """Yellow and dark blue bands across, sRGB."""
    bright = (np.arange(size[0]) // (period // 2) % 2 == 0)[:, None, None]
    rows = np.where(bright, (0.95, 0.85, 0.25), (0.08, 0.12, 0.35))
    return np.broadcast_to(rows, (*size, 3)).copy()


def lights(size: tuple[int, int], spacing: int = 13) -> np.ndarray:
    """Small bright lights before a dark ground, sRGB."""
    y, x = np.mgrid[: size[0], : size[1]]
    shifted = x + (y // spacing % 2) * (spacing // 2)
    lit = np.hypot(y % spacing - spacing // 2, shifted % spacing - spacing // 2) < 2.2
    return np.where(lit[..., None], (1.0, 0.95, 0.8), (0.10, 0.14, 0.22))


def rms_levels(picture: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Root mean square of the difference in 8-bit levels."""
    difference = picture[where].astype(float) - truth[where]
    return float(np.sqrt(np.mean(difference**2)))


def edge_band(step: StepScene, radius_px: float) -> np.ndarray:
    """The pixels within a radius of the object's outline."""
    side = 2 * int(np.ceil(radius_px)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    matte = (step.matte >= 0.5).astype(np.uint8)
    return np.asarray(cv2.dilate(matte, disc) != cv2.erode(matte, disc))


def profile(pictures: dict[str, Picture], row: int, size: tuple[int, int]) -> Picture:
    """Grey levels of the green channel along a row."""
    colours = (RED, BLUE, INK)
    return plot(
        size,
        [
            Curve(np.arange(p.shape[1]) + 0.5, p[row, :, 1], colour, name)
            for (name, p), colour in zip(pictures.items(), colours, strict=True)
        ],
        x_ticks=(0, *range(20, next(iter(pictures.values())).shape[1] + 1, 20)),
        y_ticks=(0, 64, 128, 192, 256),
        x_name="green along the marked row",
        legend=(80, 14),
    )


def marked(picture: Picture, row: int, factor: int = 2) -> Picture:
    """Enlarged, with ticks at both ends of a row."""
    large = enlarge(picture, factor)
    y, last = factor * row + factor / 2, large.shape[1] - 1
    for start in (0.0, last - 8.0):
        line(large, (start, y), (start + 8, y), RED)
    return large


def radii_of(near_px: float, far_px: float) -> str:
    """Text under a scene."""
    signed = [f"{radius:+g} px" if radius else "in focus" for radius in (near_px, far_px)]
    return f"object {signed[0]}\nbackground {signed[1]}"
