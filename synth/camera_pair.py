"""From scenes and drawn shots to dual-pixel pairs: the lens, the light and the sensor in turn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from synth.choices import APERTURE, MEASURED
from synth.lens import FrameWindow, Lens, LensKernels
from synth.psf import PSF_FAMILIES, MeasuredBank
from synth.render.batched import render_batch
from synth.scene import Scene, SyntheticPair
from synth.sensor import (
    Exposure,
    Noise,
    encode,
    expand_highlights,
    read_out,
    shading,
    srgb_to_linear,
    through_jpeg,
)
from synth.shot import ShotParameters


def photograph(
    scenes: Sequence[Scene],
    shots: Sequence[ShotParameters],
    rngs: Sequence[np.random.Generator],
    *,
    bank: MeasuredBank | None = None,
    device: torch.device | str = "cpu",
) -> list[SyntheticPair]:
    """Take a batch of scenes of one size with a dual-pixel camera, a drawn shot each.

    rngs: for the noise alone, one for each scene. bank: the kernels of shots of the family
    `measured`. Light above white is put back, goes through the lens, is shaded between the views
    and read out; the target is the same light through the same lens with a smaller aperture, in an
    exposure of its own. Combined is the mean of the two views as read out, in linear light. The
    stored radii are those of green. Raises ValueError where counts or sizes differ, where a bank is
    missing, and what the kernels raise.
    """
    if not len(scenes) == len(shots) == len(rngs) > 0:
        raise ValueError(
            f"every scene has a shot and a stream of its own: got {len(scenes)} scenes, "
            f"{len(shots)} shots, {len(rngs)} streams"
        )
    sizes = {scene.depth_m.shape for scene in scenes}
    if len(sizes) > 1:
        raise ValueError(f"scenes of a batch must have one size, got {sorted(sizes)}")
    coc = [
        shot.camera.coc_px(scene.depth_m, max_coc_px=shot.max_coc_px)
        for scene, shot in zip(scenes, shots, strict=True)
    ]
    coc_px = torch.from_numpy(np.stack(coc)).to(device)
    srgb = torch.from_numpy(np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2))
    srgb = srgb.to(device, torch.float32).clamp(0.0, 1.0)
    pairs = []
    encoded = expose(srgb, coc_px, shots, rngs, bank=bank)
    for pictures, shot, radii in zip(encoded, shots, coc, strict=True):
        left, right, combined, target_picture = (
            _store(picture, exposure, shot.bit_depth)
            for picture, exposure in zip(
                pictures, (shot.views, shot.views, shot.views, shot.target), strict=True
            )
        )
        pairs.append(
            SyntheticPair(
                left=left, right=right, combined=combined, target=target_picture, coc_px=radii
            )
        )
    return pairs


def expose(
    srgb: Tensor,
    coc_px: Tensor,
    shots: Sequence[ShotParameters],
    rngs: Sequence[Noise],
    *,
    bank: MeasuredBank | None = None,
    together: bool | None = None,
) -> Tensor:
    """What `photograph` stores, before it is rounded, and without leaving the device.

    srgb: float32 (B, 3, H, W), sharp pictures in [0, 1]. coc_px: float32 (B, H, W), signed blur
    radius, near positive. rngs: one for each pair; a generator of torch is of the same device.
    together: as for `render_batch`. Returns (B, 4, 3, H, W), sRGB in [0, 1]: left, right, combined,
    target; no JPEG is in them. Raises ValueError as `photograph`.
    """
    device = srgb.device
    brightest = torch.tensor([shot.brightest for shot in shots]).to(device, non_blocking=True)
    light = expand_highlights(srgb, srgb_to_linear(srgb), brightest)
    lenses = [_lens(shot, bank) for shot in shots]
    together = device.type != "cpu" if together is None else together
    views = _render(light, coc_px, lenses, together=together)
    targets = _targets(light, coc_px, lenses, shots, together=together)
    linear = []
    for view, target, shot, rng in zip(views, targets, shots, rngs, strict=True):
        factors = _shares_of_light(shot, (view.shape[-2], view.shape[-1]), device)
        seen = read_out(view * factors, shot.sensor, shot.views, rng)
        sharp = read_out(target[None], shot.target_sensor, shot.target, rng)
        linear.append(torch.cat([seen, seen.mean(dim=0, keepdim=True), sharp]))
    contrast = torch.tensor([shot.sensor.contrast for shot in shots])
    if device.type != "cpu":
        return encode(torch.stack(linear), contrast.to(device, non_blocking=True))
    return torch.stack([encode(p, c.expand(4)) for p, c in zip(linear, contrast, strict=True)])


def _lens(shot: ShotParameters, bank: MeasuredBank | None) -> Lens:
    if shot.family == MEASURED and bank is None:
        raise ValueError("kernel family measured: a bank of measured kernels must come with it")
    light = shot.aperture if shot.family == APERTURE else bank
    if shot.family in PSF_FAMILIES:
        light = PSF_FAMILIES[shot.family].aperture(shot.aperture)
    assert light is not None
    return Lens(light=light, window=shot.window, chromatic=shot.chromatic)


def _targets(
    light: Tensor,
    coc_px: Tensor,
    lenses: Sequence[Lens],
    shots: Sequence[ShotParameters],
    *,
    together: bool,
) -> Tensor:
    """The light of the targets, (B, 3, H, W): through the same lenses, stopped down."""
    stopped = []
    for lens, shot in zip(lenses, shots, strict=True):
        red, blue = (shot.target_blur * axial for axial in lens.chromatic.axial_px)
        chromatic = replace(lens.chromatic, axial_px=(red, blue))
        stopped.append(replace(lens, chromatic=chromatic, shift_px=shot.target_shift_px))
    shares = torch.tensor([shot.target_blur for shot in shots])
    moved = any(lens.shift_px != (0.0, 0.0) or any(lens.chromatic.lateral_px) for lens in stopped)
    if not moved and not shares.any():
        return light
    smaller = coc_px * shares.to(coc_px.device, non_blocking=True)[:, None, None]
    return _render(light, smaller, stopped, together=together).mean(dim=1)


def _render(light: Tensor, coc_px: Tensor, lenses: Sequence[Lens], *, together: bool) -> Tensor:
    """Views of a batch, (B, 2, 3, H, W). Not together, one by one, as on a CPU, where it costs
    nothing: so the bytes of a pair do not depend on what is photographed with it."""
    count = len(lenses) if together else 1
    views = [
        render_batch(
            light[start : start + count],
            coc_px[start : start + count],
            LensKernels(lenses[start : start + count], light.device),
            together=together,
        )
        for start in range(0, len(lenses), count)
    ]
    return torch.cat(views).clamp_min_(0.0)


def _shares_of_light(shot: ShotParameters, size: tuple[int, int], device: torch.device) -> Tensor:
    """Factors on the light of the views, (2, 1, H, W)."""
    y, x = (
        torch.from_numpy(places).float().to(device, non_blocking=True)
        for places in _places_in_frame(shot.window, size)
    )
    gain = torch.tensor(shot.gain).to(device, non_blocking=True)[:, None, None]
    return (shading(shot.shading, y, x) * gain)[:, None]


def _places_in_frame(window: FrameWindow, size: tuple[int, int]) -> list[np.ndarray]:
    return [
        middle + ((np.arange(count) + 0.5) * 2.0 / count - 1.0) * part / whole
        for count, part, whole, middle in zip(
            size, window.size_px, window.frame_px, window.middle, strict=True
        )
    ]


def _store(picture: Tensor, exposure: Exposure, bit_depth: int) -> np.ndarray:
    """What a file holds of sRGB values (3, H, W): uint8 or uint16 (H, W, 3)."""
    quality = exposure.jpeg_quality
    white = 255.0 if bit_depth == 8 or quality is not None else 65535.0
    levels = picture.mul(white).round_().permute(1, 2, 0).contiguous().cpu()
    if white > 255.0:
        return levels.int().numpy().astype(np.uint16)
    stored = levels.to(torch.uint8).numpy()
    if quality is not None:
        stored = through_jpeg(stored, quality)
    return stored if bit_depth == 8 else stored.astype(np.uint16) * np.uint16(257)
