"""The arithmetic: from the sum of two views and one of them to both, in linear raw numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST_SHARE, _MOST_SHARE = 0.2, 0.8
"""Of the sum's light: what one half of an aperture may get, far from the centre as well."""
_NEGATIVE = 0.02
"""So many places may be darker in the sum than in one side, by noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Two views as a sensor would have given them alone."""

    side: NDArray[np.uint16]
    """``(H, W)``: the one that the file holds."""
    other: NDArray[np.uint16]
    """``(H, W)``: the sum less it."""
    clipped: NDArray[np.bool_]
    """``(H, W)``: where the sum is clipped, so that nobody knows the other one."""


def split_sum(
    total: NDArray[Any],
    side: NDArray[Any],
    *,
    black_of_total: NDArray[Any] | int,
    black_of_side: NDArray[Any] | int,
    white: int,
) -> Views:
    """Return both views of ``total`` = one + other and ``side`` = one, ``(H, W)`` of a sensor.

    Black levels: of a pixel, or ``(H, W)``; white: where the sum clips. Each view is doubled, so
    that its numbers mean what the sum's do: black is ``black_of_total``, and the white of a view is
    half the light of the sum's. Where the sum is clipped the other view is white: it has at least
    what is missing there, and where the side is not white itself that is more than its own white.
    Raises ValueError for frames that differ in size, and where the second is no part of the first.
    """
    if total.shape != side.shape or total.ndim != 2:
        raise ValueError(
            f"its frames differ in size, {total.shape} and {side.shape}; a dual-pixel file holds "
            "the sum of both views and one of them"
        )
    signal = total.astype(np.int32) - black_of_total
    part = side.astype(np.int32) - black_of_side
    clipped = total >= white
    _check(signal, part, clipped)
    full = white - np.asarray(black_of_total, np.int32)
    other = np.where(clipped, full, 2 * (signal - part))

    def as_total(doubled: NDArray[Any]) -> NDArray[np.uint16]:
        return np.clip(np.minimum(doubled, full) + black_of_total, 0, 65535).astype(np.uint16)

    return Views(as_total(2 * part), as_total(other), clipped)


def _check(signal: NDArray[np.int32], part: NDArray[np.int32], clipped: NDArray[np.bool_]) -> None:
    open_ = ~clipped
    light = float(signal[open_].mean(dtype=np.float64)) if open_.any() else 0.0
    if light <= 0:
        raise ValueError("its first frame is black or white all over; there is nothing to split")
    share = float(part[open_].mean(dtype=np.float64)) / light
    noise = np.sqrt(np.maximum(signal, 1)) * 4 + 16
    negative = float((part - signal > noise)[open_].mean())
    if not _LEAST_SHARE < share < _MOST_SHARE or negative > _NEGATIVE:
        raise ValueError(
            f"its second frame is not one view of the first: it has {share:.2f} of its light, "
            "about a half is expected; give a file taken with Dual Pixel RAW"
        )


def encode_linear(view: NDArray[Any], *, black: int, white: int) -> NDArray[np.uint16]:
    """Return linear numbers of any shape, encoded as sRGB of 16 bit: black 0, white 65535."""
    linear = np.clip((view.astype(np.float32) - black) / np.float32(white - black), 0, 1)
    low = linear <= 0.0031308
    encoded = np.where(low, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)
    return np.rint(encoded * 65535).astype(np.uint16)
