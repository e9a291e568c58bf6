"""What a renderer asks of kernels that vary over the picture."""

from collections.abc import Callable
from typing import Protocol

from synth.psf.family import KernelPair


class FieldPsf(Protocol):
    """Kernel pairs on a grid of places of the field; a renderer interpolates or cuts as it likes.

    Place (row, column) of a grid of (rows, columns) is the middle of its tile when the picture is
    cut into rows x columns equal tiles, rows from the top, columns from the left.
    """

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the places, each at least 1."""

    def psf_at(self, row: int, column: int) -> Callable[[float], KernelPair]:
        """The kernels of one place: signed radius in px, near positive -> (K_L, K_R), convolution.

        K_L and K_R have one odd side and unit sum; nothing else of the families' symmetries holds.
        Raises ValueError for a place outside the grid.
        """
