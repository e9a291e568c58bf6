"""The end of the DDD-syn generator: a part of the picture, resized to the published size.

Bicubic with Keys' a = -1/2, as MATLAB's imresize, and like it averaging where the picture shrinks.
At the borders weights beyond the picture are left out and the others scaled up, where MATLAB
mirrors. No array of the published generator was at hand to check it against.
"""

import numpy as np


def crop_and_resize(
    picture: np.ndarray, part: tuple[slice, slice], size: tuple[int, int]
) -> np.ndarray:
    """A part of a picture (H, W) or (H, W, C), resized to size (H, W); float32.

    part: rows and columns. Values may overshoot at edges, as bicubic does.
    Raises ValueError for a part with nothing in it.
    """
    import torch
    from torch.nn import functional

    cropped = picture[part].astype(np.float32)
    if not cropped.size:
        raise ValueError(f"nothing is left of a picture of {picture.shape[:2]} after the crop")
    planes = cropped[None] if cropped.ndim == 2 else cropped.transpose(2, 0, 1)
    resized = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(planes))[None],
        size=size,
        mode="bicubic",
        antialias=True,  # also what makes torch take a = -1/2
        align_corners=False,
    )[0].numpy()
    return np.ascontiguousarray(resized[0] if cropped.ndim == 2 else resized.transpose(1, 2, 0))
