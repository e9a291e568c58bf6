"""JPEG as a camera stores it: with Pillow's coder, colour at half resolution."""

import io

import numpy as np


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
