"""JPEG as a camera stores it, colour at half resolution: with Pillow's coder, or in torch.

The second is for batches on any device: what a decoder gives of what a coder kept, without the file
between them (ITU-T T.81: its example tables scaled by quality as libjpeg does, 8 x 8 DCT; colour as
JFIF says, put back by linear interpolation as libjpeg's "fancy upsampling").
"""

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# T.81, tables K.1 and K.2, row by row.
_BRIGHTNESS = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_COLOUR = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Encode and decode. picture: uint8 (H, W, 3). quality: 1 to 100, Pillow's (libjpeg's) scale.

    Raises ValueError for another type or quality, ImportError without Pillow.
    """
    if picture.dtype != np.uint8:
        raise ValueError(f"JPEG holds uint8, got {picture.dtype}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be from 1 to 100, got {quality}")
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    file.seek(0)
    return np.asarray(Image.open(file))


def jpeg_levels(levels: Tensor, qualities: Sequence[int]) -> Tensor:
    """Whole grey levels as they come out of a JPEG file, for a batch.

    levels: float (B, 3, H, W), 0 to 255. qualities: one for each picture, 1 to 100. Returns whole
    levels, float (B, 3, H, W), on the device of levels. Raises ValueError for another quality.
    """
    if len(qualities) != len(levels) or not all(1 <= q <= 100 for q in qualities):
        raise ValueError(f"{len(levels)} pictures take a quality from 1 to 100 each: {qualities}")
    height, width = levels.shape[2:]
    device = levels.device
    padded = functional.pad(levels, (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("cd,bdhw->bchw", _on(_TO_YCC, device), padded)
    brightness = _through_blocks(ycc[:, :1].round() - 128.0, _BRIGHTNESS, qualities)
    colour = functional.avg_pool2d(ycc[:, 1:].round(), 2).round()
    colour = _through_blocks(colour, _COLOUR, qualities)
    colour = functional.interpolate(colour, scale_factor=2.0, mode="bilinear", align_corners=False)
    ycc = torch.cat([(brightness + 128.0).round().clamp(0.0, 255.0), colour.round()], dim=1)
    rgb = torch.einsum("cd,bdhw->bchw", _on(_FROM_YCC, device), ycc)
    return rgb[:, :, :height, :width].round().clamp(0.0, 255.0)


def _through_blocks(planes: Tensor, table: Sequence[int], qualities: Sequence[int]) -> Tensor:
    """Planes (B, C, H, W), whole blocks, through transform and quantisation and back."""
    scales = [5000 // q if q < 50 else 200 - 2 * q for q in qualities]
    tables = [[min(max((t * scale + 50) // 100, 1), 255) for t in table] for scale in scales]
    steps = _on(tables, planes.device).reshape(len(planes), 1, 1, 8, 1, 8)
    place = (torch.arange(8, device=planes.device) + 0.5) * (torch.pi / 8.0)
    waves = torch.cos(torch.arange(8, device=planes.device)[:, None] * place) * 0.5
    waves[0] *= 0.5**0.5
    blocks = planes.unflatten(3, (-1, 8)).unflatten(2, (-1, 8))  # (B, C, h, 8, w, 8)
    kept = torch.einsum("ui,vj,bchiwj->bchuwv", waves, waves, blocks)
    kept = (kept / steps).round() * steps
    return torch.einsum("ui,vj,bchuwv->bchiwj", waves, waves, kept).reshape(planes.shape)


def _on(values: Sequence[Sequence[float]], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).to(device, non_blocking=True)
