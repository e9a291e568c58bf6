"""Kernels of a batch of pictures, for each view, colour and place of the field."""

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from synth.psf.family import KernelPair
from synth.psf.field import FieldPsf
from synth.render.blur import blend_weights
from synth.render.interface import Psf, is_field


class BatchKernels(Protocol):
    """Kernels of a batch of pictures, for each view, colour and place of the field.

    Kernels are pictures of a point and act by convolution. Places of the field are (y, x), the
    middle of the picture 0, its borders -1 and 1.
    """

    @property
    def varies(self) -> bool:
        """Whether kernels vary over the field of a picture."""

    def half_px(self, coc_px: float) -> int:
        """How far kernels of that signed radius reach from their middle.

        For any picture of the batch, any colour, any place; not less for a larger radius.
        """

    def __call__(self, picture: Tensor, coc_px: Tensor, place: Tensor, half_px: int) -> Tensor:
        """The kernels of N points.

        picture: int64 (N,), index into the batch, on the CPU: so a GPU is not waited for to know
        whose lens it is. coc_px: float32 (N,), signed radius in pixels, near positive. place:
        float32 (N, 2), (y, x). half_px: how far they are to reach at most half_px of their radii,
        or more, padded with zeros. On the device of the radii.
        Returns float32 (N, 2, 3, 2 half_px + 1, 2 half_px + 1): left and right view, red, green and
        blue; each sums to 1.
        """


class PairKernels:
    """Kernels of a batch from one `Psf` or `FieldPsf` for each picture, one for all colours.

    Satisfies `BatchKernels`. Between places of a `FieldPsf` kernels are mixed as
    `synth.render.blur.FieldBlur` mixes blurs.
    """

    def __init__(self, psfs: Sequence[Psf | FieldPsf]) -> None:
        """psfs: for each picture of the batch the kernels of a signed radius, or of a field."""
        self._psfs = tuple(psfs)
        self._pairs: dict[tuple[int, tuple[int, int], float], KernelPair] = {}

    @property
    def varies(self) -> bool:
        """Whether any picture has a field of more than one place."""
        return any(grid != (1, 1) for grid in map(_grid, self._psfs))

    def half_px(self, coc_px: float) -> int:
        """How far kernels of that signed radius reach from their middle, over all pictures."""
        return max(
            self._pair(number, (row, column), coc_px)[0].shape[0] // 2
            for number, psf in enumerate(self._psfs)
            for row, column in np.ndindex(_grid(psf))
        )

    def __call__(self, picture: Tensor, coc_px: Tensor, place: Tensor, half_px: int) -> Tensor:
        """See `BatchKernels`. Raises ValueError where half_px cuts a kernel off."""
        side = 2 * half_px + 1
        kernels = np.zeros((picture.shape[0], 2, side, side), dtype=np.float32)
        items = zip(picture.tolist(), coc_px.tolist(), place.tolist(), strict=True)
        for result, (number, radius_px, (y, x)) in zip(kernels, items, strict=True):
            rows, columns = (
                blend_weights(np.array([0.5 * (along + 1.0)]), count)[:, 0]
                for along, count in zip((y, x), _grid(self._psfs[number]), strict=True)
            )
            for row, column in np.argwhere(np.outer(rows, columns) > 0.0).tolist():
                pair = self._pair(number, (row, column), radius_px)
                half = pair[0].shape[0] // 2
                if half > half_px:
                    raise ValueError(
                        f"kernels of radius {radius_px:g} px reach {half} px, got half_px {half_px}"
                    )
                inner = slice(half_px - half, half_px + half + 1)
                result[:, inner, inner] += rows[row] * columns[column] * np.stack(pair)
        shared = torch.from_numpy(kernels)[:, :, None].expand(-1, -1, 3, -1, -1)
        return shared.to(coc_px.device)

    def _pair(self, number: int, place: tuple[int, int], coc_px: float) -> KernelPair:
        key = (number, place, coc_px)
        if key not in self._pairs:
            psf = self._psfs[number]
            at = psf.psf_at(*place) if is_field(psf) else cast(Psf, psf)
            self._pairs[key] = at(coc_px)
        return self._pairs[key]


def _grid(psf: Psf | FieldPsf) -> tuple[int, int]:
    return psf.grid if is_field(psf) else (1, 1)
