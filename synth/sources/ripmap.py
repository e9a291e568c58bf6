"""Textures at every scale of their columns and of their rows, so that a plane seen aslant is sharp
along the one and averaged along the other (rip maps; McReynolds et al., SIGGRAPH 1998 course).
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class RipMap:
    """A texture that goes on mirrored, and is looked up without aliasing.

    texture: float32 (h, w, C), sides that are powers of two. It lies between 0 and 1 in u (its
    columns) and v (its rows, from the top). Raises ValueError for other sides.
    """

    def __init__(self, texture: np.ndarray) -> None:
        import torch

        height, width = texture.shape[:2]
        for side in (height, width):
            if side < 2 or side & (side - 1):
                raise ValueError(f"sides must be powers of two, got {height} x {width}")
        self.width, self.height = width, height
        planes = torch.from_numpy(
            np.ascontiguousarray(texture.transpose(2, 0, 1), dtype=np.float32)
        )
        # All levels in one picture, each with a border of its own: one look-up takes from all.
        strips, self._lefts = _halvings(planes, axis=2)
        levels, self._tops = _halvings(strips, axis=1)
        self._levels = levels[None].contiguous()

    def sample(
        self,
        u: np.ndarray,
        v: np.ndarray,
        footprint: tuple[np.ndarray, np.ndarray],
        dither: np.ndarray,
    ) -> np.ndarray:
        """The texture at (u, v), each (N,): float32 (N, C).

        footprint: the extent of a sample in u and in v, each (N,). dither: (N,) in [0, 1), by which
        samples side by side take the finer or the coarser of two levels.
        """
        import torch
        from torch.nn import functional

        place = []
        for at, extent, side, starts in zip(
            (u, v),
            footprint,
            (self.width, self.height),
            (self._lefts, self._tops),
            strict=True,
        ):
            level = np.log2(np.maximum(extent * np.float32(side), 1e-6)) + dither
            number = np.clip(level, 0, len(starts) - 1).astype(np.int64)
            folded = np.abs(at - 2.0 * np.floor(0.5 * at + 0.5))  # mirrored at whole numbers
            texels = np.float32(side) / np.float32(2.0) ** number
            place.append(starts[number] + np.float32(0.5) + folded * texels)
        grid = np.empty((1, 1, len(u), 2), np.float32)
        for axis, length in enumerate(self._levels.shape[:1:-1]):
            grid[0, 0, :, axis] = place[axis] * np.float32(2.0 / (length - 1)) - 1.0
        found = functional.grid_sample(
            self._levels, torch.from_numpy(grid), align_corners=True, padding_mode="border"
        )
        return found[0, :, 0].T.numpy()


def _halvings(planes: "Tensor", *, axis: int) -> tuple["Tensor", np.ndarray]:
    """(C, h, w) and its halvings along an axis, side by side, and where each begins.

    Each has a border of one pixel that repeats its last: what a mirrored texture has there.
    """
    import torch

    parts, starts, start = [], [], 0
    while True:
        length = planes.shape[axis]
        parts += [planes.narrow(axis, 0, 1), planes, planes.narrow(axis, length - 1, 1)]
        starts.append(start)
        start += length + 2
        if length == 1:
            return torch.cat(parts, dim=axis), np.array(starts, np.float32)
        even, odd = (planes[..., k::2] if axis == 2 else planes[:, k::2] for k in (0, 1))
        planes = torch.lerp(even, odd, 0.5)
