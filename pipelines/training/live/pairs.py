"""From scenes and cameras to the pictures of a batch, on the device where they are wanted."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipelines.training.live.scenes import Unexposed
from pipelines.training.live.vary import WHITE, Variation, vary
from synth.camera_pair import expose
from synth.sensor import jpeg_levels


def make_pairs(
    items: Sequence[Unexposed],
    variations: Sequence[Variation],
    device: torch.device,
    *,
    together: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Photograph B scenes of one size, and vary what comes of it.

    together: as for ``synth.render.batched.render_batch``. Returns left, right and target, whole
    grey levels (B, 3, 3, H, W) float32, 255 is white; and the signed blur radius in px, (B, H, W)
    float32 of float16's accuracy, NaN where not known. On a GPU nothing waits for what it computes
    but once for the extremes of the radii and for which of them are where.
    """
    srgb = _to(np.stack([item.srgb for item in items]).view(np.int16), device)
    srgb = srgb.to(torch.int32).bitwise_and_(0xFFFF).permute(0, 3, 1, 2).float().div_(65535.0)
    coc_px = _to(np.stack([item.coc_px for item in items]), device)
    shots = [item.shot for item in items]
    encoded = expose(srgb.contiguous(), coc_px, shots, _streams(items, device), together=together)
    levels = encoded[:, [0, 1, 3]].mul_(WHITE).round_()
    for pictures, exposures in (
        (slice(0, 2), [shot.views for shot in shots]),
        (slice(2, 3), [shot.target for shot in shots]),
    ):
        stored = [n for n, e in enumerate(exposures) if e.jpeg_quality is not None]
        if stored:
            given = torch.stack([levels[n, pictures] for n in stored])
            count = given.shape[1]
            qualities = [exposures[n].jpeg_quality or 0 for n in stored for _ in range(count)]
            decoded = jpeg_levels(given.flatten(0, 1), qualities).unflatten(0, (-1, count))
            for number, pair in zip(stored, decoded, strict=True):
                levels[number, pictures] = pair
    return vary(levels, coc_px.half().float(), variations)


def _streams(items: Sequence[Unexposed], device: torch.device) -> list[torch.Generator]:
    rngs = [torch.Generator(device) for _ in items]
    for rng, item in zip(rngs, items, strict=True):
        rng.manual_seed(item.seed)
    return rngs


def _to(values: np.ndarray, device: torch.device) -> Tensor:
    found = torch.from_numpy(values)
    if device.type == "cuda":
        found = found.pin_memory()
    return found.to(device, non_blocking=True)
